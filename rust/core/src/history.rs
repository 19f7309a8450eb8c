//! What has ended lately: attempts of tasks, yields, actors. For people who look, not for the node.
//!
//! ```text
//!   finish, fail ─▶ `current`: how it goes ─▶ remove_task ─▶ attempts ─(full)─▶ counted, forgotten
//!   publish ──────▶ yields                    actor's row goes ─▶ actors
//! ```
//!
//! Invariant: nothing here decides anything. Each ring has at most so many rows, whatever runs, and one
//! row is moved out of what goes anyway: the end of a task allocates nothing for it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::{Span, Template};
use crate::id::{ActorId, ClientId, ObjectId, TaskId};
use crate::task::{Phase, Task};
use crate::value::{Failure, Value};

/// Attempts that are kept. Powers of two, because the rings' memory is doubled.
const MOST_ATTEMPTS: usize = 1 << 13;
/// Yields that are kept.
const MOST_YIELDS: usize = 1 << 14;
/// Named spans that are kept.
const MOST_SPANS: usize = 1 << 13;
/// Longer names and extras are not kept.
const MOST_TEXT: usize = 1 << 10;
/// Dead actors that are kept after their last handle.
const MOST_ACTORS: usize = 1_000;
/// Arguments that are kept of one attempt; of one with more, none.
const MOST_ARGUMENTS: usize = 32;

/// Why an attempt failed: Ray's word for it, and what is known in text.
pub(crate) type Fault = (&'static str, Option<Arc<str>>);

/// How the attempt that is ending went.
#[derive(Debug, Default)]
pub(crate) struct Going {
    pub(crate) task: Option<TaskId>,
    pub(crate) began_ns: u64,
    pub(crate) ended_ns: u64,
    pub(crate) fault: Option<Box<Fault>>,
}

/// One attempt that has ended.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) task: TaskId,
    pub(crate) actor: Option<ActorId>,
    pub(crate) parent: Option<TaskId>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) template: Arc<Template>,
    /// Where it ran, or was to run.
    pub(crate) worker: Option<ClientId>,
    pub(crate) number: u32,
    /// 0 if its submission was not noted.
    pub(crate) submitted_ns: u64,
    /// By the clock of its worker; 0 if it did not start, or nobody knows.
    pub(crate) began_ns: u64,
    /// The same; when the node heard of it, if the worker has not said it.
    pub(crate) ended_ns: u64,
    pub(crate) published: u64,
    /// Bytes of the store in use then.
    pub(crate) used_bytes: u64,
    pub(crate) fault: Option<Box<Fault>>,
    pub(crate) waits: Box<[ObjectId]>,
}

/// One yield.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Yield {
    pub(crate) item: ObjectId,
    /// As its worker says, or, of many in a row, when the node heard of it.
    pub(crate) at_ns: u64,
    pub(crate) size: u64,
    /// Bytes of the store in use then.
    pub(crate) used_bytes: u64,
    /// Items of its stream that nobody has taken, this one included.
    pub(crate) unread: u32,
}

/// One actor that nobody holds any more.
#[derive(Debug)]
pub(crate) struct Buried {
    pub(crate) actor: ActorId,
    pub(crate) row: crate::actor::Actor,
}

/// The latest of each.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) current: Going,
    pub(crate) attempts: VecDeque<Attempt>,
    pub(crate) yields: VecDeque<Yield>,
    pub(crate) spans: VecDeque<(ClientId, Span)>,
    pub(crate) actors: VecDeque<Buried>,
    /// Those that were there and had to go.
    pub(crate) forgotten_attempts: u64,
    pub(crate) forgotten_yields: u64,
    pub(crate) forgotten_spans: u64,
}

fn push<T>(ring: &mut VecDeque<T>, most: usize, row: T) -> u64 {
    let is_full = ring.len() >= most;
    if is_full {
        ring.pop_front();
    }
    ring.push_back(row);
    u64::from(is_full)
}

impl History {
    /// A worker says how an attempt went; what becomes of the task follows in the same step.
    pub(crate) fn begin(&mut self, task: TaskId, began_ns: u64, ended_ns: u64, is_error: bool) {
        let fault = is_error.then(|| Box::new((RAISED, None)));
        self.current = Going { task: Some(task), began_ns, ended_ns, fault };
    }

    /// The task fails with that error.
    pub(crate) fn note_fault(&mut self, task: TaskId, error: &Value) {
        if self.current.task != Some(task) {
            self.current = Going { task: Some(task), ..Going::default() };
        }
        self.current.fault = Some(Box::new(fault_of(error)));
    }

    /// How it went, if anybody has said so.
    fn take(&mut self, task: TaskId, now_ns: u64) -> Going {
        let mut going = std::mem::take(&mut self.current);
        if going.task != Some(task) {
            going = Going::default();
        }
        if going.ended_ns == 0 {
            going.ended_ns = now_ns;
        }
        going
    }

    /// The task has left the table; what it does not need any more is taken from it.
    pub(crate) fn end(&mut self, id: TaskId, task: &mut Task, (now_ns, used_bytes): (u64, u64)) {
        let going = self.take(id, now_ns);
        let worker = match task.phase {
            Phase::Dispatched(worker, _) => Some(worker),
            Phase::Waiting(_) | Phase::Ready => None,
        };
        let mut attempt = Attempt { used_bytes, ..attempt(id, task, task.attempt, worker, going) };
        attempt.name = task.submit.name.take();
        if task.submit.waits.len() <= MOST_ARGUMENTS {
            attempt.waits = std::mem::take(&mut task.submit.waits);
        }
        self.forgotten_attempts += push(&mut self.attempts, MOST_ATTEMPTS, attempt);
    }

    /// The task is to run again after an attempt on that worker.
    pub(crate) fn retry(
        &mut self,
        id: TaskId,
        task: &Task,
        worker: ClientId,
        fault: Fault,
        now_ns: u64,
    ) {
        let going = Going { fault: Some(Box::new(fault)), ..self.take(id, now_ns) };
        // It counts the coming one already.
        let number = task.attempt.saturating_sub(1);
        let mut attempt = attempt(id, task, number, Some(worker), going);
        attempt.name.clone_from(&task.submit.name);
        self.forgotten_attempts += push(&mut self.attempts, MOST_ATTEMPTS, attempt);
    }

    pub(crate) fn note_yield(&mut self, row: Yield) {
        self.forgotten_yields += push(&mut self.yields, MOST_YIELDS, row);
    }

    pub(crate) fn note_span(&mut self, client: ClientId, span: Span) {
        if span.name.len() + span.extra.len() > MOST_TEXT {
            self.forgotten_spans += 1;
        } else {
            self.forgotten_spans += push(&mut self.spans, MOST_SPANS, (client, span));
        }
    }

    pub(crate) fn bury(&mut self, actor: ActorId, row: crate::actor::Actor) {
        push(&mut self.actors, MOST_ACTORS, Buried { actor, row });
    }
}

/// The row of an attempt, without what may be taken from the task.
fn attempt(
    id: TaskId,
    task: &Task,
    number: u32,
    worker: Option<ClientId>,
    going: Going,
) -> Attempt {
    Attempt {
        task: id,
        actor: task.submit.actor,
        parent: task.submit.parent,
        name: None,
        template: Arc::clone(&task.template),
        worker,
        number,
        submitted_ns: task.submitted_ns,
        began_ns: going.began_ns,
        ended_ns: going.ended_ns,
        published: task.published,
        used_bytes: 0,
        fault: going.fault,
        waits: Box::default(),
    }
}

const RAISED: &str = "TASK_EXECUTION_EXCEPTION";

/// Ray's word for an error, and its text if it is not Python's.
pub(crate) fn fault_of(error: &Value) -> Fault {
    let Value::Failed(failure) = error else { return (RAISED, None) };
    let kind = match &**failure {
        Failure::WorkerCrashed { .. } => "WORKER_DIED",
        Failure::WorkerStart { .. } => "WORKER_START_FAILED",
        Failure::Cancelled { .. } => "TASK_CANCELLED",
        Failure::StoreFull { .. } => "OBJECT_STORE_FULL",
        Failure::OutOfDisk { .. } => "OUT_OF_DISK_ERROR",
        Failure::OutOfMemory { .. } => "OUT_OF_MEMORY",
        Failure::Lost { .. } | Failure::Unknown => "OBJECT_LOST",
        Failure::ReplayInconsistent { .. } => "GENERATOR_REPLAY_INCONSISTENT",
        Failure::ActorDied { .. } | Failure::NoSuchActor(_) => "ACTOR_DIED",
        Failure::ActorUnavailable { .. } => "ACTOR_UNAVAILABLE",
        Failure::GroupRemoved { .. } => "TASK_PLACEMENT_GROUP_REMOVED",
        Failure::Deadlock { .. } => RAISED,
    };
    (kind, Some(failure.to_string().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ClientId;

    #[test]
    fn ring_keeps_the_latest_and_counts_the_rest() {
        let mut history = History::default();
        let task = TaskId::new(ClientId::DRIVER, 1);
        for index in 0..MOST_YIELDS as u64 + 7 {
            let item = task.item(index);
            history.note_yield(Yield { item, at_ns: index, size: 1, used_bytes: 0, unread: 0 });
        }
        assert_eq!((history.yields.len(), history.forgotten_yields), (MOST_YIELDS, 7));
        assert_eq!(history.yields.front().map(|row| row.at_ns), Some(7));
    }
}
