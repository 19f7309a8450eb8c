//! The node: one table of everything, and the one door to it.
//!
//! ```text
//!   Event ─▶ step ─▶ a transition ─▶ sweep (refs.rs) ─▶ Actions
//!                    submit.rs, scheduler.rs, blocked.rs, actor.rs, seal.rs, refs.rs, request.rs, wait.rs, reader.rs
//! ```
//!
//! Invariant: between two steps all the invariants of the other headers hold; `check` (audit.rs)
//! says so. A client that breaks the protocol costs at most its own process.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::action::Action;
use crate::actor::Actor;
use crate::crowd::Crowd;
use crate::deadlock::Deadlocks;
use crate::disk::Disk;
use crate::event::{ActorName, Event, Held, Request, Returns};
use crate::fate::Fate;
use crate::group::Group;
use crate::history::{History, Yield};
use crate::id::{ActorId, ClientId, ObjectId, TaskId, TemplateId, Ticket};
use crate::ledger::Ledger;
use crate::memory::Memory;
use crate::object::Object;
use crate::resources::{Demand, Resources};
use crate::room::Room;
use crate::scheduler::{Class, ClassId};
use crate::store::Store;
use crate::stream::Stream;
use crate::table::Table;
use crate::task::Task;
use crate::template::KnownTemplate;
use crate::value::{Death, Value};
use crate::worker::{Life, Worker};

pub use crate::statistics::Statistics;

/// What a node starts with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name and amount, in units of 1/10000.
    pub resources: Vec<(Arc<str>, u64)>,
    /// Bytes of the data segment.
    pub capacity: u64,
    /// Most bytes of the spill file, or why there is none.
    pub spill: Result<u64, Arc<str>>,
    /// How often a task is run again that was stopped for want of memory, if it may be run again at all;
    /// -1 for ever.
    pub oom_retries: i32,
    /// Workers to start at once, and to keep when idle.
    pub prestart: u32,
    /// Beyond so many, not counting those of actors, a worker is started only when all others are
    /// blocked.
    pub max_workers: u32,
}

/// All state of a session.
pub struct Node {
    pub(crate) now_ns: u64,
    pub(crate) tasks: Table<TaskId, Task>,
    pub(crate) objects: Table<ObjectId, Object>,
    pub(crate) streams: FxHashMap<TaskId, Stream>,
    pub(crate) actors: FxHashMap<ActorId, Actor>,
    /// Of those that are not dead.
    pub(crate) names: FxHashMap<ActorName, ActorId>,
    /// By key.
    pub(crate) groups: FxHashMap<Arc<str>, Group>,
    /// Keys of those that wait for resources, oldest first.
    pub(crate) waiting_groups: Vec<Arc<str>>,
    /// Keys of those that were removed lately, oldest first.
    pub(crate) removed_groups: VecDeque<Arc<str>>,
    /// Actors that wait for resources, oldest first.
    pub(crate) unplaced: VecDeque<ActorId>,
    /// Actors that wait for resources which this machine does not have.
    pub(crate) unplaceable: Vec<ActorId>,
    /// Actors that may have to end.
    pub(crate) ending: Vec<ActorId>,
    pub(crate) templates: FxHashMap<TemplateId, KnownTemplate>,
    /// Templates that are undefined and may go.
    pub(crate) unused: Vec<TemplateId>,
    pub(crate) classes: Vec<Class>,
    pub(crate) class_ids: FxHashMap<Demand, ClassId>,
    /// Classes that are not in use.
    pub(crate) free_classes: Vec<ClassId>,
    /// Classes that may have queued tasks.
    pub(crate) queued_classes: Vec<ClassId>,
    pub(crate) resources: Resources,
    pub(crate) store: Store,
    pub(crate) disk: Disk,
    pub(crate) memory: Memory,
    pub(crate) oom_retries: i32,
    pub(crate) workers: FxHashMap<ClientId, Worker>,
    /// The driver's; workers have theirs in their rows.
    pub(crate) driver: Ledger,
    /// Workers without a task, by when they became so: the last one is the warmest.
    pub(crate) idle: BTreeSet<(u64, ClientId)>,
    pub(crate) idle_counter: u64,
    /// Workers whose task sleeps and has its CPU still, by when it is to be lent.
    pub(crate) blocked: BTreeSet<(u64, ClientId)>,
    /// Workers with tasks behind others though another one idles, by when that is looked at again.
    pub(crate) watched: BTreeSet<(u64, ClientId)>,
    /// Tasks with an argument that has failed.
    pub(crate) doomed: Vec<(TaskId, ObjectId)>,
    /// Actors whose window must be shared anew.
    pub(crate) to_share: Vec<ActorId>,
    /// Generators that are to end.
    pub(crate) to_close: Vec<TaskId>,
    /// Of the error that is being sealed.
    pub(crate) failing: Option<Arc<Fate>>,
    /// Who waits for space in the store.
    pub(crate) room: Room,
    /// Objects whose count may be 0.
    pub(crate) dead: Vec<ObjectId>,
    pub(crate) next_worker: u32,
    /// Workers that are some actor's.
    pub(crate) actor_workers: usize,
    pub(crate) prestart: u32,
    pub(crate) max_workers: u32,
    pub(crate) running: u32,
    /// Of those that run, so many ask for no CPU.
    pub(crate) running_without_cpu: u32,
    pub(crate) blocked_workers: u32,
    /// Tasks some of whose arguments are not there.
    pub(crate) waiting_tasks: usize,
    /// Open requests of workers.
    pub(crate) worker_requests: usize,
    /// Processes that ended before they began anything, since a task has ended last.
    pub(crate) start_failures: u32,
    pub(crate) crowd: Crowd,
    pub(crate) deadlocks: Deadlocks,
    pub(crate) history: History,
}

impl Node {
    /// An empty node; asks for the first workers.
    pub fn new(config: &Config, actions: &mut Vec<Action>) -> Self {
        let mut node = Self {
            now_ns: 0,
            tasks: Table::default(),
            objects: Table::default(),
            streams: FxHashMap::default(),
            actors: FxHashMap::default(),
            names: FxHashMap::default(),
            groups: FxHashMap::default(),
            waiting_groups: Vec::new(),
            removed_groups: VecDeque::new(),
            unplaced: VecDeque::new(),
            unplaceable: Vec::new(),
            ending: Vec::new(),
            templates: FxHashMap::default(),
            unused: Vec::new(),
            classes: Vec::new(),
            class_ids: FxHashMap::default(),
            free_classes: Vec::new(),
            queued_classes: Vec::new(),
            resources: Resources::new(&config.resources),
            store: Store::new(config.capacity),
            disk: Disk::new(&config.spill),
            memory: Memory::default(),
            oom_retries: config.oom_retries,
            workers: FxHashMap::default(),
            driver: Ledger::default(),
            idle: BTreeSet::new(),
            idle_counter: 0,
            blocked: BTreeSet::new(),
            watched: BTreeSet::new(),
            doomed: Vec::new(),
            to_share: Vec::new(),
            to_close: Vec::new(),
            failing: None,
            room: Room::default(),
            dead: Vec::new(),
            next_worker: 1,
            actor_workers: 0,
            prestart: config.prestart,
            max_workers: config.max_workers,
            running: 0,
            running_without_cpu: 0,
            blocked_workers: 0,
            waiting_tasks: 0,
            worker_requests: 0,
            start_failures: 0,
            crowd: Crowd::default(),
            deadlocks: Deadlocks::default(),
            history: History::default(),
        };
        for _ in 0..config.prestart {
            node.start_worker(None, actions);
        }
        node
    }

    /// Applies one event and appends what must now be done.
    pub fn step(&mut self, event: Event, actions: &mut Vec<Action>) {
        if !matches!(event, Event::Tick(_)) {
            self.deadlocks.note_event(self.now_ns);
        }
        match event {
            Event::Client(client, request) => self.client(client, request, actions),
            Event::Revoked(worker, ticket) => self.dispatched_to_ready(worker, ticket, actions),
            Event::RevokeRefused(worker, ticket) => self.interrupt(worker, ticket, actions),
            Event::WorkerStarted(worker) => self.worker_started(worker),
            Event::WorkerDied(worker, death, started) => {
                self.worker_died(worker, &death, &started, actions);
            }
            Event::Written(number, checksums, trouble) => {
                self.room.note_event();
                self.written(number, &checksums, trouble, actions);
            }
            Event::Read(object, result) => {
                self.room.note_event();
                self.read(object, result, actions);
            }
            Event::Memory(report) => self.on_memory(report.as_deref(), actions),
            Event::Prepared(start, result) => {
                self.room.note_event();
                self.prepared(start, result, actions);
            }
            Event::Tick(now_ns) => self.on_tick(now_ns, actions),
        }
        self.tidy(actions);
        self.crowd.count(self.tasks.len().max(self.objects.len()), self.now_ns);
    }

    /// What follows from a transition: failures of dependents, ends of generators and actors, and
    /// what nobody keeps; each can bring about the others.
    pub(crate) fn tidy(&mut self, actions: &mut Vec<Action>) {
        loop {
            self.fail_doomed(actions);
            self.close_producers(actions);
            self.sweep(actions);
            self.end_actors(actions);
            let is_done = self.doomed.is_empty() && self.to_close.is_empty();
            if is_done && self.dead.is_empty() && self.ending.is_empty() {
                break;
            }
        }
        self.share_windows(actions);
        self.serve_room(actions);
        self.drop_unused(actions);
    }

    fn worker_started(&mut self, worker: ClientId) {
        if let Some(row) = self.workers.get_mut(&worker)
            && row.life == Life::Starting
        {
            row.life = Life::Up;
        }
    }

    fn worker_died(
        &mut self,
        worker: ClientId,
        death: &Death,
        started: &[Ticket],
        actions: &mut Vec<Action>,
    ) {
        self.remove_worker(worker, death, started, actions);
        self.refill_pool(actions);
    }

    fn client(&mut self, client: ClientId, request: Request, actions: &mut Vec<Action>) {
        if client != ClientId::DRIVER {
            match self.workers.get(&client).map(|row| row.life) {
                None | Some(Life::Condemned) => return,
                // Who speaks is there, whatever the runtime has told so far.
                Some(Life::Starting) => self.worker_started(client),
                Some(_) => {}
            }
        }
        if let Some(row) = self.workers.get_mut(&client) {
            row.is_answered = false;
            row.has_spoken = true;
        }
        self.room.note_event();
        if request.question().is_some_and(|id| self.is_open(client, id)) {
            return self.violates(client, "it asks twice by one number", actions);
        }
        match request {
            Request::Define(id, template, _) => self.define(client, id, template, actions),
            Request::Undefine(id) => self.undefine(client, id, actions),
            Request::Submit(submit) => self.submit(client, submit, actions),
            Request::Create(creation) => self.create_actor(client, *creation, actions),
            Request::Kill(actor, after) => self.kill_actor(actor, after, actions),
            Request::Reserve(spec) => self.reserve(client, *spec, actions),
            Request::RemoveGroup(key) => self.remove_group(&key, actions),
            Request::Put(id, value, mut contains) => {
                self.prune(&mut contains);
                self.put(client, id, value, &contains, actions);
            }
            Request::Hold(held) => {
                if self.is_known(held) {
                    self.hand_out(client, held);
                }
            }
            Request::Keep(held) => {
                let may_travel =
                    matches!(held, Held::Object(_) | Held::Cursor(..) | Held::Actor(_));
                if may_travel && self.is_known(held) {
                    self.hand_out(ClientId::DRIVER, held);
                }
            }
            Request::Release(held) => {
                if self.strike(client, held) {
                    self.let_go(held, actions);
                }
            }
            Request::Cancel(task, how) => self.cancel(task, how, actions),
            Request::Yielded(ticket, index, value, mut contains, at_ns) => {
                let Some(id) = self.ticket(client, ticket, actions) else { return };
                let task = &self.tasks[&id];
                let is_in_order = match task.template.returns {
                    Returns::Static(count) => index < u64::from(count) && index == task.published,
                    Returns::Dynamic | Returns::Streaming => index == task.published,
                };
                self.prune(&mut contains);
                if !is_in_order || !self.is_sound(client, id, &value) {
                    return self.violates(client, "it yields what it cannot", actions);
                }
                self.history.note_yield(Yield {
                    item: id.item(index),
                    at_ns: if at_ns == 0 { self.now_ns } else { at_ns },
                    size: value.size(),
                    used_bytes: self.store.used(),
                    unread: self
                        .streams
                        .get(&id)
                        .and_then(crate::inspect::unread)
                        .map_or(0, |unread| unread as u32 + 1),
                });
                self.publish(id, index, value, &contains, actions);
            }
            Request::Finished(ticket, mut outcome) => {
                let Some(id) = self.ticket(client, ticket, actions) else { return };
                if !self.is_sound_end(client, id, &outcome.end) {
                    return self.violates(client, "it ends a task as it cannot", actions);
                }
                self.prune_end(&mut outcome.end);
                self.take_off(client, ticket, actions);
                self.finish(client, id, outcome, actions);
            }
            Request::Untake(request, task, at, items) => {
                self.untake(client, request, (task, at), &items, actions);
            }
            Request::Taken(request, count, by) => {
                self.lent_to_consumed(client, request, count, by, actions);
            }
            Request::Close(task) => self.close_stream(client, task, actions),
            Request::Span(span) => self.history.note_span(client, *span),
            Request::Blocked(ticket) => {
                if self.has_ticket(client, ticket) {
                    self.running_to_blocked(client, actions);
                }
            }
            Request::Resumed(ticket) => {
                if self.has_ticket(client, ticket) {
                    self.blocked_to_running(client, actions);
                }
            }
            Request::Waits(request) => self.waits(client, request),
            asks => self.ask(client, asks, actions),
        }
    }

    /// Whether a worker's task sleeps or wakes; code that outlives its task may do so, too.
    fn has_ticket(&self, worker: ClientId, ticket: Ticket) -> bool {
        self.workers.get(&worker).is_some_and(|row| row.find(ticket).is_some())
    }

    /// The task of a ticket that a worker speaks of.
    fn ticket(
        &mut self,
        worker: ClientId,
        ticket: Ticket,
        actions: &mut Vec<Action>,
    ) -> Option<TaskId> {
        let task = self.workers.get(&worker).and_then(|row| row.find(ticket));
        if task.is_none() {
            self.violates(worker, "it speaks of a task that it does not have", actions);
        }
        task
    }

    /// A worker that says what no code of a user can make it say is killed. What such code can bring
    /// about, like asking for what is gone, is answered by `Failure::Unknown` or ignored. What the
    /// driver does wrong is skate's own bug, and is ignored.
    pub(crate) fn violates(
        &mut self,
        client: ClientId,
        why: &'static str,
        actions: &mut Vec<Action>,
    ) {
        if client != ClientId::DRIVER {
            self.kill(client, Life::Condemned, why, actions);
        }
    }

    fn put(
        &mut self,
        client: ClientId,
        id: ObjectId,
        value: Value,
        contains: &[Held],
        actions: &mut Vec<Action>,
    ) {
        let is_fresh = id.task.client() == client && !self.objects.contains_key(&id);
        if !is_fresh || !self.is_sound(client, id.task, &value) {
            return self.violates(client, "it puts what it cannot", actions);
        }
        self.create(id);
        self.enter(client, Held::Object(id));
        self.pending_to_sealed(id, value, contains, actions);
    }
}
