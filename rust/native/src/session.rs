//! One client of the node: what a driver and a worker have in common.
//!
//! ```text
//!   Session ── ids, handles, open answers ── Transport ──▶ in-process node (driver: host.rs)
//!                                                     └──▶ ring pair       (worker: worker.rs)
//! ```
//!
//! Invariant: at most one session is current in a process. Handles and views keep theirs, so one that
//! has ended hears their drops and ignores them. After a fork in user code no session is usable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use pyo3::prelude::*;
use skate_core::action::Reply;
use skate_core::event::{Held, Patience, Request, Waitable};
use skate_core::id::{ClientId, ObjectId, RequestId, TaskId, TemplateId};
use skate_core::value::Value;
use skate_shm::segment::Segment;
use skate_shm::spill_file::SpillFile;

use crate::answer::{Answers, Asker, Seat};
use crate::define::Definitions;
use crate::error::{Error, Result};
use crate::handles::Handles;
use crate::lease::Leases;
use crate::object_ref::ObjectRef;
use crate::pump::{Engine, Pump, Waited};

/// A wait without a time-out that lasts longer may be one that never ends: the node is told of it.
const LONG: Duration = Duration::from_secs(1);

/// The way to the node.
pub(crate) trait Transport: Send + Sync {
    /// Sends what the handles have gathered, then the request.
    fn send(&self, session: &Session, request: Request);
    /// Sends what the handles have gathered, unless that could wait for another process.
    fn try_flush(&self, session: &Session);
    /// A handle was dropped although nothing may be sent for long: have it flushed soon.
    fn note_dirty(&self);
    /// The value, if it can be had without asking; a block comes with a pin.
    fn peek(&self, session: &Session, object: ObjectId) -> Option<Value>;
    /// Places of the first `count` that are ready, if that can be had without asking.
    fn peek_ready(&self, on: &[Waitable], count: usize) -> Option<Vec<u32>>;
    /// What `next` would answer at once, if it can be had without asking.
    fn take(&self, task: TaskId, at: Option<u64>, most: Option<u32>) -> Option<Reply>;
    /// Values that came with their items: who asks for one of the latest need not ask the node.
    fn learn(&self, values: Vec<(ObjectId, Value)>);
    /// Items of a shared stream have reached their caller.
    fn consume(&self, session: &Session, taken: &Consumed);
    /// Values of so many bytes and more get a lease of their own.
    fn large(&self) -> u64;
    /// What drives while a thread waits.
    fn engine(&self) -> &dyn Engine;
    /// Makes sure that answers are heard while no thread waits.
    fn listen(&self, session: &Session);
    /// Whether messages wait to be rung for.
    fn has_untold(&self) -> bool;
    /// Rings for them.
    fn ring_untold(&self);
    /// The task that this thread runs.
    fn current_task(&self) -> Option<TaskId>;
    /// Whether this thread runs a task whose CPU others could use while it sleeps.
    fn holds_resources(&self) -> bool;
    /// Such a thread is about to sleep, or has woken up.
    fn blocked(&self, session: &Session, is_blocked: bool);
    /// A thread without which answers may not come has ended.
    fn lose(&self, why: String);
}

/// Items that a `next` is about to return.
pub(crate) struct Consumed {
    pub(crate) request: RequestId,
    pub(crate) stream: TaskId,
    pub(crate) count: u32,
    /// The stream came from elsewhere: a retry would not see these items again.
    pub(crate) is_passed_on: bool,
    /// The producer waits to hear of it.
    pub(crate) has_window: bool,
}

/// One client of the node.
pub(crate) struct Session {
    pub(crate) nonce: u64,
    pub(crate) client: ClientId,
    /// None once closed: views keep theirs, refs do not keep its pages.
    segment: RwLock<Option<Arc<Segment>>>,
    /// Where values are that the store has no room for.
    spill_file: Option<Arc<SpillFile>>,
    counter: AtomicU64,
    pub(crate) definitions: Mutex<Definitions>,
    handles: Arc<Handles>,
    pub(crate) leases: Leases,
    pub(crate) answers: Arc<Answers>,
    pub(crate) pump: Pump,
    closed: AtomicBool,
    pub(crate) transport: Arc<dyn Transport>,
}

static CURRENT: RwLock<Option<Arc<Session>>> = RwLock::new(None);
static FORKED: AtomicBool = AtomicBool::new(false);

impl Session {
    pub(crate) fn new(
        nonce: u64,
        client: ClientId,
        segment: Arc<Segment>,
        spill_file: Option<Arc<SpillFile>>,
        handles: Arc<Handles>,
        answers: Arc<Answers>,
        transport: Arc<dyn Transport>,
    ) -> Arc<Self> {
        Arc::new(Self {
            nonce,
            client,
            segment: RwLock::new(Some(segment)),
            spill_file,
            counter: AtomicU64::new(1),
            definitions: Mutex::default(),
            handles,
            leases: Leases::default(),
            answers,
            pump: Pump::new(),
            closed: AtomicBool::new(false),
            transport,
        })
    }

    /// Makes it the one that calls without a handle use.
    pub(crate) fn make_current(self: &Arc<Self>) {
        *CURRENT.write() = Some(Arc::clone(self));
    }

    pub(crate) fn current() -> Option<Arc<Self>> {
        if FORKED.load(Ordering::Relaxed) {
            return None;
        }
        CURRENT.read().clone()
    }

    /// The current session, or the error that says why there is none.
    pub(crate) fn require() -> Result<Arc<Self>> {
        if FORKED.load(Ordering::Relaxed) {
            return Err(Error::Forked);
        }
        CURRENT.read().clone().ok_or(Error::NotStarted)
    }

    /// Ends it for this process: later calls fail, later drops are ignored.
    pub(crate) fn close(self: &Arc<Self>) {
        self.closed.store(true, Ordering::Release);
        *self.segment.write() = None;
        let mut current = CURRENT.write();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, self)) {
            *current = None;
        }
    }

    /// In the child of a fork: nothing of the parent's session may be touched, not even its locks.
    pub(crate) fn disable_in_child() {
        FORKED.store(true, Ordering::Relaxed);
    }

    /// Refuses to go on with a session that cannot answer.
    pub(crate) fn check(&self) -> Result<()> {
        if FORKED.load(Ordering::Relaxed) {
            Err(Error::Forked)
        } else if self.closed.load(Ordering::Acquire) {
            Err(Error::NotStarted)
        } else if let Some(why) = self.answers.lost() {
            Err(Error::Lost(why.to_owned()))
        } else {
            Ok(())
        }
    }

    /// Whether it was ended: what a lost session started is still there.
    pub(crate) fn is_closed(&self) -> bool {
        FORKED.load(Ordering::Relaxed) || self.closed.load(Ordering::Acquire)
    }

    /// Whether this is a child that user code forked.
    pub(crate) fn is_forked() -> bool {
        FORKED.load(Ordering::Relaxed)
    }

    fn is_silent(&self) -> bool {
        self.is_closed() || self.answers.lost().is_some()
    }

    pub(crate) fn segment(&self) -> Result<Arc<Segment>> {
        self.segment.read().clone().ok_or(Error::NotStarted)
    }

    pub(crate) fn spill_file(&self) -> Option<&SpillFile> {
        self.spill_file.as_deref()
    }

    /// Whether drops or new handles wait to be sent, or messages to be rung for.
    pub(crate) fn is_dirty(&self) -> bool {
        self.handles.is_dirty() || self.transport.has_untold()
    }

    pub(crate) fn next_task(&self) -> TaskId {
        TaskId::new(self.client, self.counter.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn next_template(&self) -> TemplateId {
        TemplateId(self.next_task().0)
    }

    pub(crate) fn next_call(&self) -> TaskId {
        TaskId::new_call(self.client, self.counter.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn next_request(&self) -> RequestId {
        RequestId(self.counter.fetch_add(1, Ordering::Relaxed))
    }

    /// One more handle on something that is alive through another one. Who looks from outside sees a view
    /// within a few ms, although this process may have nothing else to say for long.
    pub(crate) fn hold(&self, held: Held) {
        if !self.is_silent() {
            self.handles.hold(held);
            if matches!(held, Held::Pin(_)) {
                self.transport.note_dirty();
            }
        }
    }

    /// It stays for the rest of the session, whatever becomes of this process: a pickle that skate does
    /// not see names it, and may be loaded at any time.
    pub(crate) fn keep(&self, held: Held) {
        self.send(Request::Keep(held));
    }

    /// One handle less. Streams and actors at once, since much may hang on them; the rest within a few ms.
    pub(crate) fn release(&self, held: Held) {
        if matches!(held, Held::Object(_) | Held::Lease(_) | Held::DiskLease(_)) {
            return self.release_soon(held);
        }
        if self.is_silent() {
            return;
        }
        self.handles.release(held);
        self.transport.try_flush(self);
        if self.handles.is_dirty() {
            self.transport.note_dirty();
        }
    }

    /// One handle less, within a few ms.
    pub(crate) fn release_soon(&self, held: Held) {
        if !self.is_silent() {
            self.handles.release(held);
            self.transport.note_dirty();
        }
    }

    pub(crate) fn current_task(&self) -> Option<TaskId> {
        self.transport.current_task()
    }

    /// Answers will come while no thread waits for them.
    pub(crate) fn listen(&self) {
        self.transport.listen(self);
    }

    pub(crate) fn send(&self, request: Request) {
        self.transport.send(self, request);
    }

    /// A Python ref for an object on which this client has just got a handle.
    pub(crate) fn own(self: &Arc<Self>, py: Python<'_>, id: ObjectId) -> PyResult<Py<ObjectRef>> {
        ObjectRef::adopt(py, self, id)
    }

    /// Asks and waits. On timeout or a Python exception the request is forgotten.
    pub(crate) fn ask(
        &self,
        py: Python<'_>,
        timeout: Option<Duration>,
        make: impl FnOnce(RequestId) -> Request,
    ) -> PyResult<Reply> {
        let request = self.next_request();
        let send = || self.send(make(request));
        self.ask_as(py, request, timeout, send, |reply| self.give_back(reply))
    }

    /// The same with a request of the caller's, and its own ways to send it and to give back what came too
    /// late.
    pub(crate) fn ask_as(
        &self,
        py: Python<'_>,
        request: RequestId,
        timeout: Option<Duration>,
        send: impl FnOnce(),
        give_back: impl FnOnce(Reply),
    ) -> PyResult<Reply> {
        let seat = Arc::new(Seat::default());
        self.answers.expect(request, Asker::Thread(Arc::clone(&seat)));
        send();
        if let Some(reply) = seat.take() {
            return Ok(reply);
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let ended = self.wait_on(py, &seat, deadline, Some(request));
        if !matches!(ended, Ok(true)) && self.check().is_ok() {
            // Either the answer was on its way, or the node says that nothing was taken: both come
            // at once, so signals wait for it.
            self.send(Request::Forget(request));
            py.detach(|| {
                while !seat.is_done() && self.check().is_ok() {
                    let _ = self.pump.wait(self.transport.engine(), &seat, None);
                }
            });
        }
        self.answers.forget(request);
        match (seat.take(), ended) {
            (Some(Reply::Forgotten) | None, Ok(_)) => Err(Error::TimedOut.into()),
            (Some(reply), Ok(_)) => Ok(reply),
            (reply, Err(error)) => {
                if let Some(reply) = reply {
                    give_back(reply);
                }
                Err(error)
            }
        }
    }

    /// Waits on a seat, with signal handlers; false if the deadline passed first. A task that waits for
    /// the answer to `request` for long, and has no deadline, says so.
    pub(crate) fn wait_on(
        &self,
        py: Python<'_>,
        seat: &Arc<Seat>,
        deadline: Option<Instant>,
        request: Option<RequestId>,
    ) -> PyResult<bool> {
        let engine = self.transport.engine();
        let began = Instant::now();
        let mut untold = request.filter(|_| deadline.is_none());
        let mut is_blocked = !self.transport.holds_resources();
        let outcome = loop {
            // The first wait is short, so that a quick answer costs no "blocked" and "resumed".
            let short = Instant::now() + Duration::from_micros(100);
            let until = match deadline {
                Some(deadline) if is_blocked || deadline < short => Some(deadline),
                None if is_blocked => None,
                _ => Some(short),
            };
            match py.detach(|| self.pump.wait(engine, seat, until)) {
                Waited::Done => break Ok(true),
                Waited::TimedOut if deadline.is_some_and(|end| Instant::now() >= end) => {
                    break Ok(false);
                }
                Waited::TimedOut => {
                    is_blocked = true;
                    self.transport.blocked(self, true);
                }
                Waited::Signal => {
                    if let Err(error) = py.check_signals() {
                        break Err(error);
                    }
                    if began.elapsed() >= LONG
                        && self.transport.holds_resources()
                        && let Some(request) = untold.take()
                    {
                        self.send(Request::Waits(request));
                    }
                }
            }
            if let Err(error) = self.check() {
                break Err(error.into());
            }
        };
        if is_blocked && self.transport.holds_resources() {
            self.transport.blocked(self, false);
        }
        outcome
    }

    /// Gives back what came with an answer that nobody wants any more. Not at once: the driver finds that
    /// out while the node is locked.
    pub(crate) fn give_back(&self, reply: Reply) {
        match reply {
            Reply::Items(items) => {
                for id in items.ids {
                    self.release_soon(Held::Object(id));
                }
            }
            Reply::Lease(span) => self.release_soon(Held::Lease(span.offset)),
            Reply::LeaseOnDisk(span) => self.release_soon(Held::DiskLease(span.offset)),
            Reply::Values { pins, .. } => {
                for object in pins {
                    self.release_soon(Held::Pin(object));
                }
            }
            Reply::Error { pin, .. } => {
                if let Some(object) = pin {
                    self.release_soon(Held::Pin(object));
                }
            }
            Reply::Actor { actor, is_new, .. } => {
                self.release_soon(if is_new { Held::Actor(actor) } else { Held::WeakActor(actor) });
            }
            Reply::Ready(_)
            | Reply::Forgotten
            | Reply::Progress { .. }
            | Reply::End
            | Reply::Returned
            | Reply::Resources(_)
            | Reply::Names(_)
            | Reply::Groups(_)
            | Reply::Count(_)
            | Reply::Rows(_)
            | Reply::Failed(_) => {}
        }
    }

    /// The places of those that are ready.
    pub(crate) fn wait(
        &self,
        py: Python<'_>,
        on: &[Waitable],
        count: usize,
        timeout: Option<Duration>,
    ) -> PyResult<Vec<u32>> {
        let is_poll = timeout.is_some_and(|timeout| timeout.is_zero());
        if let Some(places) = self.transport.peek_ready(on, count)
            && (places.len() >= count || is_poll)
        {
            return Ok(places);
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let ask = |patience, timeout| match self
            .ask(py, timeout, |id| Request::Wait(id, on.into(), count, patience))?
        {
            Reply::Ready(places) => Ok(places),
            Reply::Failed(failure) => Err(Error::Failed(failure).into()),
            other => unreachable!("the node answers a wait with {other:?}"),
        };
        if is_poll {
            return ask(Patience::Now, None);
        }
        match ask(Patience::Until, timeout) {
            Err(error) if crate::error::is_timeout(py, &error) => ask(Patience::Now, None),
            other => other,
        }
    }
}
