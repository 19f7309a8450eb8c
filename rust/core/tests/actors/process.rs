//! A process: the driver, a worker that runs functions, or an actor's.
//!
//! ```text
//!   Run ─▶ its lane ─claim, if the lane has room─▶ execution: (act ┊ yield)* ─▶ Finished
//!                                                     └ any of them: asleep ─▶ awake
//! ```
//!
//! Invariants: messages leave in the order in which they were made, and a process never speaks of what
//! it does not hold. An actor's process begins the calls of a lane in the order of its ring, at most
//! as many at once as the lane allows.

use std::collections::{BTreeMap, VecDeque};

use skate_core::action::{Reply, Run};
use skate_core::event::{End, Held, Leave, Outcome, Request, Returns};
use skate_core::id::{ActorId, ClientId, RequestId, Ticket};
use skate_core::value::{NONE, Payload, Value};

use super::acts::Shared;
use super::program::{Callable, Plan, PlannedEnd};
use super::told::{Made, Told};

/// A message from the node that waits to be read.
pub(crate) enum Letter {
    Run(Box<Run>),
    Reply(RequestId, Reply),
    Leave,
}

/// Where a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Birth {
    /// Asked for.
    Ordered,
    /// It runs, which the node may not know yet.
    Forked,
    /// It runs, and the node was told.
    Reported,
}

/// A claim slot: the words that node and worker share.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) claim: Claim,
    pub(crate) credit: u64,
    pub(crate) is_dropped: bool,
    pub(crate) is_cancelled: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Claim {
    #[default]
    Queued,
    Started,
    Revoked,
}

/// Whether a process is about to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    No,
    /// The node has asked: it does to the end what it has begun.
    Asked,
    /// Its own code has ended it: what else it runs is abandoned.
    ByItself,
}

/// A question that is not answered, and the handles that it needs.
pub(crate) struct Asked {
    pub(crate) question: Request,
    pub(crate) keeps: Vec<Held>,
    pub(crate) is_answered: bool,
}

/// One claimed call.
pub(crate) struct Execution {
    pub(crate) run: Box<Run>,
    pub(crate) callable: Callable,
    pub(crate) plan: Plan,
    life: u32,
    pub(crate) position: u32,
    pub(crate) yielded: u64,
    acts_left: u64,
    /// Goes on when so many items were taken.
    pub(crate) paused_until: Option<u64>,
}

/// One process.
pub(crate) struct Process {
    pub(crate) id: ClientId,
    pub(crate) birth: Birth,
    pub(crate) outbox: VecDeque<Request>,
    /// So many of these were sent before the last claim.
    pub(crate) settled: usize,
    pub(crate) inbox: VecDeque<Letter>,
    pub(crate) asked: BTreeMap<RequestId, Asked>,
    pub(crate) handles: Vec<Held>,
    counter: u64,
    pub(crate) slots: BTreeMap<Ticket, Slot>,
    /// Whose process it is, once it has claimed the constructor, and the limits of its lanes.
    pub(crate) actor: Option<(ActorId, Box<[u32]>)>,
    life: u32,
    position: u32,
    /// GPUs that it was told of, by what it runs.
    pub(crate) devices: Box<[u32]>,
    pub(crate) runs: Vec<VecDeque<Box<Run>>>,
    pub(crate) executions: Vec<Execution>,
    /// It has told that all its calls sleep.
    pub(crate) is_asleep: bool,
    /// It slept once, and its CPU may be lent still.
    pub(crate) has_slept: bool,
    pub(crate) leaving: Leaving,
}

/// What a turn of a worker came to.
pub(crate) enum Did {
    Nothing,
    /// It has claimed this call, which has this place in its life.
    Claimed(Ticket, u32),
    /// Its process ends.
    Died,
}

impl Process {
    pub(crate) fn new(id: ClientId) -> Self {
        Self {
            id,
            birth: Birth::Ordered,
            outbox: VecDeque::new(),
            settled: 0,
            inbox: VecDeque::new(),
            asked: BTreeMap::new(),
            handles: Vec::new(),
            counter: 0,
            slots: BTreeMap::new(),
            actor: None,
            life: 0,
            position: 0,
            devices: Box::default(),
            runs: vec![VecDeque::new(); 2],
            executions: Vec::new(),
            is_asleep: false,
            has_slept: false,
            leaving: Leaving::No,
        }
    }

    pub(crate) fn send(&mut self, request: Request) {
        self.outbox.push_back(request);
    }

    pub(crate) fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(crate) fn hold(&mut self, held: Held) {
        self.send(Request::Hold(held));
        self.handles.push(held);
    }

    pub(crate) fn ask(&mut self, keeps: Vec<Held>, question: impl FnOnce(RequestId) -> Request) {
        let id = RequestId(self.count());
        let question = question(id);
        self.send(question.clone());
        self.asked.insert(id, Asked { question, keeps, is_answered: false });
    }

    /// Lets go of one handle; false if it has none.
    pub(crate) fn release_one(&mut self, shared: &mut Shared) -> bool {
        if self.handles.is_empty() {
            return false;
        }
        let place = shared.random.place(self.handles.len());
        let held = self.handles.swap_remove(place);
        self.send(Request::Release(held));
        true
    }

    /// The lane that may begin its next call.
    fn startable(&self) -> Option<usize> {
        if self.leaving != Leaving::No || self.is_asleep && self.actor.is_none() {
            return None;
        }
        let has_room = |lane: usize| {
            let limit = self.actor.as_ref().map_or(1, |(_, limits)| limits[lane]);
            let of_lane = |execution: &&Execution| execution.lane() == lane;
            self.executions.iter().filter(of_lane).count() < limit as usize
        };
        (0..self.runs.len()).find(|lane| !self.runs[*lane].is_empty() && has_room(*lane))
    }

    fn may_go_on(&self, execution: &Execution) -> bool {
        let slot = &self.slots[&execution.run.ticket];
        execution.paused_until.is_none_or(|until| slot.credit >= until) || slot.is_dropped
    }

    /// Whether its next turn would do anything.
    pub(crate) fn can_step(&self, is_over: bool) -> bool {
        self.birth != Birth::Ordered
            && (!self.inbox.is_empty()
                || self.startable().is_some()
                || self.leaving == Leaving::ByItself
                || self.executions.iter().any(|execution| self.may_go_on(execution))
                || self.leaving == Leaving::Asked && self.executions.is_empty()
                || is_over && !self.handles.is_empty())
    }

    /// A worker's turn.
    pub(crate) fn step(&mut self, is_over: bool, shared: &mut Shared) -> Did {
        if !self.inbox.is_empty() && shared.random.chance(50) {
            match self.inbox.pop_front().unwrap() {
                Letter::Run(run) => {
                    let lane = shared.callable(run.template).template.lane as usize;
                    self.runs[lane].push_back(run);
                }
                Letter::Reply(id, reply) => self.receive(id, reply, shared),
                Letter::Leave if self.leaving == Leaving::ByItself => {}
                Letter::Leave => self.leaving = Leaving::Asked,
            }
            return Did::Nothing;
        }
        if self.leaving == Leaving::ByItself {
            return Did::Died;
        }
        if let Some(lane) = self.startable().filter(|_| shared.random.chance(60)) {
            let run = self.runs[lane].pop_front().unwrap();
            let slot = self.slots.get_mut(&run.ticket).unwrap();
            if slot.claim == Claim::Queued {
                slot.claim = Claim::Started;
                return self.begin(run, shared);
            }
        }
        if self.leaving == Leaving::Asked && self.executions.is_empty() && self.inbox.is_empty() {
            return Did::Died;
        }
        if is_over {
            self.release_one(shared);
        }
        let able: Vec<usize> = (0..self.executions.len())
            .filter(|place| self.may_go_on(&self.executions[*place]))
            .collect();
        if able.is_empty() {
            return Did::Nothing;
        }
        if std::mem::take(&mut self.is_asleep) {
            let ticket = self.executions[0].run.ticket;
            self.send(Request::Resumed(ticket));
            return Did::Nothing;
        }
        if !is_over && shared.random.chance(5) {
            self.is_asleep = true;
            self.has_slept = true;
            let ticket = shared.random.pick(&able);
            self.send(Request::Blocked(self.executions[ticket].run.ticket));
            return Did::Nothing;
        }
        self.step_body(shared.random.pick(&able), shared)
    }

    fn begin(&mut self, run: Box<Run>, shared: &mut Shared) -> Did {
        self.settled = self.outbox.len();
        let callable = shared.callable(run.template).clone();
        let plans = &shared.plans[&run.task];
        let plan = plans[(run.attempt as usize).min(plans.len() - 1)];
        if let Some(limits) = shared.lanes_of.get(&run.task) {
            self.actor = Some((ActorId(run.task), limits.clone()));
            self.life = run.attempt;
        }
        self.position += 1;
        self.devices.clone_from(&run.devices);
        for held in &shared.holds_of[&run.task] {
            if shared.random.chance(50) {
                self.send(Request::Hold(*held));
                self.handles.push(*held);
            }
        }
        let ticket = run.ticket;
        if std::mem::take(&mut self.is_asleep) {
            self.send(Request::Resumed(ticket));
        }
        self.executions.push(Execution {
            run,
            callable,
            plan,
            life: self.life,
            position: self.position,
            yielded: 0,
            acts_left: shared.random.below(4),
            paused_until: None,
        });
        Did::Claimed(ticket, self.position)
    }

    fn step_body(&mut self, place: usize, shared: &mut Shared) -> Did {
        let execution = &mut self.executions[place];
        let ticket = execution.run.ticket;
        execution.paused_until = None;
        if self.slots[&ticket].is_cancelled && shared.random.chance(30) {
            self.finish(place, End::Cancelled, shared);
        } else if execution.acts_left > 0 && shared.random.chance(50) {
            execution.acts_left -= 1;
            let task = execution.run.task;
            self.act(Some(task), shared);
        } else if execution.callable.is_generator && execution.yielded < execution.plan.yields {
            self.step_generator(place, shared);
        } else {
            match execution.plan.end {
                PlannedEnd::Return => self.finish_well(place, shared),
                PlannedEnd::Raise { retry } => self.finish_raised(place, retry, shared),
                PlannedEnd::Leave(leave) => self.leave(place, leave, shared),
                PlannedEnd::Die => return Did::Died,
            }
        }
        Did::Nothing
    }

    fn step_generator(&mut self, place: usize, shared: &mut Shared) {
        let execution = &self.executions[place];
        let (ticket, yielded, skip) = (execution.run.ticket, execution.yielded, execution.run.skip);
        let template = &execution.callable.template;
        let actor = self.actor.as_ref().map(|(actor, _)| *actor);
        // Who shares a window is told how far to go, one item ahead of that.
        let shared_window = shared.window_of(actor, template.returns).map(|_| 1);
        let window = shared_window.or(template.window.map(u64::from));
        if matches!(template.returns, Returns::Static(count) if yielded >= u64::from(count)) {
            // One too many: its returns are there already.
            return self.exhaust(place, shared);
        }
        if yielded >= skip && !self.slots[&ticket].is_dropped {
            let made = self.made(place, yielded as u32, false, shared);
            self.send(Request::Yielded(ticket, yielded, made.value(), made.held()));
        }
        let execution = &mut self.executions[place];
        execution.yielded += 1;
        let until = window.and_then(|window| (yielded + 2).checked_sub(window));
        execution.paused_until = until.filter(|until| *until > 0);
    }

    fn made(&self, place: usize, number: u32, is_error: bool, shared: &mut Shared) -> Made {
        let execution = &self.executions[place];
        let held: Vec<ActorId> = self.actors_held().collect();
        let holds = (!is_error && !held.is_empty() && shared.random.chance(25))
            .then(|| shared.random.pick(&held));
        Made {
            is_error,
            task: execution.run.task,
            place: number,
            attempt: execution.run.attempt,
            life: execution.life,
            position: execution.position,
            holds,
        }
    }

    pub(crate) fn actors_held(&self) -> impl Iterator<Item = ActorId> {
        self.handles.iter().filter_map(|held| match held {
            Held::Actor(id) => Some(*id),
            _ => None,
        })
    }

    fn exhaust(&mut self, place: usize, shared: &mut Shared) {
        let yielded = self.executions[place].yielded;
        let none = Value::Data(Payload::Inline(NONE.into()));
        self.finish(place, End::Exhausted(yielded, none, Box::default()), shared);
    }

    fn finish_well(&mut self, place: usize, shared: &mut Shared) {
        let execution = &self.executions[place];
        let (callable, yielded) = (&execution.callable, execution.yielded);
        match callable.template.returns {
            Returns::Static(count) if callable.is_generator && yielded < u64::from(count) => {
                self.finish_raised(place, false, shared);
            }
            Returns::Static(count) if !callable.is_generator => {
                let values = (0..count).map(|number| {
                    let made = self.made(place, number, false, shared);
                    (made.value(), made.held())
                });
                let end = End::Returned(values.collect());
                self.finish(place, end, shared);
            }
            _ => self.exhaust(place, shared),
        }
    }

    fn finish_raised(&mut self, place: usize, retry: bool, shared: &mut Shared) {
        let made = self.made(place, 0, true, shared);
        let yielded = self.executions[place].yielded;
        let end = End::Raised { error: made.value(), holds: Box::default(), retry, yielded };
        self.finish(place, end, shared);
    }

    fn leave(&mut self, place: usize, leave: Leave, shared: &mut Shared) {
        self.finish(place, End::Left(leave), shared);
        self.leaving = Leaving::ByItself;
    }

    fn finish(&mut self, place: usize, end: End, shared: &mut Shared) {
        let execution = self.executions.swap_remove(place);
        let ran_ns = shared.random.pick(&[100, 150_000, 5_000_000]);
        let outcome = Outcome { end, began_ns: 0, ran_ns, unhandled: None };
        self.send(Request::Finished(execution.run.ticket, outcome));
        if self.actor.is_none() {
            while self.release_one(shared) && shared.random.chance(80) {}
        }
    }

    /// Reads an answer: its handles are the process's now.
    pub(crate) fn receive(&mut self, id: RequestId, reply: Reply, shared: &mut Shared) {
        let asked = self.asked.remove(&id).unwrap();
        match reply {
            Reply::Values { values, .. } => {
                for value in &values {
                    if let Told::Made(Made { holds: Some(actor), .. }) = Told::of(value)
                        && shared.random.chance(60)
                    {
                        self.hold(Held::Actor(actor));
                    }
                }
            }
            Reply::Item(item) => {
                self.handles.push(Held::Object(item));
                if self.id != ClientId::DRIVER {
                    self.send(Request::Taken(id, None));
                }
            }
            Reply::Actor { actor, is_new, .. } => {
                let held = if is_new { Held::Actor(actor) } else { Held::WeakActor(actor) };
                self.handles.push(held);
            }
            _ => {}
        }
        self.handles.extend(asked.keeps);
    }
}

impl Execution {
    pub(crate) fn lane(&self) -> usize {
        self.callable.template.lane as usize
    }
}
