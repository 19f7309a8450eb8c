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
    /// As far as the node knew the time then.
    pub(crate) submitted_ns: u64,
    pub(crate) cancel: Option<Cancel>,
    /// Its generator is to end.
    pub(crate) is_closing: bool,
    /// Its client runs one task after the other: as a call it is in order with those of its parent alone.
    pub(crate) is_ordered_by_parent: bool,
    deeds: Option<Box<Deeds>>,
}

/// What few tasks have done. Of the rows a million may be queued, so it is kept beside them.
#[derive(Debug, Default)]
struct Deeds {
    /// Tasks in the table whose parent this is.
    children: FxHashSet<TaskId>,
    /// Items that it took from streams that were passed on to it.
    consumed: Vec<(TaskId, u64)>,
}

const _: () = assert!(size_of::<Task>() <= 192, "a million of them are queued");

impl Task {
    /// One that has not been dispatched.
    pub(crate) fn new(
        submit: Submit,
        template: Arc<Template>,
        class: ClassId,
        phase: Phase,
        (attempt, oom_retries): (u32, i32),
        submitted_ns: u64,
    ) -> Self {
        Self {
            submit,
            class,
            phase,
            attempt,
            retries: template.max_retries,
            oom_retries,
            template,
            start_failures: 0,
            published: 0,
            submitted_ns,
            cancel: None,
            is_closing: false,
            is_ordered_by_parent: false,
            deeds: None,
        }
    }

    /// Whose calls it is in order with, if it is one.
    pub(crate) fn caller(&self) -> Caller {
        (self.submit.task.client(), self.submit.parent.filter(|_| self.is_ordered_by_parent))
    }

    /// It has made that task.
    pub(crate) fn adopt(&mut self, child: TaskId) {
        self.deeds.get_or_insert_default().children.insert(child);
    }

    /// One that it made has left the table.
    pub(crate) fn disown(&mut self, child: TaskId) {
        if let Some(deeds) = &mut self.deeds {
            deeds.children.remove(&child);
        }
    }

    /// Tasks in the table whose parent this is.
    pub(crate) fn children(&self) -> impl Iterator<Item = TaskId> {
        self.deeds.iter().flat_map(|deeds| deeds.children.iter().copied())
    }

    /// It has taken so many items from a stream that was passed on to it.
    pub(crate) fn consume(&mut self, stream: TaskId, count: u64) {
        let consumed = &mut self.deeds.get_or_insert_default().consumed;
        match consumed.iter_mut().find(|(other, _)| *other == stream) {
            Some((_, before)) => *before += count,
            None => consumed.push((stream, count)),
        }
    }

    fn consumed(&self) -> &[(TaskId, u64)] {
        self.deeds.as_ref().map_or(&[], |deeds| &deeds.consumed)
    }

    /// Whether it could be run again: nobody has asked it to end, and what it has consumed is not gone.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.retries != 0 && self.cancel.is_none() && !self.is_closing && self.consumed().is_empty()
    }

    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(self.submit.name.as_ref().unwrap_or(&self.template.name))
    }

    /// Why it is not run again although retries are left: "had consumed 3 items of stream …".
    pub(crate) fn consumed_note(&self) -> Option<String> {
        let parts: Vec<String> = self
            .consumed()
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
        if !self.is_repeatable() || self.oom_retries == 0 {
            return false;
        }
        self.oom_retries -= i32::from(self.oom_retries > 0);
        self.retries -= i32::from(was_alone && self.retries > 0);
        self.attempt += 1;
        true
    }

    /// Uses up one retry; false if there is none, the task is to end, or what it consumed is gone.
    pub(crate) fn take_retry(&mut self) -> bool {
        if !self.is_repeatable() {
            return false;
        }
        if self.retries > 0 {
            self.retries -= 1;
        }
        self.attempt += 1;
        true
    }
}
