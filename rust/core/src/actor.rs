//! One actor: an object of a class in a process of its own, from its creation to its end.
//!
//! ```text
//!   Pending ──placed──▶ Starting ──constructor returned──▶ Alive
//!      ▲                 │    │                            │   │
//!      │                 │    └ constructor raised ─┐      │   └ killed, left, or no handle and
//!      └─ process died, starts left ────────────────┼──────┘     no call any more ─┐
//!                                                   ▼                              │
//!                        process died, none left ─▶ Dead ◀─────────────────────────┘
//!                                                    └─ no handle, call or process ─▶ ∅
//! ```
//!
//! An actor's constructor is a task whose id is the actor's; it is made anew for each start, so the
//! actor keeps the arguments while it may be started again. Its process is a worker that runs nothing else and
//! keeps the grant of the actor's resources for life. Who calls it is the subject of call.rs.
//!
//! Invariants: an actor that is Starting or Alive has a process; one that is Pending has its
//! constructor in the table, waiting. Dead is for good: its name is free, calls fail with the cause,
//! and whoever still holds a handle keeps the row, so that every later call can be told why.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::action::{Action, Reply};
use crate::call::{Caller, Lane};
use crate::event::{
    ActorName, AfterKill, Args, Creation, End, Held, Leave, Outcome, Returns, Template,
};
use crate::fate::Fate;
use crate::id::{ActorId, ClientId, TaskId, Ticket};
use crate::node::Node;
use crate::resources::Demand;
use crate::scheduler::{ClassId, MOST_START_FAILURES, Place};
use crate::task::Phase;
use crate::value::{ActorEnd, Cause, Death, Failure, Value};
use crate::worker::{Dispatch, Life};

/// Where an actor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its constructor waits for arguments or resources.
    Pending,
    /// Its process runs the constructor, or is about to.
    Starting,
    /// It takes calls.
    Alive,
    /// It will never take one again.
    Dead,
}

/// What calls of a dead actor fail with.
#[derive(Debug)]
pub(crate) enum Epitaph {
    /// It ended.
    Ended(Arc<ActorEnd>),
    /// Its constructor failed with this error; kept like the value of an object.
    Raised(Value, Box<[Held]>, Option<Arc<Fate>>),
}

/// One actor.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) stage: Stage,
    /// Its process; a dead actor's may still be leaving.
    pub(crate) worker: Option<ClientId>,
    /// How to make it. Its arguments are kept while it may be made again.
    pub(crate) creation: Creation,
    pub(crate) template: Arc<Template>,
    pub(crate) class: ClassId,
    pub(crate) placing: Demand,
    is_warned: bool,
    /// Starts after a crash so far.
    pub(crate) restarts: u32,
    /// ... that are left; below 0 there is no end of them.
    restarts_left: i32,
    /// Processes in a row that did not get as far as the constructor.
    start_failures: u32,
    /// `Held::Actor` anywhere, and one more while it is detached and not dead.
    pub(crate) handles: u32,
    /// `Held::WeakActor` anywhere.
    pub(crate) weak_handles: u32,
    /// Calls in the table, by the client that made them.
    pub(crate) calls: FxHashMap<ClientId, u64>,
    /// Calls whose arguments are there, by concurrency group.
    pub(crate) lanes: Vec<Lane>,
    /// In order of submission: calls that are not in a lane yet.
    pub(crate) callers: FxHashMap<Caller, std::collections::VecDeque<TaskId>>,
    /// In order of readiness: calls that wait for arguments.
    pub(crate) waiting: FxHashSet<TaskId>,
    /// Of its calls, those that share its window.
    pub(crate) streams: Vec<TaskId>,
    /// Once dead.
    pub(crate) epitaph: Option<Epitaph>,
}

impl Actor {
    fn end(&self, id: ActorId, cause: Cause) -> Arc<ActorEnd> {
        Arc::new(ActorEnd {
            actor: id,
            class_name: Arc::clone(&self.template.name),
            name: self.name().cloned(),
            cause,
        })
    }

    pub(crate) fn name(&self) -> Option<&ActorName> {
        self.creation.name.as_ref().map(|(name, _)| name)
    }
}

impl Node {
    /// Makes an actor, unless its name is taken.
    pub(crate) fn create_actor(
        &mut self,
        client: ClientId,
        mut creation: Creation,
        actions: &mut Vec<Action>,
    ) {
        let id = ActorId(creation.submit.task);
        let is_constructor = creation.submit.actor == Some(id) && !creation.lanes.is_empty();
        let is_constructor = is_constructor && !self.actors.contains_key(&id);
        let known = self.known_template(client, &creation.submit);
        let known = known.filter(|(template, _)| template.returns == Returns::Static(0));
        let (true, Some((template, class))) = (is_constructor, known) else {
            return self.violates(client, "it makes what is no actor", actions);
        };
        if let Some((name, request)) = &creation.name {
            if let Some(holder) = self.names.get(name).copied() {
                return self.introduce(client, holder, *request, actions);
            }
            self.names.insert(name.clone(), id);
            let (body, name) = (creation.body.clone(), Some(name.clone()));
            let reply = Reply::Actor { actor: id, body, name, is_new: true };
            actions.push(Action::Reply(client, *request, reply));
        }
        self.admit_arguments(&mut creation.submit, actions);
        let actor = Actor {
            stage: Stage::Pending,
            worker: None,
            template,
            class,
            placing: self.resources.demand(&creation.placing),
            is_warned: false,
            restarts: 0,
            restarts_left: creation.max_restarts,
            start_failures: 0,
            handles: 1 + u32::from(creation.is_detached),
            weak_handles: 0,
            calls: FxHashMap::default(),
            lanes: creation.lanes.iter().map(|limit| Lane::new(*limit)).collect(),
            callers: FxHashMap::default(),
            waiting: FxHashSet::default(),
            streams: Vec::new(),
            epitaph: None,
            creation,
        };
        self.begin_use(actor.creation.submit.template);
        self.actors.insert(id, actor);
        self.enter(client, Held::Actor(id));
        self.begin_start(id, actions);
    }

    /// Tells a client of an actor that has a name.
    pub(crate) fn introduce(
        &mut self,
        client: ClientId,
        id: ActorId,
        request: crate::id::RequestId,
        actions: &mut Vec<Action>,
    ) {
        self.hand_out(client, Held::WeakActor(id));
        let row = &self.actors[&id];
        let (body, name) = (row.creation.body.clone(), row.name().cloned());
        let reply = Reply::Actor { actor: id, body, name, is_new: false };
        actions.push(Action::Reply(client, request, reply));
    }

    /// Answers a question for the actor of that name.
    pub(crate) fn find_actor(
        &mut self,
        client: ClientId,
        request: crate::id::RequestId,
        name: ActorName,
        actions: &mut Vec<Action>,
    ) {
        if let Some(id) = self.names.get(&name).copied() {
            return self.introduce(client, id, request, actions);
        }
        let reply = Reply::Failed(Failure::NoSuchActor(name));
        actions.push(Action::Reply(client, request, reply));
    }

    /// Has the constructor run as soon as it can.
    fn begin_start(&mut self, id: ActorId, actions: &mut Vec<Action>) {
        let actor = &self.actors[&id];
        let submit = actor.creation.submit.clone();
        let (template, class, restarts) =
            (Arc::clone(&actor.template), actor.class, actor.restarts);
        self.keep_arguments(&submit);
        self.enqueue(submit, template, class, restarts, actions);
    }

    /// The constructor's arguments are there.
    pub(crate) fn constructor_to_ready(&mut self, id: ActorId, actions: &mut Vec<Action>) {
        if self.actors[&id].stage == Stage::Dead {
            return self.remove_task(id.0, actions);
        }
        if self.classes[self.actors[&id].class as usize].is_removed {
            return self.end_actor(id, Cause::GroupRemoved, actions);
        }
        self.unplaced.push_back(id);
        self.place_actors(actions);
    }

    /// Gives actors their resources and a process, the oldest first; one that does not fit lets
    /// others pass.
    pub(crate) fn place_actors(&mut self, actions: &mut Vec<Action>) {
        let mut place = 0;
        while let Some(id) = self.unplaced.get(place).copied() {
            let is_pending = self.actors.get(&id).is_some_and(|row| row.stage == Stage::Pending);
            if !is_pending {
                self.unplaced.remove(place);
                continue;
            }
            let row = &self.actors[&id];
            let demand = &self.classes[row.class as usize].demand;
            let mut missing = self.resources.missing(demand);
            missing.extend(self.resources.missing(&row.placing));
            if !missing.is_empty() {
                self.unplaced.remove(place);
                self.unplaceable.push(id);
                let task_name = self.tasks[&id.0].name();
                let is_promised = missing.iter().any(|(name, ..)| self.is_of_waiting_group(name));
                let row = self.actors.get_mut(&id).expect("looked up just now");
                if !is_promised && !std::mem::replace(&mut row.is_warned, true) {
                    actions.push(Action::Infeasible { task_name, missing });
                }
            } else if self.resources.fits(demand) {
                self.unplaced.remove(place);
                self.pending_to_starting(id, actions);
            } else {
                place += 1;
            }
        }
    }

    fn pending_to_starting(&mut self, id: ActorId, actions: &mut Vec<Action>) {
        let worker = self.worker_for_actor(id, actions);
        let row = self.actors.get_mut(&id).expect("the caller has it");
        row.stage = Stage::Starting;
        row.worker = Some(worker);
        let class = row.class;
        let devices = self.resources.take(&self.classes[class as usize].demand);
        let process = self.worker(worker);
        process.grant = Some(class);
        process.devices = devices;
        self.ready_to_dispatched(id.0, worker, actions);
    }

    /// A constructor has come to an end, of whatever kind.
    pub(crate) fn constructor_ended(
        &mut self,
        id: ActorId,
        outcome: Outcome,
        actions: &mut Vec<Action>,
    ) {
        let fate = match &outcome.end {
            End::Raised { error, .. } => self.fate_of(id.0, error),
            _ => None,
        };
        self.remove_task(id.0, actions);
        match outcome.end {
            End::Returned(_) | End::Exhausted(..) => {
                let row = self.actors.get_mut(&id).expect("it has a constructor");
                if row.stage == Stage::Starting {
                    row.stage = Stage::Alive;
                    row.start_failures = 0;
                    if row.restarts_left == 0 {
                        self.drop_creation_arguments(id, actions);
                    }
                    self.ending.push(id);
                    self.serve_actor(id, actions);
                }
            }
            End::Raised { error, holds, .. } => {
                self.constructor_failed(id, error, &holds, fate, actions);
            }
            End::Left(leave) => self.actor_left(id, leave, actions),
            End::Cancelled(_) => self.actor_left(id, Leave::ExitActor, actions),
        }
    }

    /// The constructor raised, or one of its arguments is an error.
    pub(crate) fn constructor_failed(
        &mut self,
        id: ActorId,
        error: Value,
        contains: &[Held],
        fate: Option<Arc<Fate>>,
        actions: &mut Vec<Action>,
    ) {
        if self.actors[&id].stage == Stage::Dead {
            return;
        }
        let error = error.of_constructor(id);
        if let Some(block) = error.block() {
            self.store.adopt(block, None);
        }
        for held in contains {
            self.keep(*held);
        }
        self.die(id, Epitaph::Raised(error, contains.into(), fate), actions);
        self.retire_process(id, actions);
    }

    /// Its own code ended it; the process leaves by itself.
    pub(crate) fn actor_left(&mut self, id: ActorId, leave: Leave, actions: &mut Vec<Action>) {
        if self.actors[&id].stage != Stage::Dead {
            let end = self.actors[&id].end(id, Cause::Left(leave));
            self.die(id, Epitaph::Ended(end), actions);
        }
        self.retire_process(id, actions);
    }

    /// By hand.
    pub(crate) fn kill_actor(&mut self, id: ActorId, after: AfterKill, actions: &mut Vec<Action>) {
        match after {
            AfterKill::Dead => self.end_actor(id, Cause::Killed, actions),
            AfterKill::MayRestart => self.kill_process(id, actions),
        }
    }

    /// Makes it dead now, for that reason.
    pub(crate) fn end_actor(&mut self, id: ActorId, cause: Cause, actions: &mut Vec<Action>) {
        if let Some(row) = self.actors.get(&id)
            && row.stage != Stage::Dead
        {
            let end = row.end(id, cause);
            self.die(id, Epitaph::Ended(end), actions);
        }
        self.kill_process(id, actions);
    }

    fn kill_process(&mut self, id: ActorId, actions: &mut Vec<Action>) {
        let worker = self.actors.get(&id).and_then(|row| row.worker);
        if let Some(worker) = worker {
            self.kill(worker, Life::Killed, "its actor was killed", actions);
        }
    }

    fn retire_process(&mut self, id: ActorId, actions: &mut Vec<Action>) {
        if let Some(worker) = self.actors[&id].worker
            && let row = self.worker(worker)
            && row.is_staying()
        {
            row.life = Life::Leaving;
            actions.push(Action::Retire(worker));
        }
    }

    /// From here on nothing of it runs. Calls that its process has not begun fail now; the others
    /// when they end, or with the process.
    fn die(&mut self, id: ActorId, epitaph: Epitaph, actions: &mut Vec<Action>) {
        let row = self.actors.get_mut(&id).expect("the caller has it");
        row.stage = Stage::Dead;
        row.epitaph = Some(epitaph);
        row.handles -= u32::from(row.creation.is_detached);
        let worker = row.worker;
        let mut calls: Vec<TaskId> = Vec::new();
        for lane in &mut row.lanes {
            calls.extend(lane.queue.drain(..));
        }
        calls.extend(row.callers.drain().flat_map(|(_, queue)| queue));
        calls.extend(row.waiting.drain());
        if let Some((name, _)) = &row.creation.name {
            self.names.remove(name);
        }
        self.drop_creation_arguments(id, actions);
        for call in calls {
            self.fail_call(call, actions);
        }
        let is_waiting = |task: &crate::task::Task| !matches!(task.phase, Phase::Dispatched(..));
        if self.tasks.get(&id.0).is_some_and(is_waiting) {
            self.remove_task(id.0, actions);
        }
        if let Some(worker) = worker {
            self.take_back(worker, 0, actions);
        }
        self.ending.push(id);
    }

    /// Its process is gone, with what was in its ring.
    pub(crate) fn actor_lost(
        &mut self,
        id: ActorId,
        worker: ClientId,
        queue: &[Dispatch],
        started: &[Ticket],
        death: &Death,
        actions: &mut Vec<Action>,
    ) {
        let row = self.actors.get_mut(&id).expect("a process's actor is in the table");
        row.worker = None;
        row.lanes.iter_mut().for_each(|lane| lane.under_way = 0);
        let has_begun = row.stage != Stage::Starting
            || queue.iter().any(|dispatch| started.contains(&dispatch.ticket));
        if row.stage != Stage::Dead {
            row.start_failures = if has_begun { 0 } else { row.start_failures + 1 };
            if !has_begun && row.start_failures >= MOST_START_FAILURES {
                let end = row.end(id, Cause::NotStarted(death.clone()));
                self.die(id, Epitaph::Ended(end), actions);
            } else if has_begun && row.restarts_left == 0 {
                let end = row.end(id, Cause::Crashed(death.clone()));
                self.die(id, Epitaph::Ended(end), actions);
            } else if has_begun {
                row.restarts += 1;
                row.restarts_left -= i32::from(row.restarts_left > 0);
            }
        }
        self.ending.push(id);
        let row = self.actors.get_mut(&id).expect("dead or not, it is in the table");
        if row.stage == Stage::Dead {
            for dispatch in queue {
                if dispatch.task == id.0 {
                    self.remove_task(id.0, actions);
                } else {
                    self.fail_call(dispatch.task, actions);
                }
            }
            return;
        }
        row.stage = Stage::Pending;
        let end = row.end(id, Cause::Crashed(death.clone()));
        // From the back, so that each goes to the front of its queue and the order stays.
        for dispatch in queue.iter().rev() {
            let call = dispatch.task;
            if call == id.0 {
                self.remove_task(call, actions);
                continue;
            }
            let has_started = started.contains(&dispatch.ticket);
            let task = self.tasks.get_mut(&call).expect("a dispatched task is in the table");
            if task.cancel.is_some() {
                self.fail_cancelled(call, actions);
            } else if task.is_closing && !has_started {
                self.end_unstarted(call, actions);
            } else if has_started && !task.take_retry() {
                let task_name = task.name();
                let failure = Failure::ActorUnavailable { task_name, actor: Arc::clone(&end) };
                self.fail(call, failure.into(), &[], actions);
            } else {
                if has_started {
                    let fault = ("WORKER_DIED", Some(death.to_string().into()));
                    self.history.retry(call, task, worker, fault, self.now_ns);
                }
                self.waiting_to_ready(call, Place::Front, actions);
            }
        }
        self.begin_start(id, actions);
    }

    /// Ends actors that nobody can call any more, and forgets the dead that nobody holds.
    pub(crate) fn end_actors(&mut self, actions: &mut Vec<Action>) {
        while let Some(id) = self.ending.pop() {
            let Some(row) = self.actors.get(&id) else { continue };
            if row.handles > 0 || !row.calls.is_empty() {
                continue;
            }
            match row.stage {
                // Let it come: it ends when the constructor has.
                Stage::Starting => {}
                Stage::Pending | Stage::Alive => {
                    let end = row.end(id, Cause::OutOfScope);
                    self.die(id, Epitaph::Ended(end), actions);
                    self.retire_process(id, actions);
                }
                Stage::Dead if row.worker.is_some() || row.weak_handles > 0 => {}
                Stage::Dead => {
                    let mut row = self.actors.remove(&id).expect("looked up just now");
                    self.end_use(row.creation.submit.template);
                    let epitaph = row.epitaph.take();
                    if let Some(Epitaph::Ended(end)) = &epitaph {
                        row.epitaph = Some(Epitaph::Ended(Arc::clone(end)));
                    }
                    self.history.bury(id, row);
                    if let Some(Epitaph::Raised(error, contains, fate)) = epitaph {
                        if let Some(block) = error.block() {
                            self.store.release(block, None);
                        }
                        Self::drop_fate(fate, error, actions);
                        for held in contains {
                            self.let_go(held, actions);
                        }
                    }
                }
            }
        }
    }

    /// It will not be made again: what its constructor got may go.
    fn drop_creation_arguments(&mut self, id: ActorId, actions: &mut Vec<Action>) {
        let row = self.actors.get_mut(&id).expect("the caller has it");
        let submit = row.creation.submit.clone();
        let kept = &mut row.creation.submit;
        (kept.waits, kept.holds) = (Box::default(), Box::default());
        kept.args = Args::Inline((&[][..]).into());
        self.let_go_arguments(&submit, actions);
    }

    pub(crate) fn let_go_arguments(
        &mut self,
        submit: &crate::event::Submit,
        actions: &mut Vec<Action>,
    ) {
        for argument in &submit.waits {
            self.let_go_object(*argument);
        }
        if let Args::Stored(args) = submit.args {
            self.let_go_object(args);
        }
        for held in &submit.holds {
            self.let_go(*held, actions);
        }
    }
}
