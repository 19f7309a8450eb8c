//! Errors that nobody fetched.
//!
//! ```text
//!   a task fails ─▶ one `Fate` ◀─ every object that holds this error: its own refs, its last item, and
//!                                 those of dependents, which fail with the same error
//!   get, await ─▶ seen            last of these objects gone, not seen ─▶ Action::Unhandled
//! ```
//!
//! Invariant: each failure is reported at most once, and only when no ref is left that could still
//! raise it. A cancelled task has no fate: whoever cancelled it knows. So it is with calls of an actor
//! that was ended on purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::action::Action;
use crate::id::{ObjectId, TaskId};
use crate::node::Node;
use crate::object::Object;
use crate::value::{Cause, Failure, Value};

/// What becomes of one failure; shared by all objects that hold it.
#[derive(Debug)]
pub(crate) struct Fate {
    task: TaskId,
    task_name: Arc<str>,
    is_seen: AtomicBool,
}

impl Node {
    /// For a task that fails with `error` of its own.
    pub(crate) fn fate_of(&self, task: TaskId, error: &Value) -> Option<Arc<Fate>> {
        let is_known = match error.failure() {
            Some(Failure::Cancelled { .. }) => true,
            Some(Failure::ActorDied { actor, .. }) => {
                !matches!(actor.cause, Cause::Crashed(_) | Cause::NotStarted(_))
            }
            _ => false,
        };
        (!is_known).then(|| {
            let task_name = self.tasks[&task].name();
            Arc::new(Fate { task, task_name, is_seen: AtomicBool::new(false) })
        })
    }

    /// Somebody is given what the object holds.
    pub(crate) fn mark_seen(&self, object: ObjectId) {
        if let Some(fate) = self.objects.get(&object).and_then(Object::fate) {
            fate.is_seen.store(true, Ordering::Relaxed);
        }
    }

    /// One object less that holds the error.
    pub(crate) fn drop_fate(fate: Option<Arc<Fate>>, error: Value, actions: &mut Vec<Action>) {
        if let Some(fate) = fate.and_then(Arc::into_inner)
            && !fate.is_seen.load(Ordering::Relaxed)
        {
            let Fate { task, task_name, .. } = fate;
            actions.push(Action::Unhandled { task, task_name, returns: None, error });
        }
    }
}
