//! One call of a remote function, from its submission to its end.
//!
//! ```text
//!   Waiting(n) ──args ready──▶ Ready ──dispatch──▶ Dispatched ──finished──▶ ∅, its objects sealed
//!       │                        ▲ ▲                   │  │
//!       │ an argument failed     │ └─ revoked ─────────┘  │ worker died, or raised and to be retried
//!       ▼                        └────────────────────────┘ (one attempt less, if it had started)
//!       ∅, its objects sealed with the error
//! ```
//!
//! Invariant: a task in the table has at least one unsealed return, or a stream that has not ended,
//! or returns nothing; it holds its arguments until it leaves the table.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::call::Caller;
use crate::event::{Cancel, Submit, Template};
use crate::id::{ClientId, TaskId, Ticket};
use crate::scheduler::{ClassId, MOST_START_FAILURES};

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// That many of its arguments are not there.
    Waiting(u32),
    /// In the queue of its class.
    Ready,
    /// In the ring of a worker, or running there.
    Dispatched(ClientId, Ticket),
}

/// One task that has not ended.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) submit: Submit,
    /// Whose calls it is in order with, if it is one.
    pub(crate) caller: Caller,
    pub(crate) template: Arc<Template>,
    pub(crate) class: ClassId,
    pub(crate) phase: Phase,
    /// 0 for the first attempt.
    pub(crate) attempt: u32,
    /// Attempts left after a failure; below 0 there is no end of them.
    pub(crate) retries: i32,
    /// The same after it was stopped for want of memory.
    pub(crate) oom_retries: i32,
    /// Workers that could not be started for it. Its own, because one cause (the zygote was killed)
    /// can take many workers at once.
    pub(crate) start_failures: u32,
    /// Returns or items that attempts so far have sealed.
    pub(crate) published: u64,
    pub(crate) cancel: Option<Cancel>,
    /// Tasks in the table whose parent this is.
    pub(crate) children: FxHashSet<TaskId>,
    /// Items that it took from streams that were passed on to it.
    pub(crate) consumed: Vec<(TaskId, u64)>,
    /// Its generator is to end.
    pub(crate) is_closing: bool,
}

impl Task {
    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(self.submit.name.as_ref().unwrap_or(&self.template.name))
    }

    /// Why it is not run again although retries are left: "had consumed 3 items of stream …".
    pub(crate) fn consumed_note(&self) -> Option<String> {
        let parts: Vec<String> = self
            .consumed
            .iter()
            .map(|(stream, count)| format!("had consumed {count} items of stream {stream}"))
            .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Counts a worker that could not be started for it; true if it will wait for no other.
    pub(crate) fn is_tired_of_starts(&mut self) -> bool {
        self.start_failures += 1;
        self.start_failures >= MOST_START_FAILURES
    }

    /// Uses up one of the retries for want of memory; and an ordinary one, if it was alone.
    pub(crate) fn take_oom_retry(&mut self, was_alone: bool) -> bool {
        let may_run_again = self.cancel.is_none() && !self.is_closing && self.consumed.is_empty();
        if !may_run_again || self.retries == 0 || self.oom_retries == 0 {
            return false;
        }
        self.oom_retries -= i32::from(self.oom_retries > 0);
        self.retries -= i32::from(was_alone && self.retries > 0);
        self.attempt += 1;
        true
    }

    /// Uses up one retry; false if there is none, the task is to end, or what it consumed is gone.
    pub(crate) fn take_retry(&mut self) -> bool {
        let may_run_again = self.cancel.is_none() && !self.is_closing && self.consumed.is_empty();
        if !may_run_again || self.retries == 0 {
            return false;
        }
        if self.retries > 0 {
            self.retries -= 1;
        }
        self.attempt += 1;
        true
    }
}
