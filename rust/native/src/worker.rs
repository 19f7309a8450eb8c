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

mod actor;
mod granted;
mod pause;
mod telling;
mod templates;

use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use rustc_hash::FxHashMap;
use skate_core::action::{Reply, Run};
use skate_core::event::{Request, Waitable};
use skate_core::id::{ActorId, ClientId, ObjectId, TaskId, TemplateId, Ticket};
use skate_core::value::Value;
use skate_shm::claim::Slot;
use skate_shm::control::Control;
use skate_shm::doorbell::{Doorbell, Urgency};
use skate_shm::flags::Flags;
use skate_shm::hub::Hub;
use skate_shm::killpoint::{Point, reached};
use skate_shm::ring::{RingReader, RingWriter};

pub(crate) use self::pause::Credit;
use self::pause::Pause;
use self::templates::Templates;
use crate::answer::{Answers, Seat};
use crate::background;
use crate::current::{Current, Running};
use crate::error::{Error, Result};
use crate::execute;
use crate::handles::Handles;
use crate::lanes::Lanes;
use crate::naps::Naps;
use crate::prepared::Prepared;
use crate::pump::{Engine, SIGNAL_CHECK};
use crate::session::{Consumed, Session, Transport};
use crate::ticker::Ticker;
use crate::wire::{self, Serves, ToWorker};

/// Waits on the core of the node before this worker moves: moving costs as much as some of them.
const SHARED_WAITS: u32 = 16;

/// Values that came with items, kept for whoever gets them: as many as the node sends at once.
const MOST_LEARNED: usize = 64;

struct Outbox {
    writer: RingWriter,
    scratch: Vec<u8>,
}

struct Inbox {
    reader: RingReader,
    scratch: Vec<u8>,
}

/// One worker process.
pub(crate) struct Worker {
    /// Its pidfd.
    driver: Arc<OwnedFd>,
    control: Control,
    hub: Hub,
    /// Its place among the hub's flags.
    seat_at_hub: usize,
    outbox: Mutex<Outbox>,
    inbox: Mutex<Inbox>,
    runs: Mutex<VecDeque<Box<Run>>>,
    /// Where the main thread waits for a run.
    seat: Arc<Seat>,
    leaving: AtomicBool,
    exit_code: AtomicU8,
    pub(crate) current: Current,
    pauses: Mutex<FxHashMap<Ticket, Pause>>,
    /// The actor whose process this is, and whether it was started before.
    actor: OnceLock<(ActorId, bool)>,
    actor_template: OnceLock<TemplateId>,
    /// Whether what it runs captures its children, as Python has been told: 0, 1 or unknown.
    captures: AtomicU8,
    /// Whether Python has been told of its GPUs.
    has_devices: AtomicBool,
    /// How many CPUs the task has, as Python has been told.
    cpus_of_task: AtomicU32,
    /// Its calls, if it runs several at once.
    lanes: OnceLock<Arc<Lanes>>,
    /// Which of these sleep, if the actor has CPU to lend.
    naps: OnceLock<Naps>,
    templates: Mutex<Templates>,
    handles: Arc<Handles>,
    answers: Arc<Answers>,
    /// The sentinel's: it flushes handles.
    ticker: Arc<Ticker>,
    /// Whether the background thread has been started.
    listening: AtomicBool,
    /// Something was published for which only a leader was rung.
    untold: AtomicBool,
    /// The latest of the values that came with items; the newest last.
    learned: Mutex<VecDeque<(ObjectId, Value)>>,
    /// Waits in a row on the core that the node waits on.
    shared_waits: AtomicU32,
    cpus: u32,
}

impl Worker {
    /// Maps what the node made for this worker.
    pub(crate) fn join(
        hub: BorrowedFd<'_>,
        control: BorrowedFd<'_>,
        driver: Arc<OwnedFd>,
        ClientId(client): ClientId,
        handles: Arc<Handles>,
        answers: Arc<Answers>,
        ticker: Arc<Ticker>,
    ) -> Result<Arc<Self>> {
        let hub = Hub::open(hub)?;
        let control = Control::open(control)?;
        let (writer, reader) = control.worker_end().expect("a process joins once");
        Ok(Arc::new(Self {
            driver,
            control,
            hub,
            seat_at_hub: Flags::seat(client),
            outbox: Mutex::new(Outbox { writer, scratch: Vec::new() }),
            inbox: Mutex::new(Inbox { reader, scratch: Vec::new() }),
            runs: Mutex::default(),
            seat: Arc::default(),
            leaving: AtomicBool::new(false),
            exit_code: AtomicU8::new(0),
            current: Current::new(),
            pauses: Mutex::default(),
            actor: OnceLock::new(),
            actor_template: OnceLock::new(),
            captures: AtomicU8::new(0),
            has_devices: AtomicBool::new(false),
            cpus_of_task: AtomicU32::new(1),
            lanes: OnceLock::new(),
            naps: OnceLock::new(),
            templates: Mutex::default(),
            handles,
            answers,
            ticker,
            listening: AtomicBool::new(false),
            untold: AtomicBool::new(false),
            learned: Mutex::default(),
            shared_waits: AtomicU32::new(0),
            cpus: crate::usable_cpus(),
        }))
    }

    /// Executes tasks until the node says leave, or the process becomes that of an actor which runs
    /// several calls at once: these lanes.
    pub(crate) fn run(
        self: &Arc<Self>,
        session: &Arc<Session>,
        py: Python<'_>,
    ) -> PyResult<Option<Arc<Lanes>>> {
        let mut is_known = false;
        while let Some(run) = self.next_run(session, py)? {
            if !std::mem::replace(&mut is_known, true) {
                crate::sentinel::outlive_zygote();
            }
            // Before anything is unpickled, which may import what looks for GPUs, or starts threads.
            self.use_devices(py, &run.devices)?;
            let (serves, limits) = self.enter_actor(py, &run)?;
            if serves == Serves::InTurn {
                execute::execute(self, session, py, *run)?;
                continue;
            }
            let lanes = Arc::new(Lanes::new(serves, &limits)?);
            if serves == Serves::Threads {
                execute::execute(self, session, py, *run)?;
            } else {
                // The constructor runs on the loop, too. It was claimed here.
                lanes.push(0, run);
            }
            // What came before there were lanes stays before what comes from now on.
            let mut early = self.runs.lock();
            for run in early.drain(..) {
                lanes.push(self.lane_of(run.template), run);
            }
            return Ok(Some(Arc::clone(self.lanes.get_or_init(|| lanes))));
        }
        Ok(None)
    }

    /// The process is to end with that code.
    pub(crate) fn leave(&self, exit_code: u8) {
        reached(Point::Leaving);
        self.exit_code.store(exit_code, Ordering::Release);
        self.runs.lock().clear();
        self.leaving.store(true, Ordering::Release);
        self.seat.nudge();
        if let Some(lanes) = self.lanes.get() {
            lanes.wake_all();
        }
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Sleeps until the process is to end: with which code. It is the main thread that does: it runs the
    /// handlers of signals meanwhile.
    pub(crate) fn wait_until_leaving(&self, py: Python<'_>) -> PyResult<u8> {
        while !self.is_leaving() {
            self.seat.reset();
            if !self.is_leaving() {
                py.detach(|| self.seat.sleep(SIGNAL_CHECK));
            }
            handle_signals(py)?;
        }
        Ok(self.exit_code.load(Ordering::Acquire))
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
            if self.handles.is_dirty() {
                self.flush(&mut self.outbox.lock(), None);
                self.ring_relaxed();
            }
            self.keep_off_the_node();
            // However it ends, the queue is looked at again. A SIGINT that comes now is late for the
            // task that it was meant for, so its handler does nothing.
            let _ = py.detach(|| session.pump.wait(self, &self.seat, None));
            handle_signals(py)?;
        }
    }

    /// Moves to an idle core when this one has been the node's for a while: there nobody can spin.
    fn keep_off_the_node(&self) {
        let may_move = self.hub.hints().running() < self.cpus;
        if !may_move || !self.hub.cores().worker_shares() {
            return self.shared_waits.store(0, Ordering::Relaxed);
        }
        if self.shared_waits.fetch_add(1, Ordering::Relaxed) + 1 == SHARED_WAITS {
            self.shared_waits.store(0, Ordering::Relaxed);
            // It stays where it is if the system refuses.
            let _ = skate_shm::thread::step_aside();
        }
    }

    pub(crate) fn slot(&self, ticket: Ticket) -> &Slot {
        leave_if_forked();
        self.control.slot(ticket.0 as usize)
    }

    /// What is known of a run by the code that it runs.
    pub(crate) fn running(&self, run: &Run) -> Running {
        let name = run.name.clone().unwrap_or_else(|| self.templates.lock().name_of(run.template));
        Running {
            ticket: run.ticket,
            task: run.task,
            name,
            attempt: run.attempt,
            prepared: OnceLock::new(),
            consumed: Mutex::default(),
            waits: Mutex::default(),
        }
    }

    /// The function and options of the task that the caller belongs to.
    pub(crate) fn current_prepared(&self) -> Option<Arc<Prepared>> {
        self.current.get()?.prepared.get().cloned()
    }

    /// Whether that task has been cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        let running = self.current.get();
        running.is_some_and(|running| self.slot(running.ticket).is_cancelled(running.ticket.0))
    }

    /// Why the running task is not run again although it could be: "had consumed 3 items of …".
    pub(crate) fn consumed_note(&self) -> Option<String> {
        let running = self.current.get()?;
        let consumed = running.consumed.lock();
        let parts: Vec<String> = consumed
            .iter()
            .map(|(stream, count)| format!("had consumed {count} items of stream {stream}"))
            .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Takes one message.
    fn route(&self, message: ToWorker) {
        match message {
            ToWorker::Function(id, bytes) => self.templates.lock().learn(id, bytes),
            ToWorker::Define(id, template) => self.templates.lock().define(id, template),
            ToWorker::Undefine(templates, functions) => {
                self.templates.lock().undefine(&templates, &functions);
            }
            ToWorker::Run(run) => {
                self.enqueue(run);
            }
            ToWorker::Reply(request, reply) => {
                if let Some(reply) = self.answers.deliver(request, reply)
                    && let Some(session) = Session::current()
                {
                    session.give_back(reply);
                }
            }
            ToWorker::Cancelled(ticket) => {
                if let Some(lanes) = self.lanes.get() {
                    lanes.cancel(ticket);
                }
            }
            ToWorker::Leave => {
                reached(Point::Leaving);
                self.leaving.store(true, Ordering::Release);
                self.seat.nudge();
                if let Some(lanes) = self.lanes.get() {
                    lanes.wake_all();
                }
            }
        }
    }

    fn enqueue(&self, run: Box<Run>) {
        if let Some(lanes) = self.lanes.get() {
            return lanes.push(self.lane_of(run.template), run);
        }
        let mut runs = self.runs.lock();
        match self.lanes.get() {
            // They came up meanwhile, and may have been filled already.
            Some(lanes) => {
                drop(runs);
                lanes.push(self.lane_of(run.template), run);
            }
            None => runs.push_back(run),
        }
        self.seat.nudge();
    }
}

impl Engine for Worker {
    fn poll(&self) -> bool {
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
            self.call(Urgency::Urgent);
        }
        self.nudge_pauses();
        true
    }

    fn has_work(&self) -> bool {
        // Who holds the inbox is about to empty it, and rings nobody: look again.
        let is_waiting = self.inbox.try_lock().is_none_or(|inbox| !inbox.reader.is_empty());
        is_waiting || self.is_any_pause_over()
    }

    fn bell(&self) -> &Doorbell {
        self.control.bell()
    }

    fn may_spin(&self) -> bool {
        let shares_core = self.hub.cores().worker_shares();
        self.hub.hints().running() < self.cpus && !shares_core
    }

    fn has_background(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }
}

impl Transport for Worker {
    fn send(&self, _session: &Session, request: Request) {
        leave_if_forked();
        let urgency = self.urgency_of(&request);
        self.write_all(&request, urgency);
    }

    fn try_flush(&self, _session: &Session) {
        if self.handles.is_dirty()
            && let Some(mut outbox) = self.outbox.try_lock()
        {
            self.flush(&mut outbox, None);
            drop(outbox);
            self.call(Urgency::Urgent);
        }
    }

    fn note_dirty(&self) {
        self.ticker.note_dirty();
    }

    fn peek(&self, _session: &Session, object: ObjectId) -> Option<Value> {
        let learned = self.learned.lock();
        let mut latest = learned.iter().rev();
        latest.find(|(id, _)| *id == object).map(|(_, value)| value.clone())
    }

    fn peek_ready(&self, _on: &[Waitable], _count: usize) -> Option<Vec<u32>> {
        None
    }

    fn take(&self, _task: TaskId, _at: Option<u64>, _most: Option<u32>) -> Option<Reply> {
        None
    }

    fn learn(&self, values: Vec<(ObjectId, Value)>) {
        let mut learned = self.learned.lock();
        let excess = (learned.len() + values.len()).saturating_sub(MOST_LEARNED);
        let known = learned.len().min(excess);
        learned.drain(..known);
        learned.extend(values);
    }

    fn consume(&self, _session: &Session, taken: &Consumed) {
        let mut by = None;
        if taken.is_passed_on
            && let Some(running) = self.current.get()
        {
            by = Some(running.ticket);
            let mut consumed = running.consumed.lock();
            match consumed.iter_mut().find(|(stream, _)| *stream == taken.stream) {
                Some((_, count)) => *count += u64::from(taken.count),
                None => consumed.push((taken.stream, taken.count.into())),
            }
        }
        let message = Request::Taken(taken.request, taken.count, by);
        if taken.has_window {
            return self.write_all(&message, Urgency::Urgent);
        }
        // Read with the next message, by the sentinel's next look, or when this process is gone.
        self.flush(&mut self.outbox.lock(), Some(&message));
        self.tell_later();
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

    fn has_untold(&self) -> bool {
        self.untold.load(Ordering::Acquire)
    }

    fn ring_untold(&self) {
        if self.untold.swap(false, Ordering::AcqRel) && !self.outbox.lock().writer.is_empty() {
            self.call(Urgency::Urgent);
        }
    }

    fn current_task(&self) -> Option<TaskId> {
        self.current.get().map(|running| running.task)
    }

    fn holds_resources(&self) -> bool {
        // What other threads of the user do is theirs: only the task's own holds its CPU.
        match self.lanes.get() {
            None => crate::is_main_thread() && self.current.get().is_some(),
            Some(_) => self.naps.get().is_some() && self.current.get().is_some(),
        }
    }

    fn blocked(&self, session: &Session, is_blocked: bool) {
        if let Some(running) = self.current.get().as_deref() {
            if self.lanes.get().is_none() {
                return self.count_wait(session, running, is_blocked);
            }
            let ticket = running.ticket;
            self.nap(session, |naps, tell| match (Current::loop_of_thread(), is_blocked) {
                // A call that does not await keeps its whole loop from going on.
                (Some(lane), _) => naps.loop_stands(lane, ticket, is_blocked, tell),
                (None, true) => naps.fell_asleep(ticket, tell),
                (None, false) => naps.woke(ticket, tell),
            });
        }
    }

    fn lose(&self, why: String) {
        crate::abandon(&why);
    }
}

/// Runs the handlers of signals that came while no code of a user ran.
fn handle_signals(py: Python<'_>) -> PyResult<()> {
    outlive(py, py.check_signals())
}

/// What is raised between two tasks comes from the handler of a signal, and has no call to end in; only
/// `sys.exit` ends the process.
pub(crate) fn outlive(py: Python<'_>, done: PyResult<()>) -> PyResult<()> {
    match done {
        Err(error) if !error.is_instance_of::<PySystemExit>(py) => {
            error.write_unraisable(py, None);
            Ok(())
        }
        done => done,
    }
}

/// A process that a task forked has come back from the task. It has no part in the session, not even
/// the mappings: whatever it would do next is for its parent to do.
fn leave_if_forked() {
    if Session::is_forked() {
        crate::leave_fork();
    }
}

/// Errors of the hub and the control segment are all about mapping.
impl From<skate_shm::OverlayError> for Error {
    fn from(error: skate_shm::OverlayError) -> Self {
        Self::Mapping(error.to_string())
    }
}
