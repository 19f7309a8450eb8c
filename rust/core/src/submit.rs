//! From a submission to a task in the table.
//!
//! ```text
//!   Submit ─▶ sound? ─▶ arguments kept, refs made ─▶ table ─▶ all there? ─▶ queue of its class (scheduler.rs)
//!                └─ no: the client is killed                     └─ waits for them, or fails with the first error
//! ```
//!
//! Invariant: a task keeps its arguments from here until it leaves the table. For one that is not there any
//! more stands an error that says so: user code can bring that about, so it is the task that fails.

use std::sync::Arc;

use crate::action::Action;
use crate::actor::Stage;
use crate::event::{Args, Held, Returns, Submit, Template};
use crate::id::{ClientId, ObjectId, TaskId};
use crate::node::Node;
use crate::object::Waiter;
use crate::scheduler::{ClassId, Place};
use crate::stream::Stream;
use crate::task::{Phase, Task};
use crate::value::{Failure, Value};

/// What an argument is replaced by that is not there; no task makes so many items.
const fn stand_in(task: TaskId) -> ObjectId {
    ObjectId { task, index: u32::MAX }
}

impl Node {
    pub(crate) fn submit(
        &mut self,
        client: ClientId,
        mut submit: Submit,
        actions: &mut Vec<Action>,
    ) {
        let actor = submit.actor.map(|actor| self.actors.get(&actor));
        let Some((template, class)) = self.known_template(client, &submit) else {
            return self.violates(client, "it submits what makes no task", actions);
        };
        let is_callable =
            actor.flatten().is_none_or(|row| (template.lane as usize) < row.lanes.len());
        if !is_callable {
            return self.violates(client, "it calls a lane that is not there", actions);
        }
        let id = submit.task;
        let is_dead = actor.flatten().is_some_and(|row| row.stage == Stage::Dead);
        if actor.is_some_and(|row| row.is_none()) {
            // A handle on what is gone: the call is a task that fails.
            submit.actor = None;
            submit.waits = [stand_in(id)].into();
        }
        let is_call = submit.actor.is_some();
        self.admit_arguments(&mut submit, actions);
        self.create_returns(client, id, template.returns);
        if let Some(actor) = submit.actor {
            self.begin_sharing(id, actor);
        }
        if let Some(parent) = submit.parent
            && let Some(parent) = self.tasks.get_mut(&parent)
        {
            parent.adopt(id);
        }
        self.enqueue(submit, template, class, 0, actions);
        if is_call && is_dead {
            self.fail_call(id, actions);
        }
    }

    /// The template of a submission and its class, if the submission is sound.
    pub(crate) fn known_template(
        &self,
        client: ClientId,
        submit: &Submit,
    ) -> Option<(Arc<Template>, ClassId)> {
        let id = submit.task;
        let stored = match &submit.args {
            Args::Inline(_) => None,
            Args::Stored(object) => Some(*object),
        };
        let is_sealed = |id: ObjectId| self.value_of(id).is_some();
        let is_sound =
            id.client() == client && !self.tasks.contains_key(&id) && stored.is_none_or(is_sealed);
        let known = self.templates.get(&submit.template);
        let known = known.filter(|row| is_sound && !row.is_undefined)?;
        Some((Arc::clone(&known.template), known.class))
    }

    /// Puts a task whose arguments are kept into the table, to run when they are there.
    pub(crate) fn enqueue(
        &mut self,
        submit: Submit,
        template: Arc<Template>,
        class: ClassId,
        attempt: u32,
        actions: &mut Vec<Action>,
    ) {
        let id = submit.task;
        let mut missing = 0;
        let mut has_failed = false;
        for argument in &submit.waits {
            let object = self.objects.get_mut(argument).expect("checked above");
            if object.wait(Waiter::Task(id)) {
                missing += 1;
            } else if !has_failed && object.value().is_some_and(Value::is_error) {
                // The first one counts.
                self.doomed.push((id, *argument));
                has_failed = true;
            }
        }
        let phase = Phase::Waiting(missing);
        let is_call = submit.actor.is_some_and(|actor| actor.0 != id);
        let mut task =
            Task::new(submit, template, class, phase, (attempt, self.oom_retries), self.now_ns);
        task.is_ordered_by_parent = is_call && self.runs_tasks(id.client());
        self.begin_use(task.submit.template);
        self.tasks.insert(id, task);
        self.waiting_tasks += 1;
        if is_call {
            self.enter_call(id);
        }
        if missing == 0 && !has_failed {
            self.waiting_to_ready(id, Place::Back, actions);
        }
    }

    /// Keeps the arguments of a new task. For one that is not there stands the error that says so.
    pub(crate) fn admit_arguments(&mut self, submit: &mut Submit, actions: &mut Vec<Action>) {
        self.prune(&mut submit.holds);
        let instead = stand_in(submit.task);
        for argument in &mut submit.waits {
            if !self.objects.contains_key(argument) {
                *argument = instead;
            }
        }
        let is_needed = submit.waits.contains(&instead) && !self.objects.contains_key(&instead);
        if is_needed {
            self.create(instead);
            self.pending_to_sealed(instead, Failure::Unknown.into(), &[], actions);
        }
        self.keep_arguments(submit);
        if is_needed {
            self.let_go_object(instead);
        }
    }

    pub(crate) fn keep_arguments(&mut self, submit: &Submit) {
        let stored = match submit.args {
            Args::Inline(_) => None,
            Args::Stored(object) => Some(object),
        };
        for argument in submit.waits.iter().copied().chain(stored) {
            self.keep_object(argument);
        }
        for held in &submit.holds {
            self.keep(*held);
        }
    }

    fn create_returns(&mut self, client: ClientId, id: TaskId, returns: Returns) {
        match returns {
            Returns::Static(count) => {
                for index in 0..u64::from(count) {
                    self.create(id.item(index));
                    self.enter(client, Held::Object(id.item(index)));
                }
            }
            Returns::Dynamic => {
                self.streams.insert(id, Stream::new(true));
                self.create(id.whole());
                self.enter(client, Held::Object(id.whole()));
            }
            Returns::Streaming => {
                self.streams.insert(id, Stream::new(false));
                // Kept by the stream, while any handle on that lives.
                self.create(id.whole());
                self.hand_out(client, Held::Stream(id));
            }
        }
    }
}
