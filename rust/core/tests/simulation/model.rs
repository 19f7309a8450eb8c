//! What must be true: each task as a sequence of what happened to it, each actor as a sequence of lives,
//! without queues, counts or processes.
//!
//! Invariants: the model hears the same events as the node, in the same order, and knows after each
//! of them which refs are ready and what they hold. It shares no code with the node. That nobody holds
//! something any more is not modelled: what follows from that nobody can see, or the holder would
//! hold it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skate_core::action::Run;
use skate_core::event::{Creation, End, Order, Outcome, Returns, Submit, Template};
use skate_core::id::{ActorId, ClientId, ObjectId, TaskId, Ticket};
use skate_core::value::{Cause, Failure, Value};

use super::content::{Content, Origin};
use super::io::Memory;
use super::task::{Fate, Task};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Pending,
    Starting,
    Alive,
    Dead,
}

/// Why an actor is dead.
#[derive(Clone, Debug)]
pub(crate) enum ActorFate {
    Ended(Cause),
    /// Its constructor failed.
    Failed(Vec<Fate>),
}

/// One actor.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) stage: Stage,
    pub(crate) worker: Option<ClientId>,
    pub(crate) class_name: Arc<str>,
    pub(crate) creation: Creation,
    /// Starts after a crash.
    pub(crate) life: u32,
    pub(crate) restarts_left: i32,
    pub(crate) start_failures: u32,
    pub(crate) end: Option<ActorFate>,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    pub(crate) actors: BTreeMap<ActorId, Actor>,
    pub(crate) oom_retries: i32,
    puts: BTreeSet<TaskId>,
    /// Placement groups that were removed.
    pub(crate) removed: BTreeSet<Arc<str>>,
    /// Which state of its actor an object was made in.
    pub(crate) origins: BTreeMap<ObjectId, Origin>,
    pub(crate) sizes: BTreeMap<ObjectId, u64>,
    /// Objects that were spilled and could not be read back.
    lost: BTreeSet<ObjectId>,
    pub(crate) dependents: BTreeMap<ObjectId, Vec<TaskId>>,
    /// In the order in which the node heard of them.
    pub(crate) order: Vec<TaskId>,
    /// Ended by the event that is heard, through others.
    pub(crate) heirs: Vec<TaskId>,
    pub(crate) dead_heirs: Vec<ActorId>,
    /// Streams that get items back by the event that is heard, which may end them, too: whoever waits gets
    /// those first.
    pub(crate) given_back: BTreeSet<TaskId>,
    /// Of all dispatches so far.
    tickets: BTreeMap<(ClientId, Ticket), TaskId>,
}

impl Model {
    pub(crate) fn new(oom_retries: i32) -> Self {
        Self { oom_retries, ..Self::default() }
    }

    pub(crate) fn put(&mut self, id: ObjectId) {
        assert!(self.puts.insert(id.task), "{id:?} is put twice");
    }

    pub(crate) fn lost(&mut self, id: ObjectId) {
        self.lost.insert(id);
    }

    pub(crate) fn is_lost(&self, id: ObjectId) -> bool {
        self.lost.contains(&id)
    }

    fn enter(&mut self, submit: &Submit, template: &Arc<Template>, is_shared: bool) {
        let task = Task {
            name: submit.name.clone().unwrap(),
            template: Arc::clone(template),
            actor: submit.actor,
            caller: (submit.task.client(), submit.parent.filter(|_| is_shared)),
            waits: submit.waits.clone(),
            parent: submit.parent,
            published: 0,
            taken: 0,
            returned: BTreeSet::new(),
            lent: BTreeSet::new(),
            consumed: Vec::new(),
            is_closed: false,
            attempt: 0,
            retries: template.max_retries,
            oom_retries: self.oom_retries,
            stops: 0,
            claims: 0,
            origin: None,
            is_again: false,
            is_taken_back: false,
            start_failures: 0,
            cancelled: false,
            place: None,
            fate: None,
        };
        self.tasks.insert(submit.task, task);
        self.order.push(submit.task);
        for id in &submit.waits {
            self.dependents.entry(*id).or_default().push(submit.task);
        }
    }

    /// `is_shared`: the client runs tasks for anybody, each of which is a caller by itself.
    pub(crate) fn submitted(&mut self, submit: &Submit, template: &Arc<Template>, is_shared: bool) {
        self.enter(submit, template, is_shared);
        let dead = submit.actor.filter(|actor| self.actors[actor].stage == Stage::Dead);
        let first = submit.waits.iter().find(|id| self.is_error(**id));
        if let Some(fate) = dead.map(Fate::Actor).or(first.map(|id| Fate::Argument(*id))) {
            self.end(submit.task, vec![fate]);
        }
    }

    pub(crate) fn created(&mut self, creation: &Creation, template: &Arc<Template>) {
        let id = ActorId(creation.submit.task);
        self.enter(&creation.submit, template, false);
        let actor = Actor {
            stage: Stage::Pending,
            worker: None,
            class_name: Arc::clone(&template.name),
            creation: creation.clone(),
            life: 0,
            restarts_left: creation.max_restarts,
            start_failures: 0,
            end: None,
        };
        self.actors.insert(id, actor);
        let first = creation.submit.waits.iter().find(|id| self.is_error(**id));
        if let Some(first) = first {
            self.die(id, ActorFate::Failed(vec![Fate::Argument(*first)]));
        }
    }

    /// A dispatch leaves the node; it must say what the task's history says.
    pub(crate) fn dispatched(&mut self, worker: ClientId, run: &Run, memory: &Memory) {
        for ((id, value), expected) in run.resolved.iter().zip(&self.tasks[&run.task].waits) {
            assert_eq!(id, expected, "arguments of {:?}", run.task);
            let is_sound = !self.is_error(*id) || self.is_lost(*id);
            assert!(is_sound, "{:?} starts with a failed argument {id:?}", run.task);
            self.verify(*id, &Content::of(value, memory));
        }
        let task = self.tasks.get_mut(&run.task).unwrap();
        let actor = task.actor.and_then(|actor| self.actors[&actor].end.as_ref());
        if matches!(actor, Some(ActorFate::Ended(Cause::GroupRemoved))) {
            // With its group went the task that it waited for; it is taken back in the same step.
            task.place = Some((worker, run.ticket));
            self.tickets.insert((worker, run.ticket), run.task);
            return;
        }
        assert!(task.fate.is_none(), "{:?} starts after its end", run.task);
        assert_eq!(task.place, None, "{:?} is dispatched twice", run.task);
        assert!(!task.cancelled, "{:?} starts although it was cancelled", run.task);
        assert!(!task.is_closed, "{:?} starts although it was closed", run.task);
        assert_eq!(run.attempt, task.attempt, "attempt of {:?}", run.task);
        assert_eq!(run.skip, task.published, "items that {:?} skips", run.task);
        assert_eq!(run.resolved.len(), task.waits.len(), "arguments of {:?}", run.task);
        task.place = Some((worker, run.ticket));
        self.tickets.insert((worker, run.ticket), run.task);
        let Some(id) = task.actor else { return };
        let actor = self.actors.get_mut(&id).unwrap();
        let found = (actor.stage, actor.worker);
        if id.0 == run.task {
            assert_eq!(found, (Stage::Pending, None), "start of {id:?}");
            (actor.stage, actor.worker) = (Stage::Starting, Some(worker));
        } else {
            assert_eq!(found, (Stage::Alive, Some(worker)), "{id:?} is called");
        }
    }

    /// A worker starts on a dispatch: the order must be that of its caller.
    pub(crate) fn claimed(&mut self, id: TaskId, position: u32) {
        let task = &self.tasks[&id];
        let life = task.actor.map_or(0, |actor| self.actors[&actor].life);
        if let Some(actor) = task.actor.filter(|actor| actor.0 != id)
            && self.actors[&actor].creation.order == Order::Submission
        {
            for other in self.order.iter().take_while(|other| **other != id) {
                let before = &self.tasks[other];
                if (before.actor, before.caller) == (Some(actor), task.caller) && *other != actor.0
                {
                    let has_been = before.has_ended() && !before.is_taken_back;
                    let has_begun = before.origin.is_some_and(|(of, _)| of == life);
                    assert!(
                        has_been
                            || has_begun
                            || before.is_again
                            || task.is_again
                            || before.may_be_gone(),
                        "{id:?} of {:?} overtakes {other:?}",
                        task.caller
                    );
                }
            }
        }
        let task = self.tasks.get_mut(&id).unwrap();
        task.claims += 1;
        task.origin = Some(if task.actor.is_some() { (life, position) } else { (0, 0) });
        let most = task.template.max_retries;
        let is_constructor = task.actor == Some(ActorId(id));
        let is_allowed = most < 0 || task.claims <= most.cast_unsigned() + 1 + task.stops;
        assert!(is_constructor || is_allowed, "{id:?} starts too often");
    }

    /// Who works on what a worker speaks of.
    pub(crate) fn task_of(&self, worker: ClientId, ticket: Ticket) -> TaskId {
        let id = self.tickets[&(worker, ticket)];
        assert_eq!(self.tasks[&id].place, Some((worker, ticket)), "{id:?} is not there");
        id
    }

    /// A value comes from a process: it must be of this life of its actor.
    pub(crate) fn made(&mut self, id: ObjectId, value: &Value, memory: &Memory) {
        if let Content::Data { task, origin, .. } = Content::of(value, memory) {
            assert_eq!(task, id.task);
            assert_eq!(self.tasks[&id.task].origin, Some(origin), "state seen by {id:?}");
            self.origins.insert(id, origin);
            self.sizes.insert(id, value.size());
        }
    }

    pub(crate) fn yielded(&mut self, id: TaskId, index: u64) {
        let task = self.tasks.get_mut(&id).unwrap();
        assert_eq!(index, task.published, "{id:?} yields in order");
        task.published = index + 1;
    }

    pub(crate) fn finished(&mut self, id: TaskId, outcome: &Outcome, memory: &Memory) {
        let task = self.tasks.get_mut(&id).unwrap();
        task.place = None;
        let (actor, published) = (task.actor, task.published);
        if let Some(actor) = actor.filter(|actor| actor.0 == id) {
            return self.constructed(actor, outcome);
        }
        let fates = match &outcome.end {
            End::Returned(values) => {
                task.published = values.len() as u64;
                for (index, (value, _)) in values.iter().enumerate() {
                    self.made(id.item(index as u64), value, memory);
                }
                Vec::new()
            }
            End::Exhausted(yielded, ..) if *yielded < published && !task.is_closed => {
                let task_name = Arc::clone(&task.name);
                let yielded = *yielded;
                vec![Fate::Failed(Failure::ReplayInconsistent { task_name, yielded, published })]
            }
            End::Exhausted(_, value, _) => {
                if task.template.returns == Returns::Streaming {
                    self.made(id.whole(), value, memory);
                }
                Vec::new()
            }
            End::Raised { retry: true, .. } if task.take_retry() => {
                task.is_again = true;
                return self.fail_if_dead(id);
            }
            End::Raised { error: Value::Failed(failure), .. } => {
                vec![Fate::Failed(Failure::clone(failure))]
            }
            End::Raised { .. } => vec![Fate::Raised { task: id, attempt: task.attempt }],
            End::Cancelled(pid) => vec![self.cancellation(id, *pid)],
            End::Left(leave) => {
                self.die(actor.unwrap(), ActorFate::Ended(Cause::Left(*leave)));
                return self.fail_if_dead(id);
            }
        };
        self.end(id, fates);
    }

    /// A dispatch was taken back.
    pub(crate) fn revoked(&mut self, worker: ClientId, ticket: Ticket) {
        let id = self.task_of(worker, ticket);
        let task = self.tasks.get_mut(&id).unwrap();
        task.place = None;
        if task.cancelled {
            self.end(id, vec![self.cancellation(id, 0)]);
        } else if task.is_closed {
            self.end(id, Vec::new());
        } else if task.actor == Some(ActorId(id)) {
            task.fate = Some(Vec::new());
        } else {
            self.fail_if_dead(id);
            self.tasks.get_mut(&id).unwrap().is_taken_back = self.tasks[&id].has_ended();
        }
    }

    /// The resources of a task are those of a placement group.
    pub(crate) fn group_of(&self, id: TaskId) -> Option<&str> {
        let mut names = self.tasks[&id].template.resources.iter();
        names.find_map(|(name, _)| name.strip_prefix("CPU_group_"))
    }

    pub(crate) fn is_ready(&self, id: ObjectId) -> bool {
        let Some(task) = self.tasks.get(&id.task) else { return self.puts.contains(&id.task) };
        let has_begun = task.published > 0 && task.template.returns == Returns::Dynamic;
        task.has_ended()
            || if id.index == 0 { has_begun } else { u64::from(id.index) <= task.published }
    }

    pub(crate) fn is_error(&self, id: ObjectId) -> bool {
        if self.is_lost(id) {
            return true;
        }
        let Some(task) = self.tasks.get(&id.task) else { return false };
        if id.index > 0 {
            return task.has_failed() && u64::from(id.index) > task.published;
        }
        task.template.returns == Returns::Streaming && self.is_failure(id)
    }
}
