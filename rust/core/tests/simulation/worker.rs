//! A worker's main thread: claims a dispatch, plays its plan, reports.
//!
//! ```text
//!   Run ─claim─▶ body ─▶ (act ┊ yield)* ─▶ Finished        an act may wait: Blocked … Resumed
//!                          window full ─▶ paused: Blocked … credit ─▶ Resumed
//! ```
//!
//! Invariant: it says what `execute.rs` of the binding would say: one `Finished` for each claim it
//! survives, items from `skip` on, none that nobody can read.

use std::collections::BTreeSet;

use skate_core::action::Run;
use skate_core::event::{End, Held, Outcome, Request, Returns};
use skate_core::id::ObjectId;
use skate_core::value::{Failure, NONE, Payload, Value};

use super::client::{Claim, Client, Forget, Letter, Process, Shared};
use super::content::{Content, WHOLE};
use super::program::{Function, Plan, PlannedEnd};

/// One claimed task.
pub(crate) struct Execution {
    pub(crate) run: Box<Run>,
    pub(crate) function: Function,
    plan: Plan,
    /// Items of this attempt, those skipped included.
    yielded: u64,
    /// Things that it still does besides.
    acts_left: u64,
    /// Goes on when so many items were taken.
    pub(crate) paused_until: Option<u64>,
    /// It has told that it sleeps.
    is_blocked: bool,
    /// It slept once, or the node thinks so, and its CPU may be lent still.
    pub(crate) has_slept: bool,
    /// Contents of the arguments when it began.
    arguments: Vec<(Option<ObjectId>, Value, Content)>,
}

/// What a turn of a worker came to.
pub(crate) enum Did {
    Nothing,
    /// It has claimed its next task.
    Claimed,
    /// Its process ends.
    Died,
}

impl Client {
    /// Whether its next turn would do anything, now that the program is in that state.
    pub(crate) fn can_step(&self, is_over: bool) -> bool {
        if self.process == Process::Ordered {
            return false;
        }
        if !self.inbox.is_empty() || (is_over && !self.kept.is_empty()) {
            return true;
        }
        match &self.execution {
            None => !self.runs.is_empty() || self.is_leaving || (is_over && self.holds_anything()),
            Some(_) if self.is_waiting() => !self.is_told_blocked() || self.must_give_up(),
            Some(execution) => {
                execution.paused_until.is_none() || !self.is_told_blocked() || self.may_go_on()
            }
        }
    }

    fn is_told_blocked(&self) -> bool {
        self.execution.as_ref().is_some_and(|execution| execution.is_blocked)
    }

    /// Interrupted in a call.
    fn must_give_up(&self) -> bool {
        self.is_interrupted()
            && self.asked.values().any(|asked| asked.blocks && asked.forget == Forget::No)
    }

    fn is_interrupted(&self) -> bool {
        let ticket = self.execution.as_ref().map(|execution| execution.run.ticket);
        ticket.is_some_and(|ticket| self.slots[&ticket].is_interrupted)
    }

    /// Whether a paused producer has credit, or no reader.
    pub(crate) fn may_go_on(&self) -> bool {
        self.execution.as_ref().is_some_and(|execution| {
            let slot = &self.slots[&execution.run.ticket];
            let has_credit = execution.paused_until.is_some_and(|until| slot.credit >= until);
            has_credit || slot.is_dropped
        })
    }

    /// A worker's turn.
    pub(crate) fn step(&mut self, is_over: bool, shared: &mut Shared) -> Did {
        let is_idle = self.execution.is_none() && self.runs.is_empty();
        if !self.inbox.is_empty() && (is_idle || shared.random.chance(70)) {
            match self.inbox.pop_front().unwrap() {
                Letter::Run(run) => self.runs.push_back(run),
                Letter::Reply(id, reply) => self.receive(id, reply, shared),
                Letter::Leave => self.is_leaving = true,
            }
            return Did::Nothing;
        }
        if is_over && let Some(held) = self.kept.pop() {
            self.send(Request::Release(held));
        }
        if self.execution.is_none() {
            return self.step_idle(is_over, shared);
        }
        if self.is_waiting() {
            self.sleep(shared);
            return Did::Nothing;
        }
        self.step_body(shared)
    }

    fn step_idle(&mut self, is_over: bool, shared: &mut Shared) -> Did {
        while let Some(run) = self.runs.pop_front() {
            let slot = self.slots.get_mut(&run.ticket).unwrap();
            if slot.claim == Claim::Queued {
                slot.claim = Claim::Started;
                self.begin(run, shared);
                return Did::Claimed;
            }
        }
        if self.is_leaving && self.inbox.is_empty() {
            return Did::Died;
        }
        if is_over {
            self.release_one(shared);
        }
        Did::Nothing
    }

    fn begin(&mut self, run: Box<Run>, shared: &mut Shared) {
        let function = shared.functions.iter().find(|function| function.id == run.template);
        let function = function.unwrap().clone();
        let plans = &shared.plans[&run.task];
        let plan = plans[(run.attempt as usize).min(plans.len() - 1)];
        let mut arguments = Vec::new();
        let mut reachable = BTreeSet::new();
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
        for held in reachable {
            if shared.random.chance(60) {
                self.hold(held);
            }
        }
        let acts_left = shared.random.below(6);
        // The task before may have slept, and the news of its end be on the way.
        let is_blocked = |request: &Request| matches!(request, Request::Blocked(_));
        let has_slept = self.is_thought_asleep || self.outbox.iter().any(is_blocked);
        self.execution = Some(Execution {
            run,
            function,
            plan,
            yielded: 0,
            acts_left,
            paused_until: None,
            is_blocked: false,
            has_slept,
            arguments,
        });
    }

    /// Its call takes time.
    fn sleep(&mut self, shared: &mut Shared) {
        if self.must_give_up() || shared.random.chance(4) {
            self.forget_one(true);
        } else {
            self.tell_blocked();
        }
    }

    fn tell_blocked(&mut self) {
        let execution = self.execution.as_mut().unwrap();
        if !std::mem::replace(&mut execution.is_blocked, true) {
            execution.has_slept = true;
            let ticket = execution.run.ticket;
            self.send(Request::Blocked(ticket));
        }
    }

    fn step_body(&mut self, shared: &mut Shared) -> Did {
        let may_go_on = self.may_go_on();
        let is_interrupted = self.is_interrupted();
        let execution = self.execution.as_mut().unwrap();
        let (task, ticket) = (execution.run.task, execution.run.ticket);
        if is_interrupted && shared.random.chance(30) {
            self.finish(End::Cancelled, None, shared);
            return Did::Nothing;
        }
        if execution.paused_until.is_some() && !may_go_on {
            self.tell_blocked();
            return Did::Nothing;
        }
        execution.paused_until = None;
        if std::mem::take(&mut execution.is_blocked) {
            self.send(Request::Resumed(ticket));
        } else if execution.acts_left > 0 && shared.random.chance(60) {
            execution.acts_left -= 1;
            self.act(Some(task), shared);
        } else if execution.yielded < execution.plan.yields && execution.function.is_generator {
            self.step_generator(shared);
        } else {
            match execution.plan.end {
                PlannedEnd::Return => self.finish_well(shared),
                PlannedEnd::Raise { retry } => self.finish_raised(retry, shared),
                PlannedEnd::Die => return Did::Died,
            }
        }
        Did::Nothing
    }

    /// The generator's next `yield`.
    fn step_generator(&mut self, shared: &mut Shared) {
        let execution = self.execution.as_ref().unwrap();
        let (run, yielded) = (&execution.run, execution.yielded);
        let (task, ticket, skip) = (run.task, run.ticket, run.skip);
        let template = &execution.function.template;
        let window = template.window.map(u64::from);
        if matches!(template.returns, Returns::Static(count) if yielded >= u64::from(count)) {
            let none = Value::Data(Payload::Inline(NONE.into()));
            let end = End::Exhausted(yielded, none, Box::default());
            return self.finish(end, Some(()), shared);
        }
        if yielded >= skip && !self.slots[&ticket].is_dropped {
            let (value, holds) = self.result(task, yielded as u32, shared);
            self.send(Request::Yielded(ticket, yielded, value, holds));
        }
        let execution = self.execution.as_mut().unwrap();
        execution.yielded += 1;
        execution.paused_until = window.and_then(|window| (yielded + 2).checked_sub(window));
        execution.paused_until = execution.paused_until.filter(|until| *until > 0);
    }

    /// A value of its task, with what it contains.
    fn result(
        &mut self,
        task: skate_core::id::TaskId,
        place: u32,
        shared: &mut Shared,
    ) -> (Value, Box<[Held]>) {
        let mut holds = Vec::new();
        if !self.handles.is_empty() && shared.random.chance(40) {
            holds.push(shared.random.pick(&self.handles));
        }
        let value = self.value(&Content::Data { task, place, holds: holds.clone() }, shared);
        (value, holds.into())
    }

    fn finish_well(&mut self, shared: &mut Shared) {
        let execution = self.execution.as_ref().unwrap();
        let (task, yielded) = (execution.run.task, execution.yielded);
        let end = match execution.function.template.returns {
            Returns::Static(count) if execution.function.is_generator => {
                if yielded < u64::from(count) {
                    return self.finish_raised(false, shared);
                }
                let none = Value::Data(Payload::Inline(NONE.into()));
                End::Exhausted(yielded, none, Box::default())
            }
            Returns::Static(count) => {
                End::Returned((0..count).map(|place| self.result(task, place, shared)).collect())
            }
            Returns::Dynamic | Returns::Streaming => {
                let (value, holds) = self.result(task, WHOLE, shared);
                End::Exhausted(yielded, value, holds)
            }
        };
        self.finish(end, None, shared);
    }

    fn finish_raised(&mut self, retry: bool, shared: &mut Shared) {
        let execution = self.execution.as_ref().unwrap();
        let (task, attempt, yielded) =
            (execution.run.task, execution.run.attempt, execution.yielded);
        let error = if shared.random.chance(10) {
            Failure::StoreFull { need: 1, free: 0, capacity: 0, why: "".into() }.into()
        } else {
            self.value(&Content::Raised { task, attempt, holds: Vec::new() }, shared)
        };
        let end = End::Raised { error, holds: Box::default(), retry, yielded };
        self.finish(end, None, shared);
    }

    fn finish(&mut self, end: End, unhandled: Option<()>, shared: &mut Shared) {
        let execution = self.execution.take().unwrap();
        for (id, value, content) in &execution.arguments {
            if is_lost(*id, value, shared) {
                continue;
            }
            let now = Content::of(value, &shared.memory);
            assert_eq!(now, *content, "an argument of {:?} changed", execution.run.task);
        }
        let keeps_some = shared.random.chance(20);
        let lets_go_first = shared.random.chance(30);
        let ran_ns = shared.random.pick(&[100, 20_000, 150_000, 5_000_000]);
        let unhandled = unhandled.map(|()| (&[1u8][..]).into());
        let outcome = Outcome { end, began_ns: 0, ran_ns, unhandled };
        let finished = Request::Finished(execution.run.ticket, outcome);
        if execution.is_blocked {
            self.send(Request::Resumed(execution.run.ticket));
        }
        if keeps_some {
            self.kept.append(&mut self.handles);
        }
        let is_bare =
            !matches!(&finished, Request::Finished(_, outcome) if has_parts(&outcome.end));
        if lets_go_first && is_bare {
            while self.release_one(shared) && !keeps_some {}
            self.send(finished);
        } else {
            self.send(finished);
            while self.release_one(shared) && !keeps_some {}
        }
    }
}

/// Whether what it ends with needs handles or a lease until it has been sent.
fn has_parts(end: &End) -> bool {
    let is_part = |value: &Value, holds: &[Held]| value.is_stored() || !holds.is_empty();
    match end {
        End::Returned(values) => values.iter().any(|(value, holds)| is_part(value, holds)),
        End::Exhausted(_, value, holds) => is_part(value, holds),
        End::Raised { error, holds, .. } => is_part(error, holds),
        End::Cancelled | End::Left(_) => false,
    }
}

/// Whether the bytes of an argument are no longer there.
fn is_lost(id: Option<ObjectId>, value: &Value, shared: &Shared) -> bool {
    id.is_some_and(|id| value.payload().is_some_and(|payload| shared.is_lost(id, payload)))
}
