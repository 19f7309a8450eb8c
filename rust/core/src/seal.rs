//! Values arrive: objects are sealed, items published, tasks end.
//!
//! Invariants: an object is sealed at most once, and a value that nobody keeps is not stored. Whatever
//! way a task ends, every one of its returns is sealed, or its stream has ended, before it leaves the
//! table. All items that were published before an error stay, in order.

use std::sync::Arc;

use crate::action::Action;
use crate::event::{End, Held, Outcome, Returns};
use crate::fate::Fate;
use crate::history::fault_of;
use crate::id::{ClientId, ObjectId, TaskId};
use crate::node::Node;
use crate::object::{Kin, Waiter};
use crate::scheduler::Place;
use crate::task::Phase;
use crate::value::{Death, Failure, NONE, Payload, Value};

/// So long may the driver submit without a look at the clock.
const LATEST_LOOK_NS: u64 = 10_000_000;

impl Node {
    /// Seals a pending object, if anybody keeps it, and lets those who wait for it go on.
    pub(crate) fn pending_to_sealed(
        &mut self,
        id: ObjectId,
        value: Value,
        contains: &[Held],
        actions: &mut Vec<Action>,
    ) {
        let Some(object) = self.objects.get_mut(&id) else { return };
        if !object.is_pending() || object.count == 0 {
            return;
        }
        let value = self.take_in(id, value, actions);
        let object = self.objects.get_mut(&id).expect("looked up just now");
        let fate = if value.is_error() { self.failing.clone() } else { None };
        let waiters = object.seal(value, Kin { contains: contains.into(), fate });
        for held in contains {
            self.keep(*held);
        }
        for waiter in waiters {
            match waiter {
                Waiter::Task(task) => self.argument_is_ready(task, id, actions),
                Waiter::Request(client, request) => {
                    self.object_is_ready(client, request, id, actions);
                }
            }
        }
    }

    fn argument_is_ready(&mut self, id: TaskId, argument: ObjectId, actions: &mut Vec<Action>) {
        if self.value_of(argument).is_some_and(Value::is_error) {
            // Later, not from here: a long chain of dependents must not need a deep stack. Till then
            // the argument stays missing, so that the task cannot start with it.
            return self.doomed.push((id, argument));
        }
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Phase::Waiting(missing) = &mut task.phase else { return };
        *missing -= 1;
        // One that is being cancelled ends within this step.
        if *missing == 0 && task.cancel.is_none() {
            self.waiting_to_ready(id, Place::Back, actions);
        }
    }

    /// Tasks with a failed argument fail with the same error, which keeps their names.
    pub(crate) fn fail_doomed(&mut self, actions: &mut Vec<Action>) {
        while let Some((id, argument)) = self.doomed.pop() {
            // It may have another failed argument, which was faster.
            if self.tasks.contains_key(&id) {
                let object = &self.objects[&argument];
                let error = object.value().expect("an error is sealed");
                let error = error.inherited_by(self.tasks[&id].name());
                let contains: Box<[Held]> = object.contains().into();
                let fate = object.fate().cloned();
                self.fail_with(id, error, &contains, fate, actions);
            }
        }
    }

    /// One item, or return, of a running generator.
    pub(crate) fn publish(
        &mut self,
        id: TaskId,
        index: u64,
        value: Value,
        contains: &[Held],
        actions: &mut Vec<Action>,
    ) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.published = index + 1;
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return self.pending_to_sealed(id.item(index), value, contains, actions);
        };
        stream.published = index + 1;
        let is_dynamic = stream.is_dynamic;
        if let Some(reach) = &stream.reach {
            self.to_share.push(reach.actor);
        }
        if stream.least_position().is_some() {
            stream.published_bytes += value.size();
            self.create(id.item(index));
            self.pending_to_sealed(id.item(index), value, contains, actions);
        } else {
            stream.kept_from = stream.published;
        }
        if is_dynamic {
            self.pending_to_sealed(id.whole(), Value::Stream(id), &[], actions);
        }
        self.serve_readers(id, actions);
    }

    /// A worker's task has ended.
    pub(crate) fn finish(
        &mut self,
        worker: ClientId,
        id: TaskId,
        outcome: Outcome,
        actions: &mut Vec<Action>,
    ) {
        self.learn(id, outcome.ran_ns);
        let is_error = matches!(outcome.end, End::Raised { .. });
        let ended_ns = outcome.began_ns.saturating_add(outcome.ran_ns);
        self.history.begin(id, outcome.began_ns, ended_ns, is_error);
        self.start_failures = 0;
        let now_ns = self.now_ns;
        let row = self.worker(worker);
        // The node may not have looked at the clock for a while; what is later than that is made up.
        row.free_since_ns = ended_ns.min(now_ns.saturating_add(LATEST_LOOK_NS));
        if let Some(actor) = self.actor_made_by(id) {
            self.constructor_ended(actor, outcome, actions);
            return self.use_room(worker, actions);
        }
        let task = self.tasks.get_mut(&id).expect("a dispatched task is in the table");
        let returns = task.template.returns;
        let published = task.published;
        let task_name = task.name();
        if let Some(error) = outcome.unhandled {
            let returns =
                if let Returns::Static(count) = returns { Some(u64::from(count)) } else { None };
            let (task_name, error) = (task.name(), Value::Raised(Payload::Inline(error)));
            actions.push(Action::Unhandled { task: id, task_name, returns, error });
        }
        match outcome.end {
            End::Returned(values) => {
                for (index, (value, contains)) in values.into_iter().enumerate() {
                    self.pending_to_sealed(id.item(index as u64), value, &contains, actions);
                }
                self.remove_task(id, actions);
            }
            // One that was asked to end has not come as far as the attempt before it, and need not.
            End::Exhausted(yielded, _, _) if yielded < published && !task.is_closing => {
                let failure = Failure::ReplayInconsistent { task_name, yielded, published };
                self.fail(id, failure.into(), &[], actions);
            }
            End::Exhausted(_, value, contains) => {
                if returns == Returns::Streaming {
                    self.pending_to_sealed(id.whole(), value, &contains, actions);
                }
                self.remove_task(id, actions);
            }
            End::Raised { error, holds, retry, yielded: _ } => {
                if retry && task.take_retry() {
                    self.history.retry(id, task, worker, fault_of(&error), self.now_ns);
                    self.waiting_to_ready(id, Place::Front, actions);
                } else {
                    self.fail(id, error, &holds, actions);
                }
            }
            End::Cancelled(pid) => self.fail_interrupted(id, pid, actions),
            End::Left(leave) => {
                let actor = task.submit.actor.expect("only a call ends so");
                self.actor_left(actor, leave, actions);
                self.fail_call(id, actions);
            }
        }
        self.use_room(worker, actions);
    }

    /// Ends a task with an error: in every return that is not sealed, or as the last item.
    pub(crate) fn fail(
        &mut self,
        id: TaskId,
        error: Value,
        contains: &[Held],
        actions: &mut Vec<Action>,
    ) {
        let fate = self.fate_of(id, &error);
        self.fail_with(id, error, contains, fate, actions);
    }

    /// The same with an error that may be in other objects, too.
    pub(crate) fn fail_with(
        &mut self,
        id: TaskId,
        error: Value,
        contains: &[Held],
        fate: Option<Arc<Fate>>,
        actions: &mut Vec<Action>,
    ) {
        if let Some(actor) = self.actor_made_by(id) {
            return self.constructor_failed(actor, error, contains, fate, actions);
        }
        self.failing = fate;
        let task = &self.tasks[&id];
        let published = task.published;
        let left = error.clone();
        match task.template.returns {
            Returns::Static(count) => {
                for index in published..u64::from(count) {
                    self.pending_to_sealed(id.item(index), error.clone(), contains, actions);
                }
            }
            Returns::Dynamic => self.publish(id, published, error, contains, actions),
            Returns::Streaming => {
                // An exception is in the stream only; a failure of the system is in both.
                let whole = match error.origin() {
                    Value::Failed(failure) => Value::Failed(Arc::clone(failure)),
                    _ => Value::Data(Payload::Inline(NONE.into())),
                };
                self.publish(id, published, error, contains, actions);
                self.pending_to_sealed(id.whole(), whole, &[], actions);
            }
        }
        let fate = self.failing.take();
        self.history.note_fault(id, &left);
        // Reported here if no object took it: all had been dropped before.
        Self::drop_fate(fate, left, actions);
        self.remove_task(id, actions);
    }

    /// It was cancelled before it started, or by force.
    pub(crate) fn fail_cancelled(&mut self, id: TaskId, actions: &mut Vec<Action>) {
        self.fail_interrupted(id, 0, actions);
    }

    fn fail_interrupted(&mut self, id: TaskId, pid: u32, actions: &mut Vec<Action>) {
        let task_name = self.tasks[&id].name();
        self.fail(id, Value::from(Failure::Cancelled { task_name, pid }), &[], actions);
    }

    pub(crate) fn fail_crashed(
        &mut self,
        id: TaskId,
        task_name: Arc<str>,
        mut death: Death,
        actions: &mut Vec<Action>,
    ) {
        if let Some(note) = self.tasks[&id].consumed_note() {
            let separator = if death.note.is_empty() { "" } else { ", " };
            death.note = format!("{}{separator}{note}", death.note).into();
        }
        let failure = Failure::WorkerCrashed { task_name, death };
        self.fail(id, failure.into(), &[], actions);
    }

    pub(crate) fn fail_to_start(
        &mut self,
        id: TaskId,
        task_name: Arc<str>,
        death: Death,
        actions: &mut Vec<Action>,
    ) {
        let failure = Failure::WorkerStart { task_name, death };
        self.fail(id, failure.into(), &[], actions);
    }

    /// The actor whose constructor that task is.
    fn actor_made_by(&self, id: TaskId) -> Option<crate::id::ActorId> {
        self.tasks[&id].submit.actor.filter(|actor| actor.0 == id)
    }

    /// The task has ended: its arguments go, its stream ends.
    pub(crate) fn remove_task(&mut self, id: TaskId, actions: &mut Vec<Action>) {
        let mut task = self.tasks.remove(&id).expect("a task ends once");
        if let Phase::Waiting(_) = task.phase {
            self.waiting_tasks -= 1;
        }
        if let Some(parent) = task.submit.parent
            && let Some(parent) = self.tasks.get_mut(&parent)
        {
            parent.disown(id);
        }
        for argument in &task.submit.waits {
            self.leave(*argument);
        }
        self.let_go_arguments(&task.submit, actions);
        self.end_use(task.submit.template);
        self.call_ended(id, &task, actions);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.has_ended = true;
            if let Some(reach) = &stream.reach {
                self.to_share.push(reach.actor);
            }
            if stream.is_dynamic {
                self.pending_to_sealed(id.whole(), Value::Stream(id), &[], actions);
            }
            self.serve_readers(id, actions);
            self.trim(id, actions);
        }
        self.history.end(id, &mut task, (self.now_ns, self.store.used()));
    }
}
