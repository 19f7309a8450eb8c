//! A worker's side of its ring pair: the transport of its session, and its queue of tasks.
//!
//! ```text
//!   to-worker ring ──poll──▶ Run ─▶ queue ─▶ claim ─▶ execute.rs ──┐
//!                       └──▶ Reply ─▶ the thread that asked        │ Yielded, Finished, requests
//!   from-worker ring ◀──────────────────────────────────────────────┘
//! ```
//!
//! Invariant: messages leave in the order in which they were made, holds before what might free
//! them; a task runs only after its slot was claimed, so a task taken back never runs here.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use skate_core::action::{Reply, Run};
use skate_core::event::{Request, Template, Waitable};
use skate_core::id::{FunctionId, ObjectId, TaskId, TemplateId, Ticket};
use skate_core::value::{Bytes, Value};
use skate_shm::claim::Slot;
use skate_shm::control::Control;
use skate_shm::doorbell::{Doorbell, Urgency};
use skate_shm::hub::Hub;
use skate_shm::ring::{Push, RingReader, RingWriter};

use crate::answer::{Answers, Seat};
use crate::background;
use crate::error::{Error, Result};
use crate::execute::{self, Prepared};
use crate::handles::Handles;
use crate::pump::Engine;
use crate::session::{Consumed, Session, Transport};
use crate::ticker::Ticker;
use crate::wire::{self, ToNode, ToWorker};

/// How long to leave the node alone when the ring to it is full.
const FULL_RING_NAP: Duration = Duration::from_micros(50);

struct Outbox {
    writer: RingWriter,
    scratch: Vec<u8>,
}

struct Inbox {
    reader: RingReader,
    scratch: Vec<u8>,
}

/// The task that the main thread runs.
#[derive(Clone)]
struct Current {
    ticket: Ticket,
    task: TaskId,
    name: Arc<str>,
    attempt: u32,
    /// None if its function could not be unpickled.
    prepared: Option<Arc<Prepared>>,
    /// Items that it took from streams that were passed on to it.
    consumed: Vec<(TaskId, u64)>,
}

/// What a producer waits for.
#[derive(Clone, Copy)]
pub(crate) enum Credit {
    /// So many items have been taken.
    Items(u64),
    /// An item of `need` bytes fits beside those that were stored and not taken.
    Bytes { stored: u64, need: u64, limit: u64 },
}

/// A producer that waits for its stream to be read.
struct Pause {
    ticket: Ticket,
    until: Credit,
    seat: Arc<Seat>,
}

/// One worker process.
pub(crate) struct Worker {
    control: Control,
    hub: Hub,
    outbox: Mutex<Outbox>,
    inbox: Mutex<Inbox>,
    runs: Mutex<VecDeque<Box<Run>>>,
    /// Where the main thread waits for a run.
    seat: Arc<Seat>,
    leaving: AtomicBool,
    current: Mutex<Option<Current>>,
    pause: Mutex<Option<Pause>>,
    definitions: Mutex<FxHashMap<TemplateId, Arc<Template>>>,
    functions: Mutex<FxHashMap<FunctionId, Bytes>>,
    prepared: Mutex<FxHashMap<TemplateId, Arc<Prepared>>>,
    exported: Mutex<FxHashSet<FunctionId>>,
    handles: Arc<Handles>,
    answers: Arc<Answers>,
    /// The sentinel's: it flushes handles.
    ticker: Arc<Ticker>,
    /// Whether the background thread has been started.
    listening: AtomicBool,
    cpus: u32,
}

impl Worker {
    /// Maps what the node made for this worker.
    pub(crate) fn join(
        hub: BorrowedFd<'_>,
        control: BorrowedFd<'_>,
        handles: Arc<Handles>,
        answers: Arc<Answers>,
        ticker: Arc<Ticker>,
    ) -> Result<Arc<Self>> {
        let hub = Hub::open(hub)?;
        let control = Control::open(control)?;
        let (writer, reader) = control.worker_end().expect("a process joins once");
        Ok(Arc::new(Self {
            control,
            hub,
            outbox: Mutex::new(Outbox { writer, scratch: Vec::new() }),
            inbox: Mutex::new(Inbox { reader, scratch: Vec::new() }),
            runs: Mutex::default(),
            seat: Arc::default(),
            leaving: AtomicBool::new(false),
            current: Mutex::default(),
            pause: Mutex::default(),
            definitions: Mutex::default(),
            functions: Mutex::default(),
            prepared: Mutex::default(),
            exported: Mutex::default(),
            handles,
            answers,
            ticker,
            listening: AtomicBool::new(false),
            cpus: crate::usable_cpus(),
        }))
    }

    /// Executes tasks until the node says leave.
    pub(crate) fn run(self: &Arc<Self>, session: &Arc<Session>, py: Python<'_>) -> PyResult<()> {
        while let Some(run) = self.next_run(session, py)? {
            execute::execute(self, session, py, *run)?;
        }
        Ok(())
    }

    fn next_run(&self, session: &Session, py: Python<'_>) -> PyResult<Option<Box<Run>>> {
        loop {
            let next = self.runs.lock().pop_front();
            if let Some(run) = next {
                if self.slot(run.ticket).claim(run.ticket.0) {
                    return Ok(Some(run));
                }
                continue;
            }
            if self.leaving.load(Ordering::Acquire) {
                return Ok(None);
            }
            self.seat.reset();
            self.poll();
            if !self.runs.lock().is_empty() || self.leaving.load(Ordering::Acquire) {
                continue;
            }
            self.try_flush(session);
            // However it ends, the queue is looked at again. A SIGINT that comes now is late for the
            // task that it was meant for, so its handler does nothing.
            let _ = py.detach(|| session.pump.wait(self, &self.seat, None));
            py.check_signals()?;
        }
    }

    pub(crate) fn slot(&self, ticket: Ticket) -> &Slot {
        self.control.slot(ticket.0 as usize)
    }

    /// The main thread runs this task from now on.
    pub(crate) fn begin(&self, run: &Run, name: &Arc<str>, prepared: Option<&Arc<Prepared>>) {
        *self.current.lock() = Some(Current {
            ticket: run.ticket,
            task: run.task,
            name: Arc::clone(name),
            attempt: run.attempt,
            prepared: prepared.cloned(),
            consumed: Vec::new(),
        });
    }

    /// The main thread runs no task any more.
    pub(crate) fn end(&self) {
        *self.current.lock() = None;
    }

    /// The task that the main thread runs: id, name and attempt.
    pub(crate) fn current(&self) -> Option<(TaskId, Arc<str>, u32)> {
        let current = self.current.lock();
        current.as_ref().map(|current| (current.task, Arc::clone(&current.name), current.attempt))
    }

    /// The function and options of that task.
    pub(crate) fn current_prepared(&self) -> Option<Arc<Prepared>> {
        self.current.lock().as_ref()?.prepared.clone()
    }

    /// Whether that task has been cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        let ticket = self.current.lock().as_ref().map(|current| current.ticket);
        ticket.is_some_and(|ticket| self.slot(ticket).is_cancelled(ticket.0))
    }

    /// The function and options of a template, unpickled once.
    pub(crate) fn prepared(&self, py: Python<'_>, id: TemplateId) -> PyResult<Arc<Prepared>> {
        if let Some(prepared) = self.prepared.lock().get(&id) {
            return Ok(Arc::clone(prepared));
        }
        let definition = self.definitions.lock().get(&id).cloned();
        let definition = definition.expect("the node defines a template before its first run");
        let function = self.functions.lock().get(&definition.function).cloned();
        let function = function.expect("the node sends a function before its first template");
        // Unpickling runs user code: no lock is held.
        let prepared = Arc::new(Prepared::load(py, &definition, &function)?);
        self.prepared.lock().insert(id, Arc::clone(&prepared));
        Ok(prepared)
    }

    /// Why the running task is not run again although it could be: "had consumed 3 items of …".
    pub(crate) fn consumed_note(&self) -> Option<String> {
        let current = self.current.lock();
        let consumed = &current.as_ref()?.consumed;
        let parts: Vec<String> = consumed
            .iter()
            .map(|(stream, count)| format!("had consumed {count} items of stream {stream}"))
            .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Sleeps until the running task's stream has been read so far, or nobody reads it.
    pub(crate) fn wait_for_credit(
        &self,
        session: &Session,
        py: Python<'_>,
        ticket: Ticket,
        until: Credit,
    ) -> PyResult<()> {
        if self.may_go_on(ticket, until) {
            return Ok(());
        }
        let seat = Arc::new(Seat::default());
        *self.pause.lock() = Some(Pause { ticket, until, seat: Arc::clone(&seat) });
        self.nudge_pause();
        let waited = if seat.is_done() { Ok(true) } else { session.wait_on(py, &seat, None) };
        *self.pause.lock() = None;
        waited.map(drop)
    }

    fn may_go_on(&self, ticket: Ticket, until: Credit) -> bool {
        let slot = self.slot(ticket);
        let has_credit = match until {
            Credit::Items(until) => slot.credit() >= until,
            Credit::Bytes { stored, need, limit } => {
                let unread = stored.saturating_sub(slot.credit_bytes());
                unread == 0 || unread.saturating_add(need) <= limit
            }
        };
        has_credit || slot.is_stream_dropped(ticket.0) || slot.is_stream_closed(ticket.0)
    }

    fn nudge_pause(&self) {
        if let Some(pause) = &*self.pause.lock()
            && self.may_go_on(pause.ticket, pause.until)
        {
            pause.seat.nudge();
        }
    }

    /// Takes one message.
    fn route(&self, message: ToWorker) {
        match message {
            ToWorker::Function(id, bytes) => {
                self.functions.lock().insert(id, bytes);
            }
            ToWorker::Define(id, template) => {
                self.definitions.lock().insert(id, template);
            }
            ToWorker::Run(run) => {
                self.runs.lock().push_back(run);
                self.seat.nudge();
            }
            ToWorker::Reply(request, reply) => {
                if let Some(reply) = self.answers.deliver(request, reply)
                    && let Some(session) = Session::current()
                {
                    session.give_back(reply);
                }
            }
            ToWorker::Leave => {
                self.leaving.store(true, Ordering::Release);
                self.seat.nudge();
            }
        }
    }

    fn write(&self, outbox: &mut Outbox, message: &ToNode) {
        let Outbox { writer, scratch } = outbox;
        wire::encode(message, scratch);
        while writer.push(scratch) == Push::Full {
            // The node always drains: whoever leads there does, or the background thread.
            self.hub.bell().ring(Urgency::Urgent);
            std::thread::sleep(FULL_RING_NAP);
        }
    }

    /// Sends what the handles have gathered, around the message that goes out with it.
    fn flush(&self, outbox: &mut Outbox, message: Option<&ToNode>) {
        let pending = self.handles.take();
        for held in pending.holds {
            self.write(outbox, &ToNode::Request(Request::Hold(held)));
        }
        if let Some(message) = message {
            self.write(outbox, message);
        }
        for held in pending.releases {
            self.write(outbox, &ToNode::Request(Request::Release(held)));
        }
    }

    fn write_all(&self, message: &ToNode, urgency: Urgency) {
        self.flush(&mut self.outbox.lock(), Some(message));
        self.hub.bell().ring(urgency);
    }
}

impl Engine for Worker {
    fn poll(&self) {
        let mut inbox = self.inbox.lock();
        let Inbox { reader, scratch } = &mut *inbox;
        loop {
            match reader.pop(scratch) {
                Ok(true) => match wire::decode(scratch) {
                    Some(message) => self.route(message),
                    None => crate::abandon("a message of the node does not decode"),
                },
                Ok(false) => break,
                Err(_) => crate::abandon("the ring from the node is garbled"),
            }
        }
        let is_stalled = reader.take_stalled();
        drop(inbox);
        if is_stalled {
            self.hub.bell().ring(Urgency::Urgent);
        }
        self.nudge_pause();
    }

    fn has_work(&self) -> bool {
        // Who holds the inbox is about to empty it, and rings nobody: look again.
        let is_waiting = self.inbox.try_lock().is_none_or(|inbox| !inbox.reader.is_empty());
        is_waiting
            || self
                .pause
                .lock()
                .as_ref()
                .is_some_and(|pause| self.may_go_on(pause.ticket, pause.until))
    }

    fn bell(&self) -> &Doorbell {
        self.control.bell()
    }

    fn may_spin(&self) -> bool {
        self.hub.hints().running() < self.cpus
    }

    fn has_background(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }
}

impl Transport for Worker {
    fn send(&self, _session: &Session, request: Request) {
        self.write_all(&ToNode::Request(request), Urgency::Urgent);
    }

    fn export(&self, _session: &Session, function: FunctionId, bytes: Bytes) {
        if self.exported.lock().insert(function) {
            self.write_all(&ToNode::Function(function, bytes), Urgency::Relaxed);
        }
    }

    fn try_flush(&self, _session: &Session) {
        if self.handles.is_dirty()
            && let Some(mut outbox) = self.outbox.try_lock()
        {
            self.flush(&mut outbox, None);
            drop(outbox);
            self.hub.bell().ring(Urgency::Urgent);
        }
    }

    fn note_dirty(&self) {
        self.ticker.note_dirty();
    }

    fn peek(&self, _session: &Session, _object: ObjectId) -> Option<Value> {
        None
    }

    fn peek_ready(&self, _on: &[Waitable], _count: usize) -> Option<Vec<u32>> {
        None
    }

    fn take(&self, _task: TaskId, _at: Option<u64>, _most: Option<u32>) -> Option<Reply> {
        None
    }

    fn consume(&self, _session: &Session, taken: &Consumed) {
        let mut by = None;
        if taken.is_passed_on
            && let Some(current) = &mut *self.current.lock()
        {
            by = Some(current.ticket);
            match current.consumed.iter_mut().find(|(stream, _)| *stream == taken.stream) {
                Some((_, count)) => *count += taken.count,
                None => current.consumed.push((taken.stream, taken.count)),
            }
        }
        // Read with the next message, or when this process is gone: nobody is woken for it.
        let message = ToNode::Request(Request::Taken(taken.request, by));
        self.flush(&mut self.outbox.lock(), Some(&message));
    }

    fn large(&self) -> u64 {
        // A lease is a round trip, some 50 µs; writing so much takes as long.
        256 << 10
    }

    fn engine(&self) -> &dyn Engine {
        self
    }

    fn listen(&self, _session: &Session) {
        if !self.listening.swap(true, Ordering::AcqRel)
            && let Some(session) = Session::current()
            && background::start(session).is_err()
        {
            // Without the thread, answers are heard whenever another call waits.
            self.listening.store(false, Ordering::Release);
        }
    }

    fn current_task(&self) -> Option<TaskId> {
        self.current.lock().as_ref().map(|current| current.task)
    }

    fn holds_resources(&self) -> bool {
        // What other threads of the user do is theirs: only the task's own holds its CPU.
        crate::is_main_thread() && self.current.lock().is_some()
    }

    fn blocked(&self, session: &Session, is_blocked: bool) {
        let ticket = self.current.lock().as_ref().map(|current| current.ticket);
        if let Some(ticket) = ticket {
            let request =
                if is_blocked { Request::Blocked(ticket) } else { Request::Resumed(ticket) };
            self.send(session, request);
        }
    }
}

/// Errors of the hub and the control segment are all about mapping.
impl From<skate_shm::OverlayError> for Error {
    fn from(error: skate_shm::OverlayError) -> Self {
        Self::Mapping(error.to_string())
    }
}
