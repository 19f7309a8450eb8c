//! How tasks and actors end, in the model: by a death, a kill, a cancel, or with one another.
//!
//! Invariant: a task ends once. Its fates are all the errors that it may show: one event can end several
//! of its arguments, and its actor, too, and any of these errors will do.

use std::collections::BTreeSet;
use std::sync::Arc;

use skate_core::event::{End, Outcome};
use skate_core::id::{ActorId, ClientId, ObjectId, TaskId, Ticket};
use skate_core::value::{Cause, Death, Failure};

use super::model::{ActorFate, Model, Stage};
use super::task::{Fate, Task};

/// Starts in a row without a claim before a task is told, or an actor is given up.
const MOST_START_FAILURES: u32 = 3;
/// Stands for what is told of memory when an actor was stopped for want of it.
pub(crate) const STOPPED: &str = "memory ran short";

/// What is known of a process that has ended.
pub(crate) struct Obituary<'a> {
    pub(crate) death: &'a Death,
    /// It had begun something, or the node had it killed: it has not failed to start.
    pub(crate) has_been: bool,
    /// It was stopped for want of memory; and nothing else ran.
    pub(crate) stopped: Option<bool>,
    /// What it had, in the order of dispatch, and whether that had been claimed.
    pub(crate) had: &'a [(TaskId, bool)],
}

impl Model {
    pub(crate) fn end(&mut self, id: TaskId, fates: Vec<Fate>) {
        let task = self.tasks.get_mut(&id).unwrap();
        assert!(task.fate.is_none(), "{id:?} ends twice");
        task.fate = Some(fates);
        self.propagate(vec![id]);
    }

    /// Whoever waits for an error of tasks that have ended ends with it.
    fn propagate(&mut self, mut ended: Vec<TaskId>) {
        while let Some(id) = ended.pop() {
            let refs = ObjectId { task: id, index: 0 }..=ObjectId { task: id, index: u32::MAX };
            // What was lost was there before: who waited for it goes on to find out.
            let is_new = |id: ObjectId| self.is_error(id) && !self.is_lost(id);
            let of = self.dependents.range(refs).filter(|(object, _)| is_new(**object));
            let found: Vec<(ObjectId, TaskId)> =
                of.flat_map(|(id, tasks)| tasks.iter().map(|task| (*id, *task))).collect();
            for (object, id) in found {
                let task = &self.tasks[&id];
                if task.has_ended() {
                    continue;
                }
                assert_eq!(task.place, None, "{id:?} was dispatched without its arguments");
                let fate = Fate::Argument(object);
                if let Some(actor) = task.actor.filter(|actor| actor.0 == id) {
                    self.die(actor, ActorFate::Failed(vec![fate]));
                    self.dead_heirs.push(actor);
                } else {
                    self.tasks.get_mut(&id).unwrap().fate = Some(vec![fate]);
                    ended.push(id);
                    self.heirs.push(id);
                }
            }
        }
    }

    /// To be called after each event: what else those may show that ended with others; and what was
    /// to run in a placement group that is gone.
    pub(crate) fn settle(&mut self) {
        // One that ends may have been what another one waited for.
        while self.end_groups() {}
        for id in std::mem::take(&mut self.heirs) {
            let Some(task) = self.tasks.get(&id) else { continue };
            let waits = task.waits.iter().filter(|id| self.is_error(**id));
            let mut fates: Vec<Fate> = waits.map(|id| Fate::Argument(*id)).collect();
            if let Some(actor) = task.actor.filter(|actor| actor.0 != id)
                && self.actors[&actor].stage == Stage::Dead
            {
                fates.push(Fate::Actor(actor));
            }
            let task = self.tasks.get_mut(&id).unwrap();
            task.fate.as_mut().unwrap().extend(fates);
        }
        for id in std::mem::take(&mut self.dead_heirs) {
            let waits = self.tasks[&id.0].waits.iter().filter(|id| self.is_error(**id));
            let more: Vec<Fate> = waits.map(|id| Fate::Argument(*id)).collect();
            if let Some(ActorFate::Failed(fates)) = &mut self.actors.get_mut(&id).unwrap().end {
                fates.extend(more);
            }
        }
    }

    /// Ends what is ready and was to run in a placement group that is gone; false if there is nothing.
    fn end_groups(&mut self) -> bool {
        if self.removed.is_empty() {
            return false;
        }
        let is_gone = |id: TaskId| self.group_of(id).is_some_and(|key| self.removed.contains(key));
        let waits = |task: &Task| task.waits.iter().any(|id| !self.is_ready(*id));
        let open = self.tasks.iter().filter(|(_, task)| !task.has_ended() && task.place.is_none());
        let gone = open.filter(|(id, task)| is_gone(**id) && !waits(task));
        let gone: Vec<(TaskId, Option<ActorId>)> = gone.map(|(id, it)| (*id, it.actor)).collect();
        let is_any = !gone.is_empty();
        for (id, actor) in gone {
            if let Some(actor) = actor.filter(|actor| actor.0 == id) {
                self.die(actor, ActorFate::Ended(Cause::GroupRemoved));
            } else if !self.tasks[&id].has_ended() {
                let task_name = Arc::clone(&self.tasks[&id].name);
                self.end(id, vec![Fate::Failed(Failure::GroupRemoved { task_name })]);
            }
        }
        is_any
    }

    /// A placement group is removed: its actors end.
    pub(crate) fn group_removed(&mut self, key: &Arc<str>) {
        if !self.removed.insert(Arc::clone(key)) {
            return;
        }
        let of = |id: &&ActorId| self.group_of(id.0) == Some(&**key);
        let mut actors: Vec<ActorId> = self.actors.keys().filter(of).copied().collect();
        // All of them, before the calls of one fail that another one waits for.
        actors.retain(|actor| self.is_first_death(*actor, ActorFate::Ended(Cause::GroupRemoved)));
        for actor in actors {
            self.fail_calls(actor);
        }
    }

    /// It takes no call any more; those that no process has fail now.
    pub(crate) fn die(&mut self, id: ActorId, end: ActorFate) {
        if self.is_first_death(id, end) {
            self.fail_calls(id);
        }
    }

    fn is_first_death(&mut self, id: ActorId, end: ActorFate) -> bool {
        let row = self.actors.get_mut(&id).unwrap();
        let is_first = row.stage != Stage::Dead;
        if is_first {
            (row.stage, row.end) = (Stage::Dead, Some(end));
        }
        is_first
    }

    fn fail_calls(&mut self, id: ActorId) {
        let nowhere = |task: &Task| task.fate.is_none() && task.place.is_none();
        let of = self.tasks.iter().filter(|(_, task)| task.actor == Some(id) && nowhere(task));
        let calls: Vec<TaskId> = of.map(|(id, _)| *id).collect();
        for call in &calls {
            let fates = if *call == id.0 { Vec::new() } else { vec![Fate::Actor(id)] };
            self.tasks.get_mut(call).unwrap().fate = Some(fates);
        }
        self.heirs.extend(calls.iter().filter(|call| **call != id.0));
        self.propagate(calls);
    }

    pub(crate) fn constructed(&mut self, id: ActorId, outcome: &Outcome) {
        let attempt = self.tasks[&id.0].attempt;
        let row = self.actors.get_mut(&id).unwrap();
        match &outcome.end {
            End::Returned(_) => {
                if row.stage == Stage::Starting {
                    row.stage = Stage::Alive;
                    row.start_failures = 0;
                }
            }
            End::Raised { .. } => {
                self.die(id, ActorFate::Failed(vec![Fate::Raised { task: id.0, attempt }]));
            }
            End::Left(leave) => self.die(id, ActorFate::Ended(Cause::Left(*leave))),
            End::Cancelled(_) | End::Exhausted(..) => unreachable!("constructors do not"),
        }
        self.tasks.get_mut(&id.0).unwrap().fate = Some(Vec::new());
    }

    pub(crate) fn fail_if_dead(&mut self, id: TaskId) {
        let task = &self.tasks[&id];
        if let Some(actor) = task.actor
            && self.actors[&actor].stage == Stage::Dead
            && task.fate.is_none()
        {
            self.end(id, vec![Fate::Actor(actor)]);
        }
    }

    pub(crate) fn killed(&mut self, id: ActorId) {
        self.die(id, ActorFate::Ended(Cause::Killed));
    }

    /// A worker's process is gone.
    pub(crate) fn process_died(&mut self, worker: ClientId, obituary: &Obituary<'_>) {
        let actor = self.actors.iter().find(|(_, row)| row.worker == Some(worker));
        let actor = actor.map(|(id, _)| *id);
        for (id, _) in obituary.had {
            self.tasks.get_mut(id).unwrap().place = None;
        }
        if let Some(actor) = actor {
            return self.actor_lost(actor, obituary);
        }
        for (place, (id, has_started)) in obituary.had.iter().enumerate() {
            self.task_lost(*id, obituary, *has_started, place == 0);
        }
    }

    fn task_lost(
        &mut self,
        id: TaskId,
        obituary: &Obituary<'_>,
        has_started: bool,
        is_first: bool,
    ) {
        let task = self.tasks.get_mut(&id).unwrap();
        let (task_name, mut death) = (Arc::clone(&task.name), obituary.death.clone());
        if task.cancelled {
            self.end(id, vec![self.cancellation(id, 0)]);
        } else if task.is_closed && !has_started {
            self.end(id, Vec::new());
        } else if has_started && let Some(was_alone) = obituary.stopped {
            if !task.take_oom_retry(was_alone) {
                let failure = Failure::OutOfMemory { task_name, why: "".into() };
                self.end(id, vec![Fate::Failed(failure)]);
            }
        } else if has_started && !task.take_retry() {
            let note =
                |(of, count): &(TaskId, u64)| format!("had consumed {count} items of stream {of}");
            let notes: Vec<String> = task.consumed.iter().map(note).collect();
            death.note = notes.join(", ").into();
            self.end(id, vec![Fate::Failed(Failure::WorkerCrashed { task_name, death })]);
        } else if is_first && !obituary.has_been && !has_started {
            task.start_failures += 1;
            if task.start_failures >= MOST_START_FAILURES {
                self.end(id, vec![Fate::Failed(Failure::WorkerStart { task_name, death })]);
            }
        }
    }

    fn actor_lost(&mut self, id: ActorId, obituary: &Obituary<'_>) {
        let Obituary { death, had, .. } = obituary;
        let row = self.actors.get_mut(&id).unwrap();
        row.worker = None;
        let has_begun = row.stage != Stage::Starting
            || had.iter().any(|(task, has_started)| *task == id.0 && *has_started);
        if row.stage != Stage::Dead {
            row.start_failures = if has_begun { 0 } else { row.start_failures + 1 };
            if row.start_failures >= MOST_START_FAILURES {
                self.die(id, ActorFate::Ended(Cause::NotStarted((*death).clone())));
            } else if has_begun && row.restarts_left == 0 {
                self.die(id, ActorFate::Ended(Cause::Crashed((*death).clone())));
            } else {
                row.stage = Stage::Pending;
                row.life += u32::from(has_begun);
                row.restarts_left -= i32::from(has_begun && row.restarts_left > 0);
                let constructor = self.tasks.get_mut(&id.0).unwrap();
                (constructor.fate, constructor.attempt) = (None, row.life);
            }
        }
        if self.actors[&id].stage == Stage::Dead {
            self.tasks.get_mut(&id.0).unwrap().fate.get_or_insert_default();
        }
        let end = self.ended_because(id, Cause::Crashed((*death).clone()));
        for (call, has_started) in had.iter().filter(|(call, _)| *call != id.0) {
            let row = self.tasks.get_mut(call).unwrap();
            if row.fate.is_some() {
                continue;
            }
            let (task_name, is_cancelled) = (Arc::clone(&row.name), row.cancelled);
            if self.actors[&id].stage == Stage::Dead {
                self.fail_if_dead(*call);
            } else if is_cancelled {
                self.end(*call, vec![self.cancellation(*call, 0)]);
            } else if row.is_closed && !has_started {
                self.end(*call, Vec::new());
            } else if *has_started && !self.tasks.get_mut(call).unwrap().take_retry() {
                let actor = Arc::clone(&end);
                let failure = Failure::ActorUnavailable { task_name, actor };
                self.end(*call, vec![Fate::Failed(failure)]);
            }
        }
        self.begin_again(id);
    }

    /// An actor that is to be made again cannot be if an argument of its constructor has been lost since.
    fn begin_again(&mut self, id: ActorId) {
        let waits = &self.tasks[&id.0].waits;
        let lost = waits.iter().find(|id| self.is_lost(**id)).copied();
        if let (Stage::Pending, Some(lost)) = (self.actors[&id].stage, lost) {
            self.die(id, ActorFate::Failed(vec![Fate::Argument(lost)]));
        }
    }

    /// Says which dispatches must be taken back, interrupted or told.
    pub(crate) fn cancel(&mut self, root: TaskId, recursive: bool) -> Vec<(ClientId, Ticket)> {
        let mut marked = BTreeSet::new();
        let mut ids = vec![root];
        while let Some(id) = ids.pop() {
            if self.tasks.get(&id).is_none_or(Task::has_ended) || !marked.insert(id) {
                continue;
            }
            let is_child = |(child, task): &(&TaskId, &Task)| {
                task.parent == Some(id) && task.actor != Some(ActorId(**child))
            };
            if recursive {
                ids.extend(self.tasks.iter().filter(is_child).map(|(id, _)| *id));
            }
        }
        for id in &marked {
            self.tasks.get_mut(id).unwrap().cancelled = true;
        }
        let placed = marked.iter().filter_map(|id| self.tasks[id].place).collect();
        let nowhere = marked.into_iter().filter(|id| self.tasks[id].place.is_none());
        let nowhere: Vec<TaskId> = nowhere.collect();
        for id in &nowhere {
            self.tasks.get_mut(id).unwrap().fate = Some(vec![self.cancellation(*id, 0)]);
        }
        self.propagate(nowhere);
        placed
    }

    /// `pid` is that of the process in which it was interrupted, or 0.
    pub(crate) fn cancellation(&self, id: TaskId, pid: u32) -> Fate {
        Fate::Failed(Failure::Cancelled { task_name: Arc::clone(&self.tasks[&id].name), pid })
    }
}
