//! One task in the model: what has happened to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use skate_core::event::{OnDrop, Template};
use skate_core::id::{ActorId, ClientId, ObjectId, TaskId, Ticket};
use skate_core::value::Failure;

use super::content::Origin;

/// What may be in the refs of a task that did not return: one of several, if one event has several
/// such consequences.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// The exception of that attempt.
    Raised {
        task: TaskId,
        attempt: u32,
    },
    Failed(Failure),
    /// What that argument holds.
    Argument(ObjectId),
    /// What calls of that dead actor fail with.
    Actor(ActorId),
}

/// One task, call or constructor.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Task {
    pub(crate) name: Arc<str>,
    pub(crate) template: Arc<Template>,
    pub(crate) actor: Option<ActorId>,
    /// Whose calls it is in order with, if it is one.
    pub(crate) caller: (ClientId, Option<TaskId>),
    pub(crate) waits: Box<[ObjectId]>,
    pub(crate) parent: Option<TaskId>,
    pub(crate) published: u64,
    /// Items that went through the shared cursor.
    pub(crate) taken: u64,
    /// Of these, the ones that go to the next taker once more.
    pub(crate) returned: BTreeSet<u64>,
    /// Of these, the ones that have not reached their takers.
    pub(crate) lent: BTreeSet<u64>,
    /// What it took from streams of others.
    pub(crate) consumed: Vec<(TaskId, u64)>,
    /// Its stream was closed, by hand or because nobody held it.
    pub(crate) is_closed: bool,
    pub(crate) attempt: u32,
    pub(crate) retries: i32,
    pub(crate) oom_retries: i32,
    /// Attempts that were stopped for want of memory, which are counted apart.
    pub(crate) stops: u32,
    pub(crate) claims: u32,
    /// Of the last claim.
    pub(crate) origin: Option<Origin>,
    /// It raised, and runs again: from then on it may come after others.
    pub(crate) is_again: bool,
    /// The node took it back when its actor had died.
    pub(crate) is_taken_back: bool,
    /// Workers that could not be started for it.
    pub(crate) start_failures: u32,
    pub(crate) cancelled: bool,
    /// Where it is dispatched.
    pub(crate) place: Option<(ClientId, Ticket)>,
    /// Once it has ended; nothing if it returned.
    pub(crate) fate: Option<Vec<Fate>>,
}

impl Task {
    pub(crate) fn has_ended(&self) -> bool {
        self.fate.is_some()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.fate.as_ref().is_some_and(|fates| !fates.is_empty())
    }

    /// Items that can be read, the error included.
    pub(crate) fn total(&self) -> u64 {
        self.published + u64::from(self.has_failed())
    }

    pub(crate) fn position(&self, at: Option<u64>) -> u64 {
        at.or_else(|| self.returned.first().copied()).unwrap_or(self.taken)
    }

    pub(crate) fn left(&self, at: Option<u64>) -> u64 {
        if self.is_closed {
            return 0;
        }
        let again = if at.is_none() { self.returned.len() as u64 } else { 0 };
        self.total().saturating_sub(at.unwrap_or(self.taken)) + again
    }

    /// Whether who reads from there, and finds nothing left, is told of the end.
    pub(crate) fn is_at_end(&self, at: Option<u64>) -> bool {
        self.is_closed || self.has_ended() && (at.is_some() || self.lent.is_empty())
    }

    fn may_run_again(&self) -> bool {
        let has_consumed = !self.consumed.is_empty();
        !self.cancelled && !self.is_closed && !has_consumed && self.retries != 0
    }

    pub(crate) fn take_retry(&mut self) -> bool {
        let may_retry = self.may_run_again();
        if may_retry {
            self.retries -= i32::from(self.retries > 0);
            self.attempt += 1;
        }
        may_retry
    }

    pub(crate) fn take_oom_retry(&mut self, was_alone: bool) -> bool {
        let may_retry = self.may_run_again() && self.oom_retries != 0;
        if may_retry {
            self.stops += 1;
            self.oom_retries -= i32::from(self.oom_retries > 0);
            self.retries -= i32::from(was_alone && self.retries > 0);
            self.attempt += 1;
        }
        may_retry
    }

    /// Nobody can tell whether it has ended because nobody held it.
    pub(crate) fn may_be_gone(&self) -> bool {
        self.template.on_drop == OnDrop::Close
    }
}
