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

mod act;
mod definitions;
mod driver;
mod look;
mod workers;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use skate_core::action::{Action, Reply};
use skate_core::event::{Event, Outcome, Request, Template};
use skate_core::id::ClientId;
use skate_core::memory::Shortage;
use skate_core::node::{Config, Node};
use skate_shm::hub::Hub;
use skate_shm::killpoint::{Point, reached};
use skate_shm::segment::Segment;
use smallvec::SmallVec;

use self::definitions::Definitions;
use crate::answer::Answers;
use crate::disk::Disk;
use crate::error::Result;
use crate::guard::Guarded;
use crate::handles::Handles;
use crate::link::Link;
use crate::mailbox::Mail;
use crate::problem::{Problem, Problems};
use crate::pump::Engine;
use crate::watcher::{Order, Watcher};
use crate::wire::{self, Serves, Target, TemplateBody};

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
    definitions: Definitions,
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
                definitions: Definitions::default(),
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

    /// The tables. What is done with them is done to the end, or the session is lost.
    fn lock(&self) -> Guarded<'_, State> {
        Guarded::new(self.state.lock(), self)
    }

    /// One turn: events in, their actions carried out, workers rung.
    fn turn<T>(&self, work: impl FnOnce(&Self, &mut State) -> T) -> T {
        let mut state = self.lock();
        let result = work(self, &mut state);
        self.finish(state);
        result
    }

    fn finish(&self, mut guard: Guarded<'_, State>) {
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
            && let Some(template) = state.definitions.get(creation.submit.template)
            && is_for_loop(template)
            && !std::mem::replace(&mut state.has_preloaded, true)
        {
            // Every process with a loop needs it: imported once, before they are forked.
            self.watcher.order(Order::Preload("skate._actor_loop"));
        }
        let defined = match &mut request {
            Request::Define(id, template, code) => Some((*id, Arc::clone(template), code.take())),
            _ => None,
        };
        self.step(state, Event::Client(client, request));
        if let Some((id, template, code)) = defined
            && state.node.is_defined(id)
        {
            state.definitions.insert(id, template, code);
        }
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
        let state = self.lock();
        let rows = state.links.iter().map(|(client, link)| (*client, link.pid()));
        rows.filter(|(_, pid)| *pid != 0).collect()
    }

    /// Lets the node do what is due; says how long until the next time. For the watcher's thread.
    pub(crate) fn on_time(&self) -> Option<Duration> {
        let mut state = self.lock();
        if state.node.wants_room() || state.node.is_watching() {
            // What would make room, or show that a task is done, may be on its way.
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
        self.lock().links.get(&worker).map_or(0, Link::pid)
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
        let state = self.lock();
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

    /// The session cannot go on: every call says so, and its processes end. Nothing is waited for.
    pub(crate) fn lose(&self, why: String) {
        self.answers.lose(why);
        self.watcher.order(Order::ShutDown);
        self.hub.bell().ring_always();
    }

    /// The errors that nobody has fetched, at most so many, and how many there are.
    pub(crate) fn unseen(&self, most: usize) -> (Vec<Problem>, usize) {
        if self.answers.lost().is_some() {
            return (Vec::new(), 0);
        }
        let state = self.lock();
        let (errors, count) = state.node.unseen(most);
        // Copied before anything else happens to the blocks they lie in.
        let problem = |(task, name, error)| Problem::new(task, name, None, &error);
        (errors.into_iter().map(problem).collect(), count)
    }

    /// Ends every process of the session; returns when none is left.
    pub(crate) fn shut_down(&self) {
        reached(Point::Closing);
        self.watcher.shut_down();
        self.disk.shut_down();
        if let Some(file) = self.disk.file() {
            file.clear();
        }
        // What workers said last, such as errors that nobody fetched.
        self.poll();
        if self.answers.lost().is_none() {
            self.give_back_memory();
        }
        self.hub.bell().ring_always();
        self.notices.close();
    }
}
