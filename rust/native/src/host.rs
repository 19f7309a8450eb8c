//! The embedded node: the pure machine of `skate-core`, and what its actions do in this process.
//!
//! ```text
//!   driver's threads ── Transport::send ──┐
//!   workers' rings ──── Engine::poll ─────┼──▶ lock ─▶ Node::step ─▶ actions ─▶ rings, signals, answers
//!   watcher (deaths, time) ───────────────┘
//! ```
//!
//! Invariant: the lock is held for one turn: events, their actions, and the bells at the end. Under
//! it nothing waits, and no Python runs; a thread may hold the GIL while it takes the lock, and never
//! takes the GIL while it holds the lock.

mod driver;
mod look;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rustc_hash::FxHashMap;
use rustix::process::Signal;
use skate_core::action::{Action, Reply, Run};
use skate_core::event::{Event, Outcome, Request, Template};
use skate_core::id::{ClientId, FunctionId, TemplateId};
use skate_core::memory::Shortage;
use skate_core::node::{Config, Node};
use skate_core::value::{Bytes, Death, Span};
use skate_shm::control::Control;
use skate_shm::flags::Flags;
use skate_shm::hub::Hub;
use skate_shm::segment::Segment;
use skate_shm::watch::Process;
use smallvec::SmallVec;

use crate::answer::Answers;
use crate::disk::{Disk, Job};
use crate::error::Result;
use crate::handles::Handles;
use crate::link::{Doom, Link};
use crate::mailbox::{Letter, Mail};
use crate::notice::Notice;
use crate::problem::{Problem, Problems};
use crate::pump::Engine;
use crate::session::Session;
use crate::watcher::{Order, Watcher};
use crate::wire::{self, Serves, Target, TemplateBody, ToNode, ToWorker};

/// Messages taken from one worker before the next one's turn.
const BATCH: usize = 256;

/// One line about a worker, for people.
pub(crate) struct WorkerRow {
    pub(crate) client: ClientId,
    pub(crate) pid: u32,
    pub(crate) state: &'static str,
    pub(crate) task_name: Option<Arc<str>>,
}

/// What the workers were last told: see [`Host::hint`].
#[derive(Default)]
struct Told {
    has_backlog: bool,
    is_awaited: bool,
}

struct State {
    node: Node,
    actions: Vec<Action>,
    links: FxHashMap<ClientId, Link>,
    /// Keys of `links`, by their seats at the hub's flags.
    seats: Vec<SmallVec<[ClientId; 1]>>,
    functions: FxHashMap<FunctionId, Bytes>,
    templates: FxHashMap<TemplateId, Arc<Template>>,
    scratch: Vec<u8>,
    /// Workers to be rung at the end of the turn.
    to_ring: Vec<ClientId>,
    submits: u32,
    /// The zygote knows what actors with a loop need.
    has_preloaded: bool,
    told: Told,
    /// The watcher is to trim the heap.
    is_heap_loose: bool,
    /// Of workers that have gone lately.
    late: look::Late,
}

/// Whether it makes actors with an event loop.
fn is_for_loop(template: &Template) -> bool {
    wire::decode::<TemplateBody>(&template.body)
        .is_some_and(|body| matches!(body.target, Target::Class(Serves::Loop, _)))
}

impl State {
    /// Does something that the worker must be woken for.
    fn tell(&mut self, worker: ClientId, tell: impl FnOnce(&mut Link, &mut Vec<u8>)) {
        if let Some(link) = self.links.get_mut(&worker) {
            tell(link, &mut self.scratch);
            if link.is_to_be_rung() {
                self.to_ring.push(worker);
            }
        }
    }
}

/// The node of this process.
pub(crate) struct Host {
    state: Mutex<State>,
    hub: Hub,
    /// The session's; what is left of this host after the end must not keep it.
    segment: Weak<Segment>,
    handles: Arc<Handles>,
    answers: Arc<Answers>,
    notices: Arc<Mail>,
    problems: Mutex<Problems>,
    watcher: Watcher,
    disk: Disk,
    /// For the disk's thread.
    this: Weak<Self>,
    /// By the clock that all processes share; the node's time is counted from here.
    began_ns: u64,
    /// The same since 1970. Read once, so that what is told of a moment does not change.
    began_unix_ns: u64,
    running: AtomicU32,
    cpus: u32,
}

impl Host {
    pub(crate) fn new(
        config: Config,
        hub: Hub,
        segment: &Arc<Segment>,
        handles: Arc<Handles>,
        answers: Arc<Answers>,
        watcher: Watcher,
        disk: Disk,
    ) -> Result<Arc<Self>> {
        let mut actions = Vec::new();
        let node = Node::new(&config, &mut actions);
        let notices = Mail::new()?;
        let (began_ns, began_unix_ns) = look::clocks();
        let host = Arc::new_cyclic(|this| Self {
            state: Mutex::new(State {
                node,
                actions,
                links: FxHashMap::default(),
                seats: Vec::new(),
                functions: FxHashMap::default(),
                templates: FxHashMap::default(),
                scratch: Vec::new(),
                to_ring: Vec::new(),
                submits: 0,
                has_preloaded: false,
                told: Told::default(),
                is_heap_loose: false,
                late: look::Late::default(),
            }),
            hub,
            segment: Arc::downgrade(segment),
            handles,
            answers,
            notices,
            problems: Mutex::default(),
            watcher,
            disk,
            this: Weak::clone(this),
            began_ns,
            began_unix_ns,
            running: AtomicU32::new(0),
            cpus: crate::usable_cpus(),
        });
        // Workers that the node wants from the start.
        host.turn(|_, _| {});
        Ok(host)
    }

    /// One turn: events in, their actions carried out, workers rung.
    fn turn<T>(&self, work: impl FnOnce(&Self, &mut State) -> T) -> T {
        let mut state = self.state.lock();
        let result = work(self, &mut state);
        self.finish(state);
        result
    }

    fn finish(&self, mut guard: MutexGuard<'_, State>) {
        self.settle(&mut guard);
        self.watcher.want(guard.node.deadline());
    }

    /// Carries out what is left, and tells the workers.
    fn settle(&self, state: &mut State) {
        self.carry_out(state);
        self.hint(state);
        let running = state.node.running();
        if running != self.running.swap(running, Ordering::Relaxed) {
            self.hub.hints().set_running(running);
        }
        for worker in state.to_ring.drain(..) {
            if let Some(link) = state.links.get_mut(&worker) {
                link.ring();
            }
        }
    }

    /// Tells the workers whether what they publish can wait for the next leader.
    fn hint(&self, state: &mut State) {
        let has_backlog = state.node.has_backlog();
        if has_backlog != std::mem::replace(&mut state.told.has_backlog, has_backlog) {
            self.hub.hints().set_backlog(has_backlog);
        }
        let is_awaited = state.node.is_awaited() || self.answers.has_mail();
        if is_awaited != std::mem::replace(&mut state.told.is_awaited, is_awaited) {
            self.hub.hints().set_urgent(is_awaited);
            if is_awaited {
                // What was published before the hint may be what is waited for.
                self.read_rings(state);
            }
        }
    }

    fn step(&self, state: &mut State, event: Event) {
        state.node.step(event, &mut state.actions);
        self.carry_out(state);
    }

    fn request(&self, state: &mut State, client: ClientId, mut request: Request) {
        if let Request::Inspect(id, query) = &mut request {
            if client != ClientId::DRIVER {
                query.limit = query.limit.min(look::MOST_SENT);
            }
            let rows = self.look(state, query);
            return self.act(state, Action::Reply(client, *id, Reply::Rows(rows)));
        }
        match &mut request {
            Request::Finished(_, Outcome { began_ns: at_ns, .. }) | Request::Yielded(.., at_ns) => {
                // Nobody has looked: the node's own time will do.
                *at_ns = at_ns.saturating_sub(self.began_ns);
            }
            Request::Span(span) => {
                span.began_ns = span.began_ns.saturating_sub(self.began_ns).max(1);
                span.ended_ns = span.ended_ns.saturating_sub(self.began_ns).max(1);
            }
            _ => {}
        }
        if let Request::Create(creation) = &request
            && let Some(template) = state.templates.get(&creation.submit.template)
            && is_for_loop(template)
            && !std::mem::replace(&mut state.has_preloaded, true)
        {
            // Every process with a loop needs it: imported once, before they are forked.
            self.watcher.order(Order::Preload("skate._actor_loop"));
        }
        if let Request::Define(id, template) = &request {
            state.templates.insert(*id, Arc::clone(template));
        }
        self.step(state, Event::Client(client, request));
    }

    /// Tells the node what the driver's handles have gathered, around the request that goes with it.
    fn flush(&self, state: &mut State, request: Option<Request>) {
        let pending = self.handles.take();
        for held in pending.holds {
            self.step(state, Event::Client(ClientId::DRIVER, Request::Hold(held)));
        }
        if let Some(request) = request {
            self.request(state, ClientId::DRIVER, request);
        }
        for held in pending.releases {
            self.step(state, Event::Client(ClientId::DRIVER, Request::Release(held)));
        }
    }

    fn tick(&self, state: &mut State) {
        let now_ns = self.now_ns();
        state.node.step(Event::Tick(now_ns), &mut state.actions);
    }

    /// Since the session began.
    fn now_ns(&self) -> u64 {
        crate::monotonic_ns().saturating_sub(self.began_ns)
    }

    /// Does what the node has decided, and what follows from that.
    fn carry_out(&self, state: &mut State) {
        while !state.actions.is_empty() {
            let mut actions = std::mem::take(&mut state.actions);
            for action in actions.drain(..) {
                self.act(state, action);
            }
            if state.actions.is_empty() {
                // Keeps the allocation.
                state.actions = actions;
            }
        }
    }

    fn act(&self, state: &mut State, action: Action) {
        match action {
            Action::Spawn(worker) => self.spawn(state, worker),
            Action::Run(worker, run) => Self::send_run(state, worker, run),
            Action::Revoke(worker, ticket) => {
                let is_revoked = state.links.get(&worker).is_some_and(|link| link.revoke(ticket));
                let event = if is_revoked {
                    Event::Revoked(worker, ticket)
                } else {
                    Event::RevokeRefused(worker, ticket)
                };
                state.node.step(event, &mut state.actions);
            }
            Action::Reply(ClientId::DRIVER, request, reply) => {
                if let Some(reply) = self.answers.deliver(request, reply)
                    && let Some(session) = Session::current()
                {
                    session.give_back(reply);
                }
                // A leader that is parked must hear of an answer that another thread brought about.
                self.hub.bell().ring(skate_shm::doorbell::Urgency::Relaxed);
            }
            Action::Reply(worker, request, reply) => {
                let message = ToWorker::Reply(request, reply);
                state.tell(worker, |link, scratch| link.send(&message, scratch));
            }
            Action::Credit(worker, ticket, taken) => {
                state.tell(worker, |link, _| link.grant(ticket, taken));
            }
            Action::CreditBytes(worker, ticket, bytes) => {
                if let Some(link) = state.links.get(&worker) {
                    link.grant_bytes(ticket, bytes);
                }
            }
            Action::StreamClosed(worker, ticket) => {
                state.tell(worker, |link, _| link.close_stream(ticket));
            }
            Action::StreamDropped(worker, ticket) => {
                state.tell(worker, |link, _| link.drop_stream(ticket));
            }
            Action::Interrupt(worker, ticket) => {
                if let Some(link) = state.links.get(&worker) {
                    link.cancel(ticket);
                    // It may have ended by itself; its death is on the way then.
                    let _ = link.process.as_ref().map(|process| process.signal(Signal::INT));
                }
            }
            Action::Notify(worker, ticket) => {
                state.tell(worker, |link, scratch| {
                    link.cancel(ticket);
                    link.send(&ToWorker::Cancelled(ticket), scratch);
                });
            }
            Action::Kill(worker, _reason) => {
                if let Some(link) = state.links.get_mut(&worker) {
                    link.doom = Doom::Kill;
                    let _ = link.process.as_ref().map(|process| process.signal(Signal::KILL));
                }
            }
            Action::Retire(worker) => {
                state.tell(worker, |link, scratch| link.send(&ToWorker::Leave, scratch));
            }
            Action::Punch(span) => self.punch(span),
            Action::Write(number, pieces) => self.order_disk(Job::Write(number, pieces)),
            Action::Read(object, extent, to) => self.order_disk(Job::Read(object, extent, to)),
            Action::Prepare(span) => self.order_disk(Job::Prepare(span)),
            Action::Discard(span) => self.order_disk(Job::Discard(span)),
            Action::CannotSpill(why) => self.notify(Notice::CannotSpill(why)),
            Action::TrimHeap => state.is_heap_loose = true,
            Action::Unhandled { task, task_name, returns, error } => {
                let error = Problem::new(task, task_name, returns, &error);
                self.notify(Notice::Unhandled(error.clone()));
                self.problems.lock().push(error);
            }
            Action::Infeasible { task_name, missing } => {
                self.notify(Notice::Infeasible { task_name, missing });
            }
        }
    }

    /// Sends a dispatch, after what the worker has not seen of its template.
    fn send_run(state: &mut State, worker: ClientId, run: Run) {
        let State { links, templates, functions, .. } = state;
        let Some(link) = links.get_mut(&worker) else { return };
        let template = templates.get(&run.template);
        let template = template.filter(|_| link.is_new_template(run.template)).cloned();
        let function = template.as_ref().filter(|template| link.is_new_function(template));
        let function = function.and_then(|template| {
            Some((template.function, functions.get(&template.function)?.clone()))
        });
        state.tell(worker, |link, scratch| {
            if let Some((id, bytes)) = function {
                link.send(&ToWorker::Function(id, bytes), scratch);
            }
            if let Some(template) = template {
                link.send(&ToWorker::Define(run.template, template), scratch);
            }
            link.run(run, scratch);
        });
    }

    fn punch(&self, span: Span) {
        let Some(segment) = self.segment.upgrade() else { return };
        let span = skate_shm::segment::Span { offset: span.offset, len: span.len };
        #[allow(unsafe_code, reason = "only the node knows that the span is free")]
        // SAFETY: the node has just said that the span is free: in no lease and in no object, so in no
        // view. The lock under which it said so is still held, so it cannot lease it meanwhile.
        unsafe {
            segment.punch(span);
        }
    }

    fn order_disk(&self, job: Job) {
        self.disk.order(job, &self.this, &self.segment);
    }

    /// The disk has done what it was asked.
    pub(crate) fn disk_event(&self, event: Event) {
        self.turn(|host, state| {
            host.tick(state);
            host.step(state, event);
        });
    }

    /// Memory was looked at.
    pub(crate) fn memory_event(&self, report: Option<Box<Shortage>>) {
        self.turn(|host, state| {
            host.tick(state);
            host.step(state, Event::Memory(report));
        });
    }

    /// Tasks believed to execute now.
    pub(crate) fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// The process of each worker that is up.
    pub(crate) fn pids(&self) -> Vec<(ClientId, u32)> {
        let state = self.state.lock();
        let rows = state.links.iter().map(|(client, link)| (*client, link.pid()));
        rows.filter(|(_, pid)| *pid != 0).collect()
    }

    fn notify(&self, notice: Notice) {
        self.notices.post(notice.kind(), Letter::Notice(notice));
    }

    fn spawn(&self, state: &mut State, worker: ClientId) {
        match Control::create() {
            Ok((control, fd)) => {
                state.links.insert(worker, Link::new(control));
                let seat = Flags::seat(worker.0);
                if state.seats.len() <= seat {
                    state.seats.resize_with(seat + 1, SmallVec::new);
                }
                state.seats[seat].push(worker);
                self.watcher.order(Order::Spawn { worker, control: fd });
            }
            Err(error) => {
                self.watcher.order(Order::Failed { worker, note: error.to_string() });
            }
        }
    }

    /// Reads the rings of those who have said something; the Engine's poll, for a caller that has the lock.
    /// False if it has left messages that were there.
    fn read_rings(&self, state: &mut State) -> bool {
        let mut is_all = true;
        let flags = self.hub.flags();
        flags.take(|seat| {
            for place in 0..state.seats.get(seat).map_or(0, SmallVec::len) {
                let Some(worker) = state.seats[seat].get(place).copied() else { break };
                if !self.read_ring(state, worker, BATCH) {
                    flags.raise(seat);
                    is_all = false;
                }
            }
        });
        is_all
    }

    fn read_ring(&self, state: &mut State, worker: ClientId, most: usize) -> bool {
        let mut is_all = false;
        for _ in 0..most {
            let Some(link) = state.links.get_mut(&worker) else { return true };
            match link.receive(&mut state.scratch) {
                Ok(Some(ToNode::Request(request))) => self.request(state, worker, request),
                Ok(Some(ToNode::Function(id, bytes))) => {
                    link.knows_function(id);
                    state.functions.insert(id, bytes);
                }
                Ok(None) => {
                    is_all = true;
                    break;
                }
                Err(()) => {
                    self.act(state, Action::Kill(worker, "it wrote what is no message"));
                    is_all = true;
                    break;
                }
            }
        }
        state.tell(worker, |link, _| {
            link.note_read();
            link.send_backlog();
        });
        is_all
    }

    /// The zygote has forked a worker.
    pub(crate) fn worker_started(&self, worker: ClientId, process: Process) {
        self.turn(|host, state| {
            let Some(link) = state.links.get_mut(&worker) else { return };
            if link.doom == Doom::Kill {
                let _ = process.signal(Signal::KILL);
            }
            state.tell(worker, |link, _| link.admit(process));
            host.step(state, Event::WorkerStarted(worker));
        });
    }

    /// A worker has ended, or could not be made: its ring is read to the end, then its holdings go.
    pub(crate) fn worker_died(&self, worker: ClientId, death: Death) {
        self.turn(|host, state| {
            host.tick(state);
            host.read_ring(state, worker, usize::MAX);
            let started = state.links.get(&worker).map_or_else(Vec::new, Link::started);
            host.step(state, Event::WorkerDied(worker, death, started));
            if let Some(link) = state.links.remove(&worker) {
                state.late.push(worker, link.pid());
            }
            state.seats[Flags::seat(worker.0)].retain(|other| *other != worker);
        });
        // It may have died between marking somebody awake and waking them, and whatever it has done to the
        // words that all share is mended.
        self.hub.flags().raise_all();
        self.hub.bell().ring_always();
    }

    /// Lets the node do what is due; says how long until the next time. For the watcher's thread.
    pub(crate) fn on_time(&self) -> Option<Duration> {
        let mut state = self.state.lock();
        if state.node.wants_room() {
            // What would make room may be on its way.
            self.flush(&mut state, None);
            self.read_rings(&mut state);
        }
        self.tick(&mut state);
        self.settle(&mut state);
        let deadline = state.node.deadline();
        self.watcher.set_next(deadline);
        if std::mem::take(&mut state.is_heap_loose) {
            drop(state);
            skate_shm::thread::trim_heap();
        }
        let now_ns = self.now_ns();
        deadline.map(|deadline| Duration::from_nanos(deadline.saturating_sub(now_ns)))
    }

    pub(crate) fn pid_of(&self, worker: ClientId) -> u32 {
        self.state.lock().links.get(&worker).map_or(0, Link::pid)
    }

    pub(crate) const fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    pub(crate) const fn notices(&self) -> &Arc<Mail> {
        &self.notices
    }

    pub(crate) const fn handles(&self) -> &Arc<Handles> {
        &self.handles
    }

    /// Counters of the node, with the drops made so far.
    pub(crate) fn statistics(&self) -> Vec<(&'static str, u64)> {
        let counters = self.turn(|host, state| {
            host.flush(state, None);
            host.read_rings(state);
            crate::statistics::table(&state.node.statistics())
        });
        let segment = self.segment.upgrade();
        let of_segment = segment.iter().flat_map(|segment| crate::statistics::of_segment(segment));
        let disk_bytes = self.disk.file().and_then(|file| file.size().ok()).unwrap_or(0);
        let of_disk = [("disk_resident_bytes", disk_bytes)];
        counters.into_iter().chain(of_segment).chain(of_disk).collect()
    }

    pub(crate) fn describe_workers(&self) -> Vec<WorkerRow> {
        let state = self.state.lock();
        let row = |client: &ClientId| {
            let link = state.links.get(client)?;
            let task_name = state.node.running_on(*client).map(|(_, name)| name);
            let state = match (&link.process, &task_name) {
                (None, _) => "STARTING",
                (Some(_), None) => "IDLE",
                (Some(_), Some(_)) => "RUNNING",
            };
            Some(WorkerRow { client: *client, pid: link.pid(), state, task_name })
        };
        let mut clients: Vec<ClientId> = state.links.keys().copied().collect();
        clients.sort_unstable();
        clients.iter().filter_map(row).collect()
    }

    /// Errors that nobody fetched, oldest first.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.problems.lock().list()
    }

    /// Ends every process of the session; returns when none is left.
    pub(crate) fn shut_down(&self) {
        self.watcher.shut_down();
        self.disk.shut_down();
        // What workers said last, such as errors that nobody fetched.
        self.poll();
        self.hub.bell().ring_always();
        self.notices.close();
    }
}
