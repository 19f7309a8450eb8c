//! How a call ends: with values, an exception, by leaving; and what its process lets go of then.
//!
//! Invariant: handles that go with a message are released after it.

use skate_core::event::{End, Held, Leave, Outcome, Request, Returns};
use skate_core::value::{Failure, NONE, Payload, Value};

use super::body::{is_lost, template_of};
use super::client::Client;
use super::content::{Content, WHOLE};
use super::shared::{Leaving, Shared};

impl Client {
    /// A value of its task, with what it contains.
    pub(crate) fn result(&self, place: usize, number: u32, shared: &mut Shared) -> Content {
        let execution = &self.executions[place];
        let holds = if shared.random.chance(40) {
            self.some_handles(&mut shared.random, 1)
        } else {
            Vec::new()
        };
        Content::Data { task: execution.run.task, place: number, origin: execution.origin, holds }
    }

    pub(crate) fn returned(
        &mut self,
        place: usize,
        number: u32,
        shared: &mut Shared,
    ) -> (Value, Box<[Held]>) {
        let content = self.result(place, number, shared);
        (self.value(&content, shared), content.holds().into())
    }

    /// The end of a generator without a value: closed, or one yield too many.
    pub(crate) fn exhaust(&mut self, place: usize, unhandled: Option<()>, shared: &mut Shared) {
        let none = Value::Data(Payload::Inline(NONE.into()));
        let end = End::Exhausted(self.executions[place].yielded, none, Box::default());
        self.finish(place, end, unhandled, shared);
    }

    pub(crate) fn finish_well(&mut self, place: usize, shared: &mut Shared) {
        let execution = &self.executions[place];
        let (is_generator, yielded) = (execution.callable.is_generator, execution.yielded);
        let end = match template_of(execution).returns {
            Returns::Static(count) if is_generator && yielded < u64::from(count) => {
                return self.finish_raised(place, false, shared);
            }
            Returns::Static(_) if is_generator => return self.exhaust(place, None, shared),
            Returns::Static(count) => {
                End::Returned((0..count).map(|it| self.returned(place, it, shared)).collect())
            }
            Returns::Dynamic | Returns::Streaming => {
                let (value, holds) = self.returned(place, WHOLE, shared);
                End::Exhausted(yielded, value, holds)
            }
        };
        self.finish(place, end, None, shared);
    }

    pub(crate) fn finish_raised(&mut self, place: usize, retry: bool, shared: &mut Shared) {
        let execution = &self.executions[place];
        let (task, attempt, origin) = (execution.run.task, execution.run.attempt, execution.origin);
        let yielded = execution.yielded;
        let error = if !self.is_constructor(place) && shared.random.chance(10) {
            Failure::StoreFull { need: 1, free: 0, capacity: 0, why: "".into() }.into()
        } else {
            self.value(&Content::Raised { task, attempt, origin, holds: Vec::new() }, shared)
        };
        let end = End::Raised { error, holds: Box::default(), retry, yielded };
        self.finish(place, end, None, shared);
    }

    pub(crate) fn leave(&mut self, place: usize, leave: Leave, shared: &mut Shared) {
        self.finish(place, End::Left(leave), None, shared);
        self.leaving = Leaving::ByItself;
    }

    pub(crate) fn finish(
        &mut self,
        place: usize,
        end: End,
        unhandled: Option<()>,
        shared: &mut Shared,
    ) {
        let execution = self.executions.swap_remove(place);
        for (id, value, content) in &execution.arguments {
            if !is_lost(*id, value, shared) {
                let now = Content::of(value, &shared.memory);
                assert_eq!(now, *content, "an argument of {:?} changed", execution.run.task);
            }
        }
        let keeps_some = shared.random.chance(20);
        let lets_go_first = shared.random.chance(30);
        let ran_ns = shared.random.pick(&[100, 20_000, 150_000, 5_000_000]);
        let unhandled = unhandled.map(|()| (&[1u8][..]).into());
        let is_bare = !has_parts(&end);
        let finished = Request::Finished(
            execution.run.ticket,
            Outcome { end, began_ns: 0, ran_ns, unhandled },
        );
        // What another call of the process holds, or has swapped in before, is not in `handles`.
        if keeps_some {
            self.kept.append(&mut self.handles);
        }
        let is_alone = self.executions.is_empty();
        if lets_go_first && is_bare {
            self.let_go(keeps_some, is_alone, shared);
            self.send(finished);
        } else {
            self.send(finished);
            self.let_go(keeps_some, is_alone, shared);
        }
        // The slot of the call in `executions` took the place of this one: there are no handles left.
        self.kept.append(&mut self.handles);
        self.handles = Vec::new();
    }

    /// Lets go of what the call had; of the process's things too, if no other call of it runs.
    pub(crate) fn let_go(&mut self, keeps_some: bool, is_alone: bool, shared: &mut Shared) {
        while (is_alone || !self.handles.is_empty()) && self.release_one(shared) && !keeps_some {}
    }
}

/// Whether what it ends with needs handles or a lease until it has been sent.
fn has_parts(end: &End) -> bool {
    let is_part = |value: &Value, holds: &[Held]| value.is_stored() || !holds.is_empty();
    match end {
        End::Returned(values) => values.iter().any(|(value, holds)| is_part(value, holds)),
        End::Exhausted(_, value, holds) => is_part(value, holds),
        End::Raised { error, holds, .. } => is_part(error, holds),
        End::Cancelled(_) | End::Left(_) => false,
    }
}
