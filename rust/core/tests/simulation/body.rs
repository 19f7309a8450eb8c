//! A worker's calls: it claims a dispatch, plays its plan, reports.
//!
//! ```text
//!   Run ─▶ its lane ─claim, if the lane has room─▶ body ─▶ (act ┊ yield)* ─▶ Finished
//!                                 an act may wait, a yield may pause ─┐
//!              all calls of the process sleep: Blocked … one goes on: Resumed
//! ```
//!
//! Invariants: it says what `execute.rs` of the binding would say: one `Finished` for each claim it
//! survives, items from `skip` on, none that nobody can read. An actor's process begins the calls of
//! a lane in the order of its ring, at most as many at once as the lane allows; any other process has
//! one lane of one.

use skate_core::action::Run;
use skate_core::event::{End, Held, Request, Returns};
use skate_core::id::{ActorId, ObjectId, TaskId, Ticket};
use skate_core::value::{Payload, Value};

use super::client::Client;
use super::content::{Content, Origin};
use super::program::{Callable, Plan, PlannedEnd};
use super::shared::{Birth, Claim, Leaving, Letter, Shared};

/// Of every process here.
const PID: u32 = 1;

/// One claimed call.
#[derive(Debug)]
pub(crate) struct Execution {
    pub(crate) run: Box<Run>,
    pub(crate) callable: Callable,
    pub(crate) plan: Plan,
    pub(crate) origin: Origin,
    /// Items of this attempt, those skipped included.
    pub(crate) yielded: u64,
    /// Bytes of items, as its window counts them.
    pub(crate) stored_bytes: u64,
    /// Made, and waits for room in a window of bytes.
    pub(crate) item: Option<Content>,
    /// Things that it still does besides.
    pub(crate) acts_left: u64,
    /// The stream of which it has read an item, and reads the next one.
    pub(crate) reads_on: Option<TaskId>,
    pub(crate) pause: Option<Pause>,
    pub(crate) handles: Vec<Held>,
    /// Contents of the arguments when it began.
    pub(crate) arguments: Vec<(Option<ObjectId>, Value, Content)>,
}

/// What a producer waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pause {
    /// So many items have been taken.
    Items(u64),
    /// An item of that size fits.
    Bytes(u64),
}

/// What a turn of a worker came to.
pub(crate) enum Did {
    Nothing,
    /// It has claimed this call, which has this place in its life.
    Claimed(Ticket, u32),
    /// Its process ends.
    Died,
}

impl Execution {
    pub(crate) fn lane(&self) -> usize {
        self.callable.template.lane as usize
    }
}

impl Client {
    /// The lane that may begin its next call.
    fn startable(&self) -> Option<usize> {
        if self.leaving == Leaving::ByItself {
            return None;
        }
        let has_room = |lane: usize| {
            let limit = self.actor.as_ref().map_or(1, |(_, limits)| limits[lane]);
            let of_lane = |execution: &&Execution| execution.lane() == lane;
            self.executions.iter().filter(of_lane).count() < limit as usize
        };
        (0..self.runs.len()).find(|lane| !self.runs[*lane].is_empty() && has_room(*lane))
    }

    /// Whether a paused producer has credit, or no reader.
    pub(crate) fn may_go_on(&self, execution: &Execution) -> bool {
        let slot = &self.slots[&execution.run.ticket];
        let has_credit = match execution.pause {
            None => true,
            Some(Pause::Items(until)) => slot.credit >= until,
            Some(Pause::Bytes(need)) => {
                let limit = execution.callable.template.window_bytes.unwrap();
                let unread = execution.stored_bytes.saturating_sub(slot.credit_bytes);
                unread == 0 || unread + need <= limit
            }
        };
        has_credit || slot.is_dropped || slot.is_closed
    }

    fn is_awake(&self, execution: &Execution) -> bool {
        !self.is_waiting(execution.run.ticket) && self.may_go_on(execution)
    }

    /// Cancelled in a call that waits.
    fn must_give_up(&self, execution: &Execution) -> bool {
        let ticket = execution.run.ticket;
        self.slots[&ticket].is_cancelled && self.can_give_up(ticket)
    }

    /// Whether its next turn would do anything, now that the program is in that state.
    pub(crate) fn can_step(&self, is_over: bool) -> bool {
        if self.birth == Birth::Ordered {
            return false;
        }
        let is_free = self.executions.is_empty();
        let can_sleep = !is_free && !self.is_asleep;
        !self.inbox.is_empty()
            || !self.ahead.is_empty()
            || (is_over && !(self.kept.is_empty() && self.views.is_empty()))
            || self.leaving == Leaving::ByItself
            || self.startable().is_some()
            || can_sleep
            || is_free && (self.leaving == Leaving::Asked || is_over && self.holds_anything())
            || self.executions.iter().any(|each| self.is_awake(each) || self.must_give_up(each))
    }

    /// A worker's turn.
    pub(crate) fn step(&mut self, is_over: bool, shared: &mut Shared) -> Did {
        let is_idle = self.executions.is_empty() && self.startable().is_none();
        if !self.inbox.is_empty() && (is_idle || shared.random.chance(60)) {
            match self.inbox.pop_front().unwrap() {
                Letter::Run(run) => {
                    let lane = shared.callables[&run.template].template.lane as usize;
                    self.runs[lane].push_back(run);
                }
                Letter::Reply(id, reply) => self.receive(id, reply, shared),
                Letter::Leave if self.leaving == Leaving::ByItself => {}
                Letter::Leave => self.leaving = Leaving::Asked,
            }
            return Did::Nothing;
        }
        if !self.ahead.is_empty() && (is_idle || shared.random.chance(40)) {
            self.step_ahead(shared);
            return Did::Nothing;
        }
        // What it looks at may contain the stream of one that it runs, and that waits for a reader.
        if is_over && let Some(held) = self.kept.pop() {
            self.send(Request::Release(held));
        } else if is_over {
            self.close_view(shared);
        }
        if self.leaving == Leaving::ByItself {
            return Did::Died;
        }
        if let Some(lane) = self.startable()
            && (self.executions.is_empty() || shared.random.chance(60))
        {
            let run = self.runs[lane].pop_front().unwrap();
            let slot = self.slots.get_mut(&run.ticket).unwrap();
            if slot.claim != Claim::Queued {
                return Did::Nothing;
            }
            slot.claim = Claim::Started;
            return self.begin(run, shared);
        }
        if self.executions.is_empty() {
            if self.leaving == Leaving::Asked && self.inbox.is_empty() {
                return Did::Died;
            }
            if is_over {
                self.release_one(shared);
            }
            return Did::Nothing;
        }
        self.step_executions(shared)
    }

    fn step_executions(&mut self, shared: &mut Shared) -> Did {
        let places = 0..self.executions.len();
        let of = |which: &dyn Fn(&Execution) -> bool| -> Vec<usize> {
            places.clone().filter(|place| which(&self.executions[*place])).collect()
        };
        let awake = of(&|each| self.is_awake(each));
        let giving_up = of(&|each| self.must_give_up(each));
        let waiting = of(&|each| self.is_waiting(each.run.ticket));
        if !giving_up.is_empty() && shared.random.chance(50) {
            let ticket = self.executions[shared.random.pick(&giving_up)].run.ticket;
            self.forget_one_of(ticket);
        } else if !waiting.is_empty() && shared.random.chance(4) {
            let ticket = self.executions[shared.random.pick(&waiting)].run.ticket;
            self.forget_one_of(ticket);
        } else if awake.is_empty() {
            self.fall_asleep();
        } else {
            let place = shared.random.pick(&awake);
            if std::mem::take(&mut self.is_asleep) {
                let ticket = self.executions[place].run.ticket;
                self.send(Request::Resumed(ticket));
                return Did::Nothing;
            }
            let ticket = self.executions[place].run.ticket;
            self.current = Some(ticket);
            std::mem::swap(&mut self.handles, &mut self.executions[place].handles);
            let did = self.step_body(place, shared);
            // Who has finished has left what it keeps to the process.
            let mut executions = self.executions.iter_mut();
            if let Some(execution) = executions.find(|each| each.run.ticket == ticket) {
                std::mem::swap(&mut self.handles, &mut execution.handles);
            }
            self.current = None;
            return did;
        }
        Did::Nothing
    }

    fn fall_asleep(&mut self) {
        if !std::mem::replace(&mut self.is_asleep, true) {
            self.has_slept = true;
            let ticket = self.executions[0].run.ticket;
            self.send(Request::Blocked(ticket));
        }
    }

    fn begin(&mut self, run: Box<Run>, shared: &mut Shared) -> Did {
        self.settled = self.outbox.len();
        let callable = shared.callables[&run.template].clone();
        assert!(!shared.undefined.contains(&run.template), "{run:?} has begun and is unknown");
        let plans = &shared.plans[&run.task];
        let plan = plans[(run.attempt as usize).min(plans.len() - 1)];
        if let Some(class) = shared.class_of.get(&ActorId(run.task)) {
            self.actor = Some((ActorId(run.task), shared.classes[*class].lanes.clone()));
            self.life = run.attempt;
        }
        self.position += 1;
        self.devices.clone_from(&run.devices);
        let ticket = run.ticket;
        if std::mem::take(&mut self.is_asleep) {
            self.send(Request::Resumed(ticket));
        }
        if self.actor.is_none() {
            // The task before may have slept, and the news of its end be on the way.
            let is_blocked = |request: &Request| matches!(request, Request::Blocked(_));
            self.has_slept = self.is_thought_asleep || self.outbox.iter().any(is_blocked);
        }
        let mut arguments = Vec::new();
        let mut reachable = std::collections::BTreeSet::new();
        let resolved = run.resolved.iter().map(|(id, value)| (Some(*id), value));
        for (id, value) in resolved.chain([(run.args_object, &run.args)]) {
            let is_empty = matches!(value, Value::Data(Payload::Inline(bytes)) if bytes.is_empty());
            if is_empty || is_lost(id, value, shared) {
                continue;
            }
            let content = Content::of(value, &shared.memory);
            reachable.extend(content.holds());
            arguments.push((id, value.clone(), content));
        }
        reachable.extend(run.resolved.iter().map(|(id, _)| Held::Object(*id)));
        reachable.extend(&shared.holds_of[&run.task]);
        let mut handles = Vec::new();
        for held in reachable {
            if shared.random.chance(60) {
                self.send(Request::Hold(held));
                handles.push(held);
            }
        }
        let stream = handles.iter().find_map(|held| match held {
            Held::Stream(stream) => Some(*stream),
            _ => None,
        });
        let reads_on = stream.filter(|_| shared.random.chance(50));
        let origin = if self.actor.is_some() { (self.life, self.position) } else { (0, 0) };
        self.executions.push(Execution {
            stored_bytes: run.skip_bytes,
            run,
            callable,
            plan,
            origin,
            yielded: 0,
            item: None,
            acts_left: shared.random.below(6),
            reads_on,
            pause: None,
            handles,
            arguments,
        });
        Did::Claimed(ticket, self.position)
    }

    fn step_body(&mut self, place: usize, shared: &mut Shared) -> Did {
        let is_constructor = self.is_constructor(place);
        let execution = &mut self.executions[place];
        let (task, ticket) = (execution.run.task, execution.run.ticket);
        execution.pause = None;
        let has_item = execution.item.is_some();
        let slot = &self.slots[&ticket];
        let is_closed = slot.is_closed && execution.callable.is_generator;
        if slot.is_cancelled && !is_constructor && shared.random.chance(30) {
            self.finish(place, End::Cancelled(PID), None, shared);
        } else if has_item {
            self.publish(place, shared);
        } else if let Some(stream) = execution.reads_on.take() {
            let held = |held: &Held| *held == Held::Stream(stream);
            if let Some(held) = self.take_handle(&mut shared.random, held) {
                self.ask(true, vec![held], |id| Request::Next(id, stream, None));
            }
        } else if execution.acts_left > 0 && shared.random.chance(60) {
            execution.acts_left -= 1;
            self.act(Some(task), shared);
        } else if is_closed {
            self.exhaust(place, None, shared);
        } else if execution.yielded < execution.plan.yields && execution.callable.is_generator {
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

    pub(crate) fn is_constructor(&self, place: usize) -> bool {
        let task = self.executions[place].run.task;
        self.actor.as_ref().is_some_and(|(actor, _)| actor.0 == task)
    }

    /// The generator's next `yield`.
    fn step_generator(&mut self, place: usize, shared: &mut Shared) {
        let execution = &self.executions[place];
        let (yielded, skip, ticket) = (execution.yielded, execution.run.skip, execution.run.ticket);
        let template = &execution.callable.template;
        if matches!(template.returns, Returns::Static(count) if yielded >= u64::from(count)) {
            return self.exhaust(place, Some(()), shared);
        }
        if yielded < skip || self.slots[&ticket].is_dropped {
            return self.has_yielded(place, shared);
        }
        let content = self.result(place, yielded as u32, shared);
        let execution = &mut self.executions[place];
        if execution.callable.template.window_bytes.is_some() {
            execution.pause = Some(Pause::Bytes(content.encode().len() as u64));
        }
        execution.item = Some(content);
        if self.may_go_on(&self.executions[place]) {
            self.publish(place, shared);
        }
    }

    /// An item that there is room for, unless nobody needs it any more.
    fn publish(&mut self, place: usize, shared: &mut Shared) {
        let execution = &mut self.executions[place];
        let content = execution.item.take().unwrap();
        execution.pause = None;
        let (ticket, yielded) = (execution.run.ticket, execution.yielded);
        let is_windowed = template_of(execution).window_bytes.is_some();
        let slot = &self.slots[&ticket];
        if !is_windowed || !slot.is_dropped && !slot.is_closed {
            let value = self.value(&content, shared);
            self.executions[place].stored_bytes += value.size();
            self.send(Request::Yielded(ticket, yielded, value, content.holds().into(), 0));
        }
        self.has_yielded(place, shared);
    }

    fn has_yielded(&mut self, place: usize, shared: &Shared) {
        let actor = self.actor.as_ref().map(|(actor, _)| *actor);
        let execution = &mut self.executions[place];
        let template = &execution.callable.template;
        // Who shares a window is told how far to go, one item ahead of that.
        let shared_window = shared.window_of(actor, template.returns).map(|_| 1);
        let window = shared_window.or(template.window.map(u64::from));
        execution.yielded += 1;
        let until = window.and_then(|window| (execution.yielded + 1).checked_sub(window));
        execution.pause = until.filter(|until| *until > 0).map(Pause::Items);
    }
}

pub(crate) fn template_of(execution: &Execution) -> &skate_core::event::Template {
    &execution.callable.template
}

/// Whether the bytes of an argument are no longer there.
pub(crate) fn is_lost(id: Option<ObjectId>, value: &Value, shared: &Shared) -> bool {
    id.is_some_and(|id| value.payload().is_some_and(|payload| shared.is_lost(id, payload)))
}

/// A fresh id of a call.
pub(crate) fn call_id(client: &mut Client, of_actor: bool) -> TaskId {
    let number = client.count();
    if of_actor { TaskId::new_call(client.id, number) } else { TaskId::new(client.id, number) }
}
