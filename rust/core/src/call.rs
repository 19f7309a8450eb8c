//! Calls of actors: in which order they start, and how many at once.
//!
//! ```text
//!   submitted ─┬─ in order of submission: queue of the caller ─ head is ready ─┐
//!              └─ in order of readiness: its arguments are there ──────────────┴▶ lane ─▶ dispatched
//! ```
//!
//! A lane is a concurrency group. Its calls go to the actor's process ahead of time, a bounded number
//! more than it may run at once; the process starts each group's calls in the order of its ring. A
//! caller is a client; in a worker that runs tasks, one of these tasks.
//!
//! Invariants: a lane has ready calls; a queue of a caller does not begin with a ready one. Calls that
//! have ended leave a stale id in a queue at most until it comes to the front.

use std::collections::VecDeque;

use crate::action::Action;
use crate::actor::{Epitaph, Stage};
use crate::event::Order;
use crate::id::{ActorId, ClientId, TaskId};
use crate::node::Node;
use crate::scheduler::Place;
use crate::task::{Phase, Task};
use crate::value::Failure;

/// Calls of a lane in its process's ring beyond those that it may run at once.
const AHEAD: u32 = 128;

/// Who calls: a client, and its task if the client runs one after the other for anybody.
pub(crate) type Caller = (ClientId, Option<TaskId>);

/// One concurrency group.
#[derive(Debug)]
pub(crate) struct Lane {
    limit: u32,
    /// Calls in the process's ring, or running.
    pub(crate) under_way: u32,
    /// Ready calls.
    pub(crate) queue: VecDeque<TaskId>,
}

impl Lane {
    pub(crate) const fn new(limit: u32) -> Self {
        Self { limit, under_way: 0, queue: VecDeque::new() }
    }

    /// Calls that may run at once.
    pub(crate) const fn limit(&self) -> u32 {
        self.limit
    }
}

impl Node {
    /// Whether what that client calls is in order with the calls of the same task alone.
    pub(crate) fn runs_tasks(&self, client: ClientId) -> bool {
        self.workers.get(&client).is_some_and(|row| row.actor.is_none())
    }

    /// A call has come into the table.
    pub(crate) fn enter_call(&mut self, id: TaskId) {
        let task = &self.tasks[&id];
        let (Some(actor), caller) = (task.submit.actor, task.caller()) else { return };
        let row = self.actors.get_mut(&actor).expect("checked when it was submitted");
        *row.calls.entry(id.client()).or_default() += 1;
        match row.creation.order {
            Order::Submission => row.callers.entry(caller).or_default().push_back(id),
            Order::Readiness => {
                row.waiting.insert(id);
            }
        }
    }

    /// A call's arguments are there, or it comes back from a process.
    pub(crate) fn call_to_ready(
        &mut self,
        actor: ActorId,
        id: TaskId,
        place: Place,
        actions: &mut Vec<Action>,
    ) {
        let task = &self.tasks[&id];
        let (lane, caller) = (task.template.lane as usize, task.caller());
        let row = self.actors.get_mut(&actor).expect("an actor with calls is in the table");
        if row.stage == Stage::Dead {
            return self.fail_call(id, actions);
        }
        match (place, row.creation.order) {
            (Place::Front, _) => row.lanes[lane].queue.push_front(id),
            (Place::Back, Order::Submission) => return self.advance_caller(actor, caller, actions),
            (Place::Back, Order::Readiness) => {
                row.waiting.remove(&id);
                row.lanes[lane].queue.push_back(id);
            }
        }
        self.serve_actor(actor, actions);
    }

    /// Moves what is ready at the head of a caller's queue to its lane.
    fn advance_caller(&mut self, actor: ActorId, caller: Caller, actions: &mut Vec<Action>) {
        let Some(row) = self.actors.get_mut(&actor) else { return };
        let Some(queue) = row.callers.get_mut(&caller) else { return };
        while let Some(head) = queue.front() {
            match self.tasks.get(head) {
                Some(task) if task.phase == Phase::Ready => {
                    row.lanes[task.template.lane as usize].queue.push_back(*head);
                }
                Some(_) => break,
                None => {}
            }
            queue.pop_front();
        }
        if queue.is_empty() {
            row.callers.remove(&caller);
        }
        self.serve_actor(actor, actions);
    }

    /// Sends what may go to an actor's process.
    pub(crate) fn serve_actor(&mut self, actor: ActorId, actions: &mut Vec<Action>) {
        let Some(row) = self.actors.get(&actor) else { return };
        let (Stage::Alive, Some(worker)) = (row.stage, row.worker) else { return };
        // One that is to be killed takes no more: they wait for the actor's next life. One whose placement
        // group is removed ends within this step, as its calls do.
        let is_removed = self.classes[row.class as usize].is_removed;
        if is_removed || !self.workers[&worker].is_staying() {
            return;
        }
        for lane in 0..row.lanes.len() {
            while self.workers[&worker].has_slot() {
                let row = self.actors.get_mut(&actor).expect("looked up just now");
                let lane = &mut row.lanes[lane];
                if lane.under_way >= lane.limit.saturating_add(AHEAD) {
                    break;
                }
                let Some(call) = lane.queue.pop_front() else { break };
                // One that is cancelled with the call before it ends within this step.
                let may_go = |task: &Task| task.phase == Phase::Ready && task.cancel.is_none();
                if self.tasks.get(&call).is_some_and(may_go) {
                    lane.under_way += 1;
                    self.ready_to_dispatched(call, worker, actions);
                }
            }
        }
    }

    /// A call is in its actor's ring no more.
    pub(crate) fn call_off(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(&id) else { return };
        if let Some(actor) = task.submit.actor.filter(|actor| actor.0 != id)
            && let Some(row) = self.actors.get_mut(&actor)
        {
            row.lanes[task.template.lane as usize].under_way -= 1;
        }
    }

    /// A call has left the table.
    pub(crate) fn call_ended(&mut self, id: TaskId, task: &Task, actions: &mut Vec<Action>) {
        let Some(actor) = task.submit.actor.filter(|actor| actor.0 != id) else { return };
        let row = self.actors.get_mut(&actor).expect("an actor with calls is in the table");
        row.waiting.remove(&id);
        let count = row.calls.get_mut(&id.client()).expect("counted when it came");
        *count -= 1;
        if *count == 0 {
            row.calls.remove(&id.client());
            self.ending.push(actor);
        }
        if !matches!(task.phase, Phase::Dispatched(..)) {
            self.advance_caller(actor, task.caller(), actions);
        }
    }

    /// Fails a call of a dead actor, with the reason of its death.
    pub(crate) fn fail_call(&mut self, id: TaskId, actions: &mut Vec<Action>) {
        let Some(task) = self.tasks.get(&id) else { return };
        let actor = task.submit.actor.expect("a call has an actor");
        match self.actors[&actor].epitaph.as_ref().expect("a dead actor has an epitaph") {
            Epitaph::Ended(end) => {
                let (task_name, actor) = (task.name(), std::sync::Arc::clone(end));
                let failure = Failure::ActorDied { task_name, actor };
                self.fail(id, failure.into(), &[], actions);
            }
            Epitaph::Raised(error, contains, fate) => {
                let (error, contains, fate) = (error.clone(), contains.clone(), fate.clone());
                self.fail_with(id, error, &contains, fate, actions);
            }
        }
    }

    /// How many calls of an actor by that client have not ended.
    pub(crate) fn calls_under_way(&self, client: ClientId, actor: ActorId) -> u64 {
        let row = self.actors.get(&actor);
        row.and_then(|row| row.calls.get(&client).copied()).unwrap_or(0)
    }
}
