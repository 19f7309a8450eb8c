//! Errors that nobody fetched.
//!
//! ```text
//!   a task fails ─▶ one `Fate` ◀─ every object that holds this error: its own refs, its last item, and
//!                                 those of dependents, which fail with the same error
//!   get, await ─▶ seen            last of these objects gone, or the session's end, not seen ─▶ Action::Unhandled
//! ```
//!
//! Invariant: each failure is reported at most once, and only when no ref is left that could still
//! raise it, or the session ends. A `get` of several counts for all of them, though one error is all that it
//! gets. A cancelled task has no fate: whoever cancelled it knows. So it is with the tasks of a group that was
//! removed, and with calls of an actor that was ended on purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::action::Action;
use crate::actor::Epitaph;
use crate::id::{ObjectId, TaskId};
use crate::node::Node;
use crate::value::{Cause, Failure, Value};

/// What becomes of one failure; shared by all objects that hold it.
#[derive(Debug)]
pub(crate) struct Fate {
    task: TaskId,
    task_name: Arc<str>,
    is_seen: AtomicBool,
}

impl Fate {
    pub(crate) fn mark_seen(&self) {
        self.is_seen.store(true, Ordering::Relaxed);
    }
}

impl Node {
    /// For a task that fails with `error` of its own.
    pub(crate) fn fate_of(&self, task: TaskId, error: &Value) -> Option<Arc<Fate>> {
        let is_known = match error.failure() {
            Some(Failure::Cancelled { .. } | Failure::GroupRemoved { .. }) => true,
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

    /// Somebody is given what the object holds, or will hold.
    pub(crate) fn mark_seen(&mut self, object: ObjectId) {
        if let Some(object) = self.objects.get_mut(&object) {
            object.mark_seen();
        }
    }

    /// The session ends: nobody will fetch what is there now. The first of these errors, by their tasks, each
    /// with the task and its name; and how many there are.
    pub fn unseen(&self, most: usize) -> (Vec<(TaskId, Arc<str>, Value)>, usize) {
        let held = self.objects.iter().filter_map(|(_, object)| object.fate().zip(object.value()));
        let dead = self.actors.values().filter_map(|actor| match &actor.epitaph {
            Some(Epitaph::Raised(error, _, fate)) => fate.as_ref().zip(Some(error)),
            _ => None,
        });
        let is_unseen = |fate: &Arc<Fate>| !fate.is_seen.swap(true, Ordering::Relaxed);
        let mut unseen: Vec<_> = held.chain(dead).filter(|(fate, _)| is_unseen(fate)).collect();
        unseen.sort_unstable_by_key(|(fate, _)| fate.task);
        let told = unseen.iter().take(most);
        let told =
            told.map(|(fate, error)| (fate.task, Arc::clone(&fate.task_name), (*error).clone()));
        (told.collect(), unseen.len())
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
