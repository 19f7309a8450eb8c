//! Waits that can never end, and whom the error goes to.
//!
//! ```text
//!   a call sleeps for 1 s, without a time-out ─▶ Waits ─▶ who could make it go on?
//!     nobody but those that wait for it in turn ─▶ the newest call of the ring fails, with the chain
//! ```
//!
//! A task may go on if any of those that it waits for may: that one could fail, and so end the wait.
//! Those for which this does not hold wait for ever, and each of them leads into a ring. Whoever runs,
//! sleeps with a time-out, waits for what the machine has not got (that is only warned of), or waits in a
//! way that is not followed here (at a yield, for room in the store, as one of several calls of an actor)
//! counts as one that may go on. So what is called a deadlock is one, unless somebody cancels.
//!
//! Invariant: looked for when a call says that it waits, and a second after anything else has happened
//! while one does; never while nothing happens.

use std::collections::hash_map::Entry;
use std::fmt::Write as _;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::action::{Action, Reply};
use crate::actor::Stage;
use crate::event::{Order, Waitable};
use crate::id::{ActorId, ClientId, ObjectId, RequestId, TaskId, Ticket};
use crate::node::Node;
use crate::request::Open;
use crate::task::Phase;
use crate::value::Failure;
use crate::worker::{Life, Worker};

/// How often to look again while things happen.
const AGAIN_NS: u64 = 1_000_000_000;

/// When to look.
#[derive(Debug, Default)]
pub(crate) struct Deadlocks {
    check_ns: Option<u64>,
    /// Some call has said that it waits.
    is_waited: bool,
}

impl Deadlocks {
    pub(crate) const fn deadline(&self) -> Option<u64> {
        self.check_ns
    }

    /// Something has happened that may have been the last way out.
    pub(crate) fn note_event(&mut self, now_ns: u64) {
        if self.is_waited && self.check_ns.is_none() {
            self.check_ns = Some(now_ns + AGAIN_NS);
        }
    }
}

/// What a task waits for: it may go on if any of these may. None: by itself.
type Waits = Option<(&'static str, Vec<TaskId>)>;

/// Those that can be reached from the calls that wait, and what each waits for.
type Graph = FxHashMap<TaskId, Waits>;

impl Node {
    /// The task of that worker has slept in that request for long, and has no time-out.
    pub(crate) fn waits(&mut self, worker: ClientId, request: RequestId) {
        let row = self.workers.get_mut(&worker);
        if let Some(blocked) = row.and_then(|row| row.blocked.as_mut()) {
            blocked.waits_in = Some(request);
            self.deadlocks.is_waited = true;
            self.deadlocks.check_ns = Some(self.now_ns);
        }
    }

    /// It is time to look.
    pub(crate) fn look_for_deadlocks(&mut self, actions: &mut Vec<Action>) {
        if self.deadlocks.check_ns.is_none_or(|due| due > self.now_ns) {
            return;
        }
        self.deadlocks = Deadlocks::default();
        let calls: Vec<TaskId> = self.workers.values().filter_map(waiting_call).collect();
        self.deadlocks.is_waited = !calls.is_empty();
        let mut stuck = self.graph_of(calls.clone());
        keep_the_stuck(&mut stuck);
        for call in calls {
            let ring = ring_from(call, &stuck);
            let Some((victim, worker, request)) = self.newest_of(&ring) else { continue };
            let chain = self.tell(&ring, victim, &stuck);
            if let Some(open) = self.close(worker, request) {
                self.withdraw(worker, request, open);
                let reply = Reply::Failed(Failure::Deadlock { chain });
                self.answer(worker, request, reply, actions);
            }
            // The others of this ring may go on now; any other ring is found by the next look.
            return self.deadlocks.check_ns = Some(self.now_ns + AGAIN_NS);
        }
    }

    /// What these tasks wait for, and those that they wait for, and so on.
    fn graph_of(&self, mut next: Vec<TaskId>) -> Graph {
        let mut graph = Graph::default();
        while let Some(id) = next.pop() {
            if let Entry::Vacant(place) = graph.entry(id) {
                let waits = place.insert(self.waits_of(id));
                next.extend(waits.iter().flat_map(|(_, tasks)| tasks));
            }
        }
        graph
    }

    fn waits_of(&self, id: TaskId) -> Waits {
        let task = self.tasks.get(&id)?;
        match task.phase {
            Phase::Waiting(_) => {
                let made = self.makers_of(task.submit.waits.iter())?;
                Some(("waits for an argument, the result of", made))
            }
            Phase::Ready => match task.submit.actor {
                Some(actor) if actor.0 != id => self.waits_of_call(actor, id),
                _ => self.waits_of_unplaced(id),
            },
            Phase::Dispatched(worker, ticket) => self.waits_of_dispatched((worker, ticket)),
        }
    }

    /// The tasks that make those of the objects that are pending; None if one has no such task.
    fn makers_of<'a>(&self, ids: impl Iterator<Item = &'a ObjectId>) -> Option<Vec<TaskId>> {
        let pending = ids.filter(|id| self.value_of(**id).is_none());
        pending.map(|id| self.tasks.contains_key(&id.task).then_some(id.task)).collect()
    }

    /// A call that its actor's process has not got.
    fn waits_of_call(&self, actor: ActorId, id: TaskId) -> Waits {
        let row = self.actors.get(&actor)?;
        if row.stage != Stage::Alive {
            let constructor = self.tasks.contains_key(&actor.0).then_some(actor.0)?;
            return Some((
                "is a call of an actor, and waits for its constructor,",
                vec![constructor],
            ));
        }
        if row.creation.order == Order::Submission
            && let Some(head) =
                row.callers.get(&self.tasks[&id].caller()).and_then(|line| line.front())
            && *head != id
        {
            return Some(("is a call of an actor, and comes after", vec![*head]));
        }
        self.behind_in(row.worker?, id)
    }

    /// A call waits for the one that its actor runs, if that runs them in turn.
    fn behind_in(&self, worker: ClientId, id: TaskId) -> Waits {
        let row = self.workers.get(&worker)?;
        let actor = self.actors.get(&row.actor?)?;
        let front = row.queue.front().filter(|front| front.task != id)?;
        let runs_in_turn = actor.lanes.len() == 1 && actor.lanes[0].limit() == 1;
        runs_in_turn.then(|| ("is a call of an actor, which is busy with", vec![front.task]))
    }

    fn waits_of_dispatched(&self, (worker, ticket): (ClientId, Ticket)) -> Waits {
        let row = self.workers.get(&worker).filter(|row| row.life == Life::Up)?;
        let front = row.queue.front()?;
        if front.ticket != ticket {
            return self.behind_in(worker, row.find(ticket)?);
        }
        let open = row.ledger.requests.get(&row.blocked?.waits_in?)?;
        let is_in_turn = row.actor.is_none_or(|id| {
            self.actors.get(&id).is_some_and(|it| it.lanes.len() == 1 && it.lanes[0].limit() == 1)
        });
        if !is_in_turn {
            return None;
        }
        match open {
            Open::Get { ids, .. } => {
                Some(("waits in get for the result of", self.makers_of(ids.iter())?))
            }
            Open::Wait { on, .. } => {
                let tasks = on.iter().filter(|one| !self.is_ready(one)).map(|one| match *one {
                    Waitable::Object(id) => id.task,
                    Waitable::Stream(task) | Waitable::Cursor(task, _) => task,
                });
                let tasks: Vec<TaskId> = tasks.collect();
                let are_made = tasks.iter().all(|id| self.tasks.contains_key(id));
                are_made.then_some(("waits in wait for", tasks))
            }
            Open::Next(task) => Some(("waits in next for an item of", vec![*task])),
            Open::Length(task) => Some(("waits in len for the end of", vec![*task])),
            Open::Fetch { .. } | Open::Allocate => None,
        }
    }

    /// A task, or a constructor, that waits for a place: for those that hold what it lacks.
    fn waits_of_unplaced(&self, id: TaskId) -> Waits {
        let demand = &self.classes[self.tasks[&id].class as usize].demand;
        let is_held_back = self.memory.is_short() || self.resources.fits(demand);
        if is_held_back || !self.resources.missing(demand).is_empty() {
            return None;
        }
        let mut holders = Vec::new();
        for row in self.workers.values() {
            let Some(class) = row.grant else { continue };
            let has_lent = row.blocked.is_some_and(|blocked| blocked.is_lent);
            let held = &self.classes[class as usize].demand;
            if self.resources.shares_lacking(demand, held, has_lent) {
                // An actor has it for life: it may end when somebody lets go of it.
                let front = row.queue.front().filter(|_| row.actor.is_none())?;
                holders.push(front.task);
            }
        }
        (!holders.is_empty()).then_some(("waits for resources, which are held by", holders))
    }

    /// Of the calls of a ring that sleep in a request, the one that fell asleep last.
    fn newest_of(&self, ring: &[TaskId]) -> Option<(TaskId, ClientId, RequestId)> {
        let calls = ring.iter().filter_map(|id| {
            let Phase::Dispatched(worker, _) = self.tasks.get(id)?.phase else { return None };
            let row = self.workers.get(&worker)?;
            (waiting_call(row) == Some(*id)).then_some(())?;
            let blocked = row.blocked?;
            Some((blocked.since_ns, worker, *id, blocked.waits_in?))
        });
        calls.max().map(|(_, worker, id, request)| (id, worker, request))
    }

    /// Who waits for whom, from `first` round to it.
    fn tell(&self, ring: &[TaskId], first: TaskId, graph: &Graph) -> Arc<str> {
        let start = ring.iter().position(|id| *id == first).unwrap_or(0);
        let mut text = self.label(first);
        for place in 1..=ring.len() {
            let before = ring[(start + place - 1) % ring.len()];
            let how = graph[&before].as_ref().map_or("waits for", |(how, _)| how);
            let comma = if place > 1 { ", which" } else { "" };
            let _ =
                write!(text, "{comma} {how} {}", self.label(ring[(start + place) % ring.len()]));
        }
        text.into()
    }

    fn label(&self, id: TaskId) -> String {
        let name = self.tasks.get(&id).map_or_else(|| "?".into(), crate::task::Task::name);
        format!("{name} ({id})")
    }
}

/// The task of a worker that sleeps in a request without a time-out.
fn waiting_call(row: &Worker) -> Option<TaskId> {
    let request = row.blocked?.waits_in?;
    row.ledger.requests.get(&request)?;
    Some(row.queue.front()?.task)
}

/// Takes out all that may go on: by themselves, or because one that they wait for may.
fn keep_the_stuck(graph: &mut Graph) {
    let mut waiters: FxHashMap<TaskId, Vec<TaskId>> = FxHashMap::default();
    for (id, waits) in graph.iter() {
        for other in waits.iter().flat_map(|(_, tasks)| tasks) {
            waiters.entry(*other).or_default().push(*id);
        }
    }
    let free = |waits: &Waits| waits.as_ref().is_none_or(|(_, tasks)| tasks.is_empty());
    let mut moving: Vec<TaskId> =
        graph.iter().filter(|(_, waits)| free(waits)).map(|(id, _)| *id).collect();
    while let Some(id) = moving.pop() {
        if graph.remove(&id).is_some() {
            moving.extend(waiters.remove(&id).into_iter().flatten());
        }
    }
}

/// The ring that one leads into; empty if it is not stuck.
fn ring_from(start: TaskId, stuck: &Graph) -> Vec<TaskId> {
    let mut path = Vec::new();
    let mut seen = FxHashSet::default();
    let mut id = start;
    while seen.insert(id) {
        let Some(Some((_, tasks))) = stuck.get(&id) else { return Vec::new() };
        path.push(id);
        id = tasks[0];
    }
    let begin = path.iter().position(|other| *other == id).unwrap_or(0);
    path.split_off(begin)
}
