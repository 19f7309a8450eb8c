//! How calls and actors end, in the model: by a death, a kill, a cancel, or with one another.
//!
//! Invariant: a call ends once. Its fate has every error that it may show: one event can end several
//! of its arguments, and its actor, too, and any of these errors will do.

use std::collections::BTreeSet;
use std::sync::Arc;

use skate_core::event::{End, Outcome};
use skate_core::id::{ActorId, ClientId, TaskId, Ticket};
use skate_core::value::{ActorEnd, Cause, Death, Failure};

use super::model::{Call, Model, Stage};
use super::told::Told;

/// Starts in a row without a constructor before an actor is given up, or a task told.
const MOST_START_FAILURES: u32 = 3;

impl Model {
    fn ended_because(&self, actor: ActorId, cause: Cause) -> Arc<ActorEnd> {
        let row = &self.actors[&actor];
        let name = row.creation.name.as_ref().map(|(name, _)| name.clone());
        Arc::new(ActorEnd { actor, class_name: Arc::clone(&row.class_name), name, cause })
    }

    /// What a call of a dead actor fails with.
    pub(crate) fn epitaph(&self, actor: ActorId, call: TaskId) -> Vec<Told> {
        match self.actors[&actor].end.as_ref().unwrap() {
            Err(errors) => errors.clone(),
            Ok(cause) => {
                let task_name = Arc::clone(&self.calls[&call].name);
                let actor = self.ended_because(actor, cause.clone());
                vec![Told::Failed(Failure::ActorDied { task_name, actor })]
            }
        }
    }

    /// It takes no call any more; those that no process has fail now.
    pub(crate) fn die(&mut self, id: ActorId, end: Result<Cause, Vec<Told>>) {
        let row = self.actors.get_mut(&id).unwrap();
        if row.stage == Stage::Dead {
            return;
        }
        row.stage = Stage::Dead;
        row.end = Some(end);
        let nowhere = |call: &Call| call.fate.is_none() && call.place.is_none();
        let of = self.calls.iter().filter(|(_, call)| call.actor == Some(id) && nowhere(call));
        let calls: Vec<TaskId> = of.map(|(id, _)| *id).collect();
        for call in &calls {
            let errors = if *call == id.0 { Vec::new() } else { self.epitaph(id, *call) };
            self.calls.get_mut(call).unwrap().fate = Some(errors);
        }
        self.heirs.extend(calls.iter().filter(|call| **call != id.0));
        for call in calls {
            self.propagate(call);
        }
    }

    pub(crate) fn end(&mut self, id: TaskId, errors: Vec<Told>) {
        let call = self.calls.get_mut(&id).unwrap();
        assert!(call.fate.is_none(), "{id:?} ends twice");
        call.fate = Some(errors);
        self.propagate(id);
    }

    /// Whoever waits for an error of one that has ended ends with it.
    fn propagate(&mut self, ended: TaskId) {
        if !self.calls[&ended].has_failed() {
            return;
        }
        let waits = |call: &Call| call.waits.iter().any(|id| id.task == ended);
        let waiting = |call: &&Call| call.fate.is_none() && call.place.is_none() && waits(call);
        let of = self.calls.iter().filter(|(_, call)| waiting(call));
        let heirs: Vec<TaskId> = of.map(|(id, _)| *id).collect();
        for heir in heirs {
            let waits = self.calls[&heir].waits.clone();
            let errors: Vec<Told> = waits.iter().flat_map(|id| self.errors_of(*id)).collect();
            let call = &self.calls[&heir];
            // It may have ended meanwhile, or wait for a return that was made.
            if errors.is_empty() || call.fate.is_some() {
                continue;
            }
            if let Some(actor) = call.actor.filter(|actor| actor.0 == heir) {
                self.die(actor, Err(errors));
            } else {
                self.heirs.push(heir);
                self.end(heir, errors);
            }
        }
    }

    /// One event can end several of a call's arguments, and its actor, too: any of these errors
    /// will do. To be called after each event.
    pub(crate) fn settle(&mut self) {
        let heirs = std::mem::take(&mut self.heirs);
        let mut has_changed = true;
        while std::mem::take(&mut has_changed) {
            for id in &heirs {
                let call = &self.calls[id];
                let mut errors: Vec<Told> =
                    call.waits.iter().flat_map(|id| self.errors_of(*id)).collect();
                if let Some(actor) = call.actor
                    && self.actors[&actor].stage == Stage::Dead
                {
                    errors.extend(self.epitaph(actor, *id));
                }
                let fate = self.calls.get_mut(id).unwrap().fate.as_mut().unwrap();
                for error in errors {
                    if !fate.contains(&error) {
                        fate.push(error);
                        has_changed = true;
                    }
                }
            }
            // The constructors that failed with them.
            for id in self.actors.keys().copied().collect::<Vec<_>>() {
                let waits = self.calls[&id.0].waits.clone();
                let more: Vec<Told> = waits.iter().flat_map(|id| self.errors_of(*id)).collect();
                if let Some(Err(errors)) = &mut self.actors.get_mut(&id).unwrap().end
                    && errors.iter().any(|error| more.contains(error))
                {
                    for error in more {
                        if !errors.contains(&error) {
                            errors.push(error);
                            has_changed = true;
                        }
                    }
                }
            }
        }
    }

    pub(crate) fn constructed(&mut self, id: ActorId, outcome: &Outcome) {
        let row = self.actors.get_mut(&id).unwrap();
        match &outcome.end {
            End::Returned(_) => {
                if row.stage == Stage::Starting {
                    row.stage = Stage::Alive;
                    row.start_failures = 0;
                }
            }
            End::Raised { error, .. } => self.die(id, Err(vec![Told::of(error)])),
            End::Left(leave) => self.die(id, Ok(Cause::Left(*leave))),
            End::Cancelled | End::Exhausted(..) => unreachable!("constructors do not"),
        }
        self.calls.get_mut(&id.0).unwrap().fate = Some(Vec::new());
    }

    pub(crate) fn fail_if_dead(&mut self, id: TaskId) {
        let call = &self.calls[&id];
        if let Some(actor) = call.actor
            && self.actors[&actor].stage == Stage::Dead
            && call.fate.is_none()
        {
            let errors = self.epitaph(actor, id);
            self.end(id, errors);
        }
    }

    pub(crate) fn killed(&mut self, id: ActorId) {
        self.die(id, Ok(Cause::Killed));
    }

    /// A worker's process is gone. `had` is what it had, in the order of dispatch, and whether that
    /// had been claimed.
    pub(crate) fn process_died(
        &mut self,
        worker: ClientId,
        death: &Death,
        has_been: bool,
        had: &[(TaskId, bool)],
    ) {
        let actor = self.actors.iter().find(|(_, row)| row.worker == Some(worker));
        let actor = actor.map(|(id, _)| *id);
        for (id, _) in had {
            self.calls.get_mut(id).unwrap().place = None;
        }
        match actor {
            Some(actor) => self.actor_lost(actor, death, had),
            None => {
                for (place, (id, has_started)) in had.iter().enumerate() {
                    let is_blamed = place == 0 && !has_been;
                    self.task_lost(*id, death, *has_started, is_blamed);
                }
            }
        }
    }

    fn task_lost(&mut self, id: TaskId, death: &Death, has_started: bool, is_blamed: bool) {
        let call = self.calls.get_mut(&id).unwrap();
        let (task_name, death) = (Arc::clone(&call.name), death.clone());
        if call.cancelled {
            self.end(id, vec![self.cancellation(id)]);
        } else if has_started && !call.take_retry() {
            self.end(id, vec![Told::Failed(Failure::WorkerCrashed { task_name, death })]);
        } else if is_blamed && !has_started {
            call.start_failures += 1;
            if call.start_failures >= MOST_START_FAILURES {
                self.end(id, vec![Told::Failed(Failure::WorkerStart { task_name, death })]);
            }
        }
    }

    fn actor_lost(&mut self, id: ActorId, death: &Death, had: &[(TaskId, bool)]) {
        let row = self.actors.get_mut(&id).unwrap();
        row.worker = None;
        let has_begun = row.stage != Stage::Starting
            || had.iter().any(|(task, has_started)| *task == id.0 && *has_started);
        if row.stage != Stage::Dead {
            row.start_failures = if has_begun { 0 } else { row.start_failures + 1 };
            if row.start_failures >= MOST_START_FAILURES {
                self.die(id, Ok(Cause::NotStarted(death.clone())));
            } else if has_begun && row.restarts_left == 0 {
                self.die(id, Ok(Cause::Crashed(death.clone())));
            } else {
                row.stage = Stage::Pending;
                row.life += u32::from(has_begun);
                row.restarts_left -= i32::from(has_begun && row.restarts_left > 0);
                let constructor = self.calls.get_mut(&id.0).unwrap();
                (constructor.fate, constructor.attempt) = (None, row.life);
            }
        }
        let end = self.ended_because(id, Cause::Crashed(death.clone()));
        for (call, has_started) in had.iter().filter(|(call, _)| *call != id.0) {
            let row = self.calls.get_mut(call).unwrap();
            if row.fate.is_some() {
                continue;
            }
            let (task_name, is_cancelled) = (Arc::clone(&row.name), row.cancelled);
            if self.actors[&id].stage == Stage::Dead {
                self.fail_if_dead(*call);
            } else if is_cancelled {
                self.end(*call, vec![self.cancellation(*call)]);
            } else if *has_started && !self.calls.get_mut(call).unwrap().take_retry() {
                let actor = Arc::clone(&end);
                let failure = Failure::ActorUnavailable { task_name, actor };
                self.end(*call, vec![Told::Failed(failure)]);
            }
        }
    }

    /// Says which dispatches must be taken back, or told.
    pub(crate) fn cancel(&mut self, root: TaskId, recursive: bool) -> Vec<(ClientId, Ticket)> {
        let mut marked = BTreeSet::new();
        let mut ids = vec![root];
        while let Some(id) = ids.pop() {
            if self.calls.get(&id).is_none_or(Call::has_ended) || !marked.insert(id) {
                continue;
            }
            let is_child = |(child, call): &(&TaskId, &Call)| {
                call.parent == Some(id) && call.actor != Some(ActorId(**child))
            };
            if recursive {
                ids.extend(self.calls.iter().filter(is_child).map(|(id, _)| *id));
            }
        }
        for id in &marked {
            self.calls.get_mut(id).unwrap().cancelled = true;
        }
        let placed = marked.iter().filter_map(|id| self.calls[id].place).collect();
        let nowhere = marked.into_iter().filter(|id| self.calls[id].place.is_none());
        let nowhere: Vec<TaskId> = nowhere.collect();
        for id in &nowhere {
            self.calls.get_mut(id).unwrap().fate = Some(vec![self.cancellation(*id)]);
        }
        self.heirs.extend(&nowhere);
        for id in nowhere {
            self.propagate(id);
        }
        placed
    }

    pub(crate) fn cancellation(&self, id: TaskId) -> Told {
        Told::Failed(Failure::Cancelled { task_name: Arc::clone(&self.calls[&id].name) })
    }
}
