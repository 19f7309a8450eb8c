//! What must be true: actors as sequences of lives, calls as sequences of attempts, without queues,
//! counts or processes.
//!
//! Invariant: the model hears the same events as the node, in the same order, and knows after each of
//! them what every ref holds. It shares no code with the node. That an actor ended because nobody
//! held it is not modelled: whoever calls one holds it, so no call may ever fail for that.

use std::collections::BTreeMap;
use std::sync::Arc;

use skate_core::action::Run;
use skate_core::event::{Creation, End, Order, Outcome, Returns, Submit, Template};
use skate_core::id::{ActorId, ClientId, ObjectId, TaskId, Ticket};
use skate_core::value::{Cause, Failure};

use super::told::{Made, Told};

/// One call, or constructor.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) actor: Option<ActorId>,
    pub(crate) name: Arc<str>,
    pub(crate) template: Arc<Template>,
    pub(crate) caller: (ClientId, Option<TaskId>),
    pub(crate) waits: Box<[ObjectId]>,
    pub(crate) parent: Option<TaskId>,
    pub(crate) published: u64,
    pub(crate) taken: u64,
    pub(crate) attempt: u32,
    pub(crate) retries: i32,
    pub(crate) start_failures: u32,
    pub(crate) cancelled: bool,
    pub(crate) place: Option<(ClientId, Ticket)>,
    /// Life and position of the last claim.
    pub(crate) claim: Option<(u32, u32)>,
    pub(crate) claims: u32,
    /// It raised, and runs again: from then on it may come after others.
    pub(crate) is_again: bool,
    /// Once it has ended: the errors that its refs may hold; none if it returned.
    pub(crate) fate: Option<Vec<Told>>,
}

impl Call {
    pub(crate) fn has_ended(&self) -> bool {
        self.fate.is_some()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.fate.as_ref().is_some_and(|errors| !errors.is_empty())
    }

    pub(crate) fn total(&self) -> u64 {
        self.published + u64::from(self.has_failed())
    }

    pub(crate) fn take_retry(&mut self) -> bool {
        let may_retry = !self.cancelled && self.retries != 0;
        if may_retry {
            self.retries -= i32::from(self.retries > 0);
            self.attempt += 1;
        }
        may_retry
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Pending,
    Starting,
    Alive,
    Dead,
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
    /// Once dead: why, or the error of its constructor.
    pub(crate) end: Option<Result<Cause, Vec<Told>>>,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) calls: BTreeMap<TaskId, Call>,
    pub(crate) actors: BTreeMap<ActorId, Actor>,
    pub(crate) values: BTreeMap<ObjectId, Made>,
    /// In the order in which the node heard of them.
    pub(crate) order: Vec<TaskId>,
    /// Ended by the event that is heard, through others.
    pub(crate) heirs: Vec<TaskId>,
}

impl Model {
    fn enter(&mut self, submit: &Submit, template: &Arc<Template>, is_shared: bool) {
        let call = Call {
            actor: submit.actor,
            name: submit.name.clone().unwrap(),
            template: Arc::clone(template),
            caller: (submit.task.client(), submit.parent.filter(|_| is_shared)),
            waits: submit.waits.clone(),
            parent: submit.parent,
            published: 0,
            taken: 0,
            attempt: 0,
            retries: template.max_retries,
            start_failures: 0,
            cancelled: false,
            place: None,
            claim: None,
            claims: 0,
            is_again: false,
            fate: None,
        };
        self.calls.insert(submit.task, call);
        self.order.push(submit.task);
    }

    /// `is_shared`: the client runs tasks for anybody, each of which is a caller by itself.
    pub(crate) fn submitted(&mut self, submit: &Submit, template: &Arc<Template>, is_shared: bool) {
        self.enter(submit, template, is_shared);
        let mut errors = Vec::new();
        if let Some(actor) = submit.actor
            && self.actors[&actor].stage == Stage::Dead
        {
            errors.extend(self.epitaph(actor, submit.task));
        }
        errors.extend(submit.waits.iter().flat_map(|id| self.errors_of(*id)));
        if !errors.is_empty() {
            self.end(submit.task, errors);
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
        let errors: Vec<Told> =
            creation.submit.waits.iter().flat_map(|id| self.errors_of(*id)).collect();
        if !errors.is_empty() {
            self.die(id, Err(errors));
        }
    }

    /// The errors that an object may hold; none if it holds a value, or nothing yet.
    pub(crate) fn errors_of(&self, id: ObjectId) -> Vec<Told> {
        if self.values.contains_key(&id) {
            return Vec::new();
        }
        self.calls[&id.task].fate.clone().unwrap_or_default()
    }

    /// A dispatch leaves the node; it must say what the call's history says.
    pub(crate) fn dispatched(&mut self, worker: ClientId, run: &Run) {
        for (id, value) in &run.resolved {
            self.verify(*id, &Told::of(value));
            assert!(!value.is_error(), "{:?} starts with a failed argument", run.task);
        }
        let call = self.calls.get_mut(&run.task).unwrap();
        assert!(call.fate.is_none(), "{:?} starts after its end", run.task);
        assert_eq!(call.place, None, "{:?} is dispatched twice", run.task);
        assert!(!call.cancelled, "{:?} starts although it was cancelled", run.task);
        assert_eq!(run.attempt, call.attempt, "attempt of {:?}", run.task);
        assert_eq!(run.skip, call.published, "items that {:?} skips", run.task);
        assert_eq!(run.resolved.len(), call.waits.len(), "arguments of {:?}", run.task);
        call.place = Some((worker, run.ticket));
        let Some(id) = call.actor else { return };
        let actor = self.actors.get_mut(&id).unwrap();
        if id.0 == run.task {
            assert_eq!((actor.stage, actor.worker), (Stage::Pending, None), "start of {id:?}");
            (actor.stage, actor.worker) = (Stage::Starting, Some(worker));
        } else {
            assert_eq!(
                (actor.stage, actor.worker),
                (Stage::Alive, Some(worker)),
                "{id:?} is called"
            );
        }
    }

    /// A worker starts on a dispatch: the order must be that of its caller.
    pub(crate) fn claimed(&mut self, id: TaskId, position: u32) {
        let call = &self.calls[&id];
        let life = call.actor.map_or(0, |actor| self.actors[&actor].life);
        if let Some(actor) = call.actor.filter(|actor| actor.0 != id)
            && self.actors[&actor].creation.order == Order::Submission
        {
            let earlier = self.order.iter().take_while(|other| **other != id);
            for other in earlier {
                let before = &self.calls[other];
                if (before.actor, before.caller) == (Some(actor), call.caller) && *other != actor.0
                {
                    let has_begun = before.claim.is_some_and(|(of, _)| of == life);
                    assert!(
                        before.has_ended() || has_begun || before.is_again || call.is_again,
                        "{id:?} of {:?} overtakes {other:?}",
                        call.caller
                    );
                }
            }
        }
        let call = self.calls.get_mut(&id).unwrap();
        call.claim = Some((life, position));
        call.claims += 1;
        let most = call.template.max_retries;
        let is_constructor = call.actor == Some(ActorId(id));
        assert!(
            is_constructor || most < 0 || call.claims <= most.cast_unsigned() + 1,
            "{id:?} starts too often"
        );
    }

    /// Who works on what a worker speaks of.
    pub(crate) fn task_of(&self, worker: ClientId, ticket: Ticket) -> TaskId {
        let mut calls = self.calls.iter();
        *calls.find(|(_, call)| call.place == Some((worker, ticket))).unwrap().0
    }

    pub(crate) fn made(&mut self, object: ObjectId, value: &skate_core::value::Value) {
        let Told::Made(made) = Told::of(value) else { panic!("{object:?} is {value:?}") };
        self.check_origin(object.task, made);
        self.values.insert(object, made);
    }

    fn check_origin(&self, id: TaskId, made: Made) {
        let call = &self.calls[&id];
        assert_eq!(made.task, id);
        if call.actor.is_some() {
            assert_eq!(call.claim, Some((made.life, made.position)), "state seen by {id:?}");
        }
    }

    pub(crate) fn yielded(&mut self, id: TaskId, index: u64, value: &skate_core::value::Value) {
        self.made(id.item(index), value);
        let call = self.calls.get_mut(&id).unwrap();
        assert_eq!(index, call.published, "{id:?} yields in order");
        call.published = index + 1;
    }

    pub(crate) fn finished(&mut self, id: TaskId, outcome: &Outcome) {
        let call = self.calls.get_mut(&id).unwrap();
        call.place = None;
        let (actor, published) = (call.actor, call.published);
        let task_name = Arc::clone(&call.name);
        if let Some(actor) = actor.filter(|actor| actor.0 == id) {
            return self.constructed(actor, outcome);
        }
        match &outcome.end {
            End::Returned(values) => {
                for (index, (value, _)) in values.iter().enumerate() {
                    self.made(id.item(index as u64), value);
                }
                self.end(id, Vec::new());
            }
            End::Exhausted(yielded, ..) if *yielded < published => {
                let failure =
                    Failure::ReplayInconsistent { task_name, yielded: *yielded, published };
                self.end(id, vec![Told::Failed(failure)]);
            }
            End::Exhausted(..) => self.end(id, Vec::new()),
            End::Raised { error, retry, .. } => {
                if *retry && self.calls.get_mut(&id).unwrap().take_retry() {
                    self.calls.get_mut(&id).unwrap().is_again = true;
                    return self.fail_if_dead(id);
                }
                let Told::Made(made) = Told::of(error) else { unreachable!() };
                self.check_origin(id, made);
                self.end(id, vec![Told::Made(made)]);
            }
            End::Cancelled => self.end(id, vec![self.cancellation(id)]),
            End::Left(leave) => {
                let actor = actor.unwrap();
                self.die(actor, Ok(Cause::Left(*leave)));
                self.fail_if_dead(id);
            }
        }
    }

    /// A dispatch was taken back.
    pub(crate) fn revoked(&mut self, worker: ClientId, ticket: Ticket) {
        let id = self.task_of(worker, ticket);
        let call = self.calls.get_mut(&id).unwrap();
        call.place = None;
        if call.cancelled {
            self.end(id, vec![self.cancellation(id)]);
        } else if call.actor == Some(ActorId(id)) {
            call.fate = Some(Vec::new());
        } else {
            self.fail_if_dead(id);
        }
    }

    pub(crate) fn is_ready(&self, id: ObjectId) -> bool {
        self.values.contains_key(&id) || self.calls[&id.task].has_ended()
    }

    pub(crate) fn is_stream_ready(&self, id: TaskId) -> bool {
        let call = &self.calls[&id];
        call.taken < call.total() || call.has_ended()
    }

    /// What a reader found must be what was made, or one of the errors that it can be.
    pub(crate) fn verify(&self, id: ObjectId, told: &Told) {
        assert!(self.is_ready(id), "{id:?} is not ready");
        if let Some(made) = self.values.get(&id) {
            assert_eq!(*told, Told::Made(*made), "value of {id:?}");
        } else {
            let errors = self.errors_of(id);
            assert!(errors.contains(told), "{id:?} holds {told:?}, not one of {errors:?}");
        }
    }

    pub(crate) fn took(&mut self, id: TaskId, item: ObjectId) {
        let call = self.calls.get_mut(&id).unwrap();
        assert_eq!(item, id.item(call.taken), "the item after those taken before");
        assert!(call.taken < call.total(), "{item:?} is given before it was made");
        call.taken += 1;
    }

    pub(crate) fn verify_end_of(&self, id: TaskId) {
        let call = &self.calls[&id];
        assert!(call.has_ended() && call.taken == call.total(), "items of {id:?} were lost");
    }

    pub(crate) fn taken(&self, id: TaskId) -> u64 {
        self.calls[&id].taken
    }

    pub(crate) fn calls_under_way(&self, client: ClientId, actor: ActorId) -> u64 {
        let of = |(id, call): &(&TaskId, &Call)| {
            call.actor == Some(actor) && id.client() == client && **id != actor.0
        };
        self.calls.iter().filter(of).filter(|(_, call)| !call.has_ended()).count() as u64
    }

    /// Whether a call that no process has waits for a reason: its own arguments, or those of one
    /// before it.
    pub(crate) fn is_held_up(&self, id: TaskId) -> bool {
        let call = &self.calls[&id];
        let lacks = |call: &Call| call.waits.iter().any(|id| !self.is_ready(*id));
        let Some(actor) = call.actor else { return lacks(call) };
        let row = &self.actors[&actor];
        let before = self.order.iter().take_while(|other| **other != id).filter(|other| {
            let other = &self.calls[*other];
            (other.actor, other.caller) == (Some(actor), call.caller) && !other.has_ended()
        });
        let is_behind = row.creation.order == Order::Submission
            && before.clone().any(|other| lacks(&self.calls[other]));
        lacks(call) || is_behind || row.stage != Stage::Alive
    }

    pub(crate) fn returns(&self, id: TaskId) -> Returns {
        self.calls[&id].template.returns
    }
}
