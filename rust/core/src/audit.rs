//! What must add up between two steps, whatever has happened. For tests: it walks through everything.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::actor::{Epitaph, Stage};
use crate::blocked::LEND_AFTER_NS;
use crate::disk::{Place, Row};
use crate::event::{Args, Held, Waitable};
use crate::group::GroupState;
use crate::id::{ActorId, ClientId, ObjectId, RequestId, SLOTS, TaskId, TemplateId};
use crate::node::Node;
use crate::object::{Object, Waiter};
use crate::request::Open;
use crate::scheduler::ClassId;
use crate::spill::movable;
use crate::task::{Phase, Task};
use crate::value::{Failure, Value};
use crate::worker::Life;

impl Node {
    /// Panics, with what does not fit, if an invariant of a header is broken.
    pub fn check(&self) {
        self.check_counts();
        self.check_tasks();
        self.check_templates();
        self.check_workers();
        self.check_requests();
        self.check_actors();
        self.check_bytes();
    }

    /// Counts what lies in the store and in the spill file anew.
    fn check_bytes(&self) {
        let leases = self.ledgers().filter_map(|(client, held, count)| match held {
            Held::Lease(start) => {
                assert_eq!(count, 1, "lease {start} is held once");
                Some((client, start))
            }
            _ => None,
        });
        let mut pins: FxHashMap<ObjectId, u32> = FxHashMap::default();
        for (_, held, count) in self.ledgers() {
            if let Held::Pin(id) = held {
                *pins.entry(id).or_default() += count;
            }
        }
        for (_, _, open) in self.open_requests() {
            if let Open::Fetch { ids, .. } = open {
                ids.iter().for_each(|id| *pins.entry(*id).or_default() += 1);
            }
        }
        for task in self.tasks.values() {
            if let Phase::Dispatched(..) = task.phase {
                let stored = match task.submit.args {
                    Args::Inline(_) => None,
                    Args::Stored(id) => Some(id),
                };
                for id in task.submit.waits.iter().copied().chain(stored) {
                    *pins.entry(id).or_default() += 1;
                }
            }
        }
        let pins = |id: &ObjectId| pins.get(id).copied().unwrap_or(0);
        let blocks = self.objects.iter().filter_map(|(id, row)| {
            let value = row.value()?;
            Some((value.block()?, movable(id, value), pins(&id)))
        });
        let of_actors = self.epitaphs().filter_map(|(error, _)| Some((error.block()?, None, 0)));
        let rows = self.disk.rows.values();
        let reads = rows.filter_map(|row| match row.place {
            Place::Reading(span) | Place::Orphan(span) => Some(span.offset),
            _ => None,
        });
        let writing = self.disk.writing.iter().flat_map(|(_, regions)| regions);
        let writes = writing.map(|writing| writing.region);
        self.store.check(leases, reads, writes, blocks.chain(of_actors));
        let on_disk = self.ledgers().filter_map(|(_, held, count)| match held {
            Held::DiskLease(start) => Some((start, count)),
            _ => None,
        });
        self.disk.check(on_disk);
        for (id, row) in &self.disk.rows {
            let value = self.objects.get(id).and_then(Object::value);
            let is_where_it_says = match row.place {
                Place::Orphan(_) => value.is_none(),
                Place::Copy => value.is_some_and(|value| value.block().is_some()) && row.pins == 0,
                Place::Only | Place::Queued | Place::Reading(_) => {
                    value.and_then(Value::extent) == Some(row.extent) && row.pins == pins(id)
                }
            };
            assert!(is_where_it_says, "{id:?} is spilled: {row:?}, {value:?}");
        }
        let spilled = |row: &&Object| row.value().is_some_and(|value| value.extent().is_some());
        let found = self.objects.values().filter(spilled).count();
        let is_alone =
            |row: &&Row| matches!(row.place, Place::Only | Place::Queued | Place::Reading(_));
        let expected = self.disk.rows.values().filter(is_alone).count();
        assert_eq!(found, expected, "spilled objects");
    }

    /// Counts the keepers of everything anew.
    #[allow(clippy::too_many_lines, reason = "one sum over all that keeps anything")]
    fn check_counts(&self) {
        let mut objects: FxHashMap<ObjectId, u32> = FxHashMap::default();
        let mut handles: FxHashMap<TaskId, u32> = FxHashMap::default();
        let mut cursors: FxHashMap<(TaskId, u64), u32> = FxHashMap::default();
        let mut actors: FxHashMap<ActorId, u32> = FxHashMap::default();
        let mut weak_actors: FxHashMap<ActorId, u32> = FxHashMap::default();
        let mut keep = |held: Held, count: u32| match held {
            Held::Object(id) | Held::Pin(id) => *objects.entry(id).or_default() += count,
            Held::Stream(task) => *handles.entry(task).or_default() += count,
            Held::Cursor(task, at) => *cursors.entry((task, at)).or_default() += count,
            Held::Actor(id) => *actors.entry(id).or_default() += count,
            Held::WeakActor(id) => *weak_actors.entry(id).or_default() += count,
            Held::Lease(_) | Held::DiskLease(_) => {}
        };
        for (_, held, count) in self.ledgers() {
            keep(held, count);
        }
        for held in self.objects.values().flat_map(Object::contains) {
            keep(*held, 1);
        }
        for (_, contains) in self.epitaphs() {
            for held in contains {
                keep(*held, 1);
            }
        }
        let living = self.actors.values().filter(|row| row.stage != Stage::Dead);
        let makings = living.clone().map(|row| &row.creation.submit);
        for submit in self.tasks.values().map(|task| &task.submit).chain(makings) {
            for id in &submit.waits {
                keep(Held::Object(*id), 1);
            }
            if let Args::Stored(id) = submit.args {
                keep(Held::Object(id), 1);
            }
            for held in &submit.holds {
                keep(*held, 1);
            }
        }
        for group in self.groups.values().filter(|group| group.state != GroupState::Removed) {
            keep(Held::Object(group.spec.ready), 1);
        }
        for row in living.filter(|row| row.creation.is_detached) {
            keep(Held::Actor(ActorId(row.creation.submit.task)), 1);
        }
        for (_, _, open) in self.open_requests() {
            match open {
                Open::Get { ids, .. } | Open::Fetch { ids, .. } => {
                    ids.iter().for_each(|id| keep(Held::Object(*id), 1));
                }
                Open::Wait { on, .. } => {
                    for waitable in on {
                        if let Waitable::Object(id) = waitable {
                            keep(Held::Object(*id), 1);
                        }
                    }
                }
                Open::Next(_) | Open::Length(_) | Open::Allocate => {}
            }
        }
        let mut lent: BTreeMap<TaskId, (u64, u64)> = BTreeMap::new();
        for row in self.clients().flat_map(|(_, ledger)| ledger.lent.values()) {
            let (count, bytes) = lent.entry(row.stream).or_default();
            *count += row.items.len() as u64;
            *bytes += row.items.iter().map(|(_, size)| size).sum::<u64>();
            assert!(!row.items.is_empty(), "a request is lent nothing of {:?}", row.stream);
        }
        for (task, stream) in &self.streams {
            let returned = stream.returned.iter().copied();
            for index in returned.chain(stream.kept_from..stream.published) {
                keep(Held::Object(task.item(index)), 1);
            }
            if stream.handles > 0 {
                keep(Held::Object(task.whole()), 1);
            }
        }
        for (id, row) in self.objects.iter() {
            assert_eq!(Some(&row.count), objects.get(&id), "keepers of {id:?}: {row:?}");
        }
        for id in objects.keys() {
            assert!(self.objects.contains_key(id), "{id:?} is kept and not in the table");
        }
        for (task, stream) in &self.streams {
            assert_eq!(stream.handles, handles.remove(task).unwrap_or(0), "handles of {task:?}");
            for (at, count) in &stream.cursors {
                assert_eq!(Some(*count), cursors.remove(&(*task, *at)), "cursors of {task:?}");
            }
            assert_eq!(
                stream.has_root,
                stream.is_dynamic && self.objects.contains_key(&task.whole()),
                "root of {task:?}"
            );
            let kept_from = stream.least_position().unwrap_or(u64::MAX).min(stream.published);
            assert_eq!(stream.kept_from, kept_from, "items kept of {task:?}");
            let lent = lent.remove(task).unwrap_or_default();
            assert_eq!((stream.lent, stream.lent_bytes), lent, "items lent of {task:?}");
            let is_behind = stream.returned.iter().all(|index| *index < stream.taken);
            assert!(is_behind, "items handed back of {task:?} were taken before");
            assert!(
                stream.has_holder() || self.tasks.contains_key(task),
                "{task:?} has a stream that nobody needs"
            );
            assert_eq!(stream.has_ended, !self.tasks.contains_key(task), "end of {task:?}");
        }
        for (id, row) in &self.actors {
            assert_eq!(row.handles, actors.remove(id).unwrap_or(0), "handles of {id:?}");
            assert_eq!(row.weak_handles, weak_actors.remove(id).unwrap_or(0), "weak of {id:?}");
        }
        assert!(actors.is_empty(), "handles on actors that are gone: {actors:?}");
        assert!(weak_actors.is_empty(), "handles on actors that are gone: {weak_actors:?}");
        assert!(handles.is_empty(), "handles on streams that are gone: {handles:?}");
        assert!(cursors.is_empty(), "cursors of streams that are gone: {cursors:?}");
    }

    fn check_tasks(&self) {
        for (id, task) in self.tasks.iter() {
            for child in task.children() {
                assert_eq!(self.tasks[&child].submit.parent, Some(id), "child {child:?} of {id:?}");
            }
            let pending = |id: &&ObjectId| self.objects[*id].is_pending();
            let missing = task.submit.waits.iter().filter(pending).count();
            match task.phase {
                Phase::Waiting(count) => assert_eq!(count as usize, missing, "arguments of {id:?}"),
                Phase::Ready if task.submit.actor.is_some() => {
                    assert_eq!(missing, 0, "arguments of {id:?}");
                }
                Phase::Ready => {
                    assert_eq!(missing, 0, "arguments of {id:?}");
                    let queue = &self.classes[task.class as usize].queue;
                    assert_eq!(
                        queue.iter().filter(|other| *other == id).count(),
                        1,
                        "{id:?} queued"
                    );
                }
                Phase::Dispatched(worker, ticket) => {
                    assert_eq!(self.workers[&worker].find(ticket), Some(id), "{id:?} dispatched");
                }
            }
        }
        let queued: usize = self.classes.iter().map(|class| class.queue.len()).sum();
        let is_queued =
            |task: &&crate::task::Task| task.phase == Phase::Ready && task.submit.actor.is_none();
        let ready = self.tasks.values().filter(is_queued).count();
        assert_eq!(queued, ready, "queues have the ready tasks, and only these");
        for (class, row) in self.classes.iter().enumerate() {
            let is_listed = self.queued_classes.contains(&(class as u32));
            assert!(row.queue.is_empty() || is_listed, "class {class} is listed");
        }
    }

    fn check_templates(&self) {
        let mut uses: BTreeMap<TemplateId, u64> = BTreeMap::new();
        let of_tasks = self.tasks.values().map(|row| row.submit.template);
        for id in of_tasks.chain(self.actors.values().map(|row| row.creation.submit.template)) {
            *uses.entry(id).or_default() += 1;
        }
        let mut classes: BTreeMap<ClassId, u64> = BTreeMap::new();
        for (id, row) in &self.templates {
            assert_eq!(row.uses, uses.remove(id).unwrap_or(0), "uses of {id:?}");
            assert!(row.uses > 0 || !row.is_undefined, "{id:?} is not used");
            let client = id.client();
            let is_there = client == ClientId::DRIVER || self.workers.contains_key(&client);
            assert!(is_there || row.is_undefined, "{id:?} is of a dead client");
            *classes.entry(row.class).or_default() += 1;
        }
        assert!(uses.is_empty(), "templates that are not known: {uses:?}");
        assert_eq!(self.class_ids.len() + self.free_classes.len(), self.classes.len(), "classes");
        for (demand, class) in &self.class_ids {
            let row = &self.classes[*class as usize];
            assert_eq!(&row.demand, demand, "demand of class {class}");
            assert_eq!(Some(row.templates), classes.remove(class), "templates of class {class}");
        }
        assert!(classes.is_empty(), "classes that are not in use: {classes:?}");
        let granted = self.workers.values().filter_map(|row| row.grant);
        for class in granted.chain(self.queued_classes.iter().copied()) {
            assert!(self.classes[class as usize].templates > 0, "class {class} is in use");
        }
    }

    fn check_workers(&self) {
        let mut running = 0;
        let mut running_without_cpu = 0;
        let mut blocked = 0;
        let mut lent = Vec::new();
        for (id, row) in &self.workers {
            let needs_grant = row.actor.is_some() || !row.queue.is_empty();
            assert_eq!(row.grant.is_some(), needs_grant, "grant of {id:?}");
            let demand = row.grant.map(|class| &self.classes[class as usize].demand);
            let has_no_cpu = demand.is_some_and(|demand| !demand.has_cpu());
            running += u32::from(row.is_running());
            // Those of actors are not counted: there is no limit to them.
            let is_pooled = row.actor.is_none();
            running_without_cpu += u32::from(is_pooled && row.is_running() && has_no_cpu);
            blocked += u32::from(is_pooled && row.blocked.is_some());
            let is_idle = row.queue.is_empty() && row.is_usable();
            assert_eq!(row.idle_key.is_some(), is_idle, "{id:?} is listed as idle");
            if let Some(key) = row.idle_key {
                assert!(self.idle.contains(&(key, *id)), "{id:?} is in the list");
            }
            if let Some(blocked) = row.blocked {
                let demand = demand.expect("a blocked worker has a task");
                lent.extend(blocked.is_lent.then_some(demand));
                let due = (blocked.since_ns + LEND_AFTER_NS, *id);
                assert_ne!(self.blocked.contains(&due), blocked.is_lent, "CPU of {id:?} is lent");
            }
            let watched = row.watched_until_ns.is_none_or(|due| self.watched.contains(&(due, *id)));
            assert!(watched, "{id:?} is watched");
            let sum: u64 = row.queue.iter().map(|dispatch| dispatch.estimate_ns).sum();
            assert_eq!(row.queued_ns, sum, "estimates of {id:?}");
            let slots: BTreeSet<u64> =
                row.queue.iter().map(|dispatch| dispatch.ticket.0 % SLOTS).collect();
            assert_eq!(slots.len(), row.queue.len(), "slots of {id:?}");
            for dispatch in &row.queue {
                let task = &self.tasks[&dispatch.task];
                assert_eq!(task.phase, Phase::Dispatched(*id, dispatch.ticket), "queue of {id:?}");
                assert_eq!(task.submit.actor, row.actor, "actor of {:?}", dispatch.task);
                let is_granted = row.actor.is_some() || Some(task.class) == row.grant;
                assert!(is_granted, "class of {:?}", dispatch.task);
            }
        }
        assert_eq!(self.running, running, "running tasks");
        assert_eq!(self.running_without_cpu, running_without_cpu, "running tasks without CPU");
        assert_eq!(self.blocked_workers, blocked, "blocked workers");
        let is_waiting = |task: &&Task| matches!(task.phase, Phase::Waiting(_));
        let waiting = self.tasks.values().filter(is_waiting).count();
        assert_eq!(self.waiting_tasks, waiting, "tasks without their arguments");
        let asking = self.workers.values().map(|row| row.ledger.requests.len()).sum::<usize>();
        assert_eq!(self.worker_requests, asking, "open requests of workers");
        assert_eq!(self.idle.len(), self.workers.values().filter(|w| w.idle_key.is_some()).count());
        let granted = self.workers.values().filter_map(|row| row.grant);
        let demands = granted.map(|class| &self.classes[class as usize].demand);
        self.resources.check(demands, &lent, self.workers.values().map(|row| &row.devices));
        let watched = self.workers.values().filter(|row| row.watched_until_ns.is_some()).count();
        assert_eq!(self.watched.len(), watched, "watched workers");
        assert!(self.blocked.iter().all(|(_, worker)| self.workers.contains_key(worker)));
    }

    fn epitaphs(&self) -> impl Iterator<Item = (&Value, &[Held])> {
        self.actors.values().filter_map(|row| match row.epitaph.as_ref()? {
            Epitaph::Raised(error, contains, _) => Some((error, &**contains)),
            Epitaph::Ended(_) => None,
        })
    }

    fn check_actors(&self) {
        let of_actors = self.workers.values().filter(|row| row.actor.is_some()).count();
        assert_eq!(self.actor_workers, of_actors, "workers of actors");
        let mut calls: BTreeMap<(ActorId, ClientId), u64> = BTreeMap::new();
        let mut under_way: BTreeMap<(ActorId, usize), u32> = BTreeMap::new();
        for (id, task) in self.tasks.iter() {
            let Some(actor) = task.submit.actor.filter(|actor| actor.0 != id) else { continue };
            *calls.entry((actor, id.client())).or_default() += 1;
            let row = &self.actors[&actor];
            let lane = task.template.lane as usize;
            let is_queued = match task.phase {
                Phase::Dispatched(worker, _) => {
                    assert_eq!(row.worker, Some(worker), "process of {actor:?}");
                    *under_way.entry((actor, lane)).or_default() += 1;
                    true
                }
                Phase::Ready | Phase::Waiting(_) => {
                    row.waiting.contains(&id)
                        || row.lanes[lane].queue.contains(&id)
                        || row.callers.get(&task.caller()).is_some_and(|queue| queue.contains(&id))
                }
            };
            assert!(is_queued, "{id:?} waits for {actor:?} nowhere");
        }
        for (id, row) in &self.actors {
            let counted: BTreeMap<_, _> = row.calls.iter().map(|(c, n)| ((*id, *c), *n)).collect();
            let expected: BTreeMap<_, _> =
                calls.iter().filter(|((actor, _), _)| actor == id).map(|(k, n)| (*k, *n)).collect();
            assert_eq!(counted, expected, "calls of {id:?}");
            for (lane, state) in row.lanes.iter().enumerate() {
                let expected = under_way.get(&(*id, lane)).copied().unwrap_or(0);
                assert_eq!(state.under_way, expected, "calls of {id:?} in its ring");
            }
            assert_eq!(row.epitaph.is_some(), row.stage == Stage::Dead, "epitaph of {id:?}");
            match row.stage {
                Stage::Pending => assert!(row.worker.is_none() && self.tasks.contains_key(&id.0)),
                Stage::Starting | Stage::Alive => {
                    let worker = row.worker.and_then(|worker| self.workers.get(&worker));
                    assert_eq!(worker.and_then(|row| row.actor), Some(*id), "process of {id:?}");
                }
                Stage::Dead => assert!(
                    row.handles + row.weak_handles > 0
                        || !row.calls.is_empty()
                        || row.worker.is_some(),
                    "{id:?} is dead and not needed"
                ),
            }
            let is_needed = row.handles > 0 || !row.calls.is_empty();
            let may_end = matches!(row.stage, Stage::Pending | Stage::Alive);
            assert!(is_needed || !may_end, "{id:?} lives and is not needed");
            for (caller, queue) in &row.callers {
                let head = queue.front().and_then(|head| self.tasks.get(head));
                let is_stuck = head.is_some_and(|task| task.phase == Phase::Ready);
                assert!(!is_stuck, "a ready call of {caller:?} waits in front");
            }
        }
        for (name, id) in &self.names {
            assert_ne!(self.actors[id].stage, Stage::Dead, "{name:?} is the name of a dead actor");
        }
    }

    fn check_requests(&self) {
        for object in self.objects.values() {
            object.check(|waiter| match waiter {
                Waiter::Task(task) => !self.tasks.contains_key(task),
                Waiter::Request(client, request) => !self.is_open(*client, *request),
            });
        }
        for (client, request, open) in self.open_requests() {
            let is_waiting = match open {
                Open::Get { ids, missing } => {
                    let pending = ids.iter().filter(|id| self.objects[*id].is_pending()).count();
                    // What is lost meanwhile is told in the end.
                    let is_error = |value: &Value| {
                        value.is_error() && !matches!(value.failure(), Some(Failure::Lost { .. }))
                    };
                    let has_error = ids.iter().any(|id| self.value_of(*id).is_some_and(is_error));
                    *missing == pending && pending > 0 && !has_error
                }
                Open::Fetch { ids, missing } => {
                    let waits = |row: &Row| {
                        let is_it = |waiter: &&(ClientId, RequestId)| **waiter == (client, request);
                        row.waiters.iter().filter(is_it).count()
                    };
                    let mut rows: Vec<_> = ids.iter().collect();
                    rows.sort_unstable();
                    rows.dedup();
                    let rows = rows.into_iter().filter_map(|id| self.disk.rows.get(id));
                    *missing > 0 && rows.map(waits).sum::<usize>() == *missing
                }
                Open::Wait { on, count, ready } => {
                    let found = on.iter().filter(|waitable| self.is_ready(waitable)).count();
                    *ready == found && found < *count
                }
                Open::Next(task) => self.streams.get(task).is_some_and(|stream| {
                    let mut nexts = stream.nexts.iter().chain(&stream.own_nexts);
                    let next = nexts.find(|next| (next.client, next.request) == (client, request));
                    next.is_some_and(|next| !stream.is_ready(next.at))
                }),
                Open::Length(task) => self.streams.get(task).is_some_and(|stream| {
                    let mut lengths = stream.lengths.iter();
                    let length = lengths.find(|row| (row.client, row.request) == (client, request));
                    length.is_some_and(|length| !stream.is_at_end(length.at))
                }),
                Open::Allocate => {
                    let mut preparing = self.disk.preparing.values();
                    self.room.contains(client, request)
                        || preparing.any(|(row, _)| (row.client, row.request) == (client, request))
                }
            };
            assert!(is_waiting, "request {request:?} of {client:?} should be answered: {open:?}");
            assert!(
                client == ClientId::DRIVER
                    || self.workers.get(&client).is_some_and(|row| row.life != Life::Starting),
                "{client:?} asks and is not there"
            );
        }
    }
}
