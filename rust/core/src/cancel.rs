//! Stopping a task, and what it has started.
//!
//! Invariant: a task that was not claimed ends at once and never runs; one that was is interrupted, or
//! told if it is an actor's, and ends by itself, by its worker's death, or as if nothing had been.

use crate::action::Action;
use crate::event::Cancel;
use crate::id::{ActorId, ClientId, TaskId, Ticket};
use crate::node::Node;
use crate::task::Phase;
use crate::worker::Life;

impl Node {
    /// Stops a task, and its children if asked.
    pub(crate) fn cancel(&mut self, root: TaskId, how: Cancel, actions: &mut Vec<Action>) {
        if self.actors.contains_key(&ActorId(root)) {
            // An actor is killed, not cancelled.
            return;
        }
        // All are marked before the first one ends, so that its end starts none of the others: neither
        // those that get their last argument then, nor calls of an actor whose turn it is (`call.rs`). From
        // the queues of the classes they are taken.
        let mut ids = vec![root];
        let mut place = 0;
        while let Some(id) = ids.get(place).copied() {
            place += 1;
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            task.cancel = Some(how);
            if how.recursive {
                ids.extend(task.children());
            }
            if task.phase == Phase::Ready && task.submit.actor.is_none() {
                self.classes[task.class as usize].queue.remove(id);
            }
        }
        for id in ids {
            let Some(task) = self.tasks.get(&id) else { continue };
            match task.phase {
                Phase::Waiting(_) | Phase::Ready => self.fail_cancelled(id, actions),
                Phase::Dispatched(worker, ticket) => actions.push(Action::Revoke(worker, ticket)),
            }
        }
    }

    /// A cancelled task had been claimed before it could be taken back.
    pub(crate) fn interrupt(
        &mut self,
        worker: ClientId,
        ticket: Ticket,
        actions: &mut Vec<Action>,
    ) {
        let id = self.workers.get(&worker).and_then(|row| row.find(ticket));
        let Some(how) = id.and_then(|id| self.tasks.get(&id)?.cancel) else { return };
        if self.workers.get(&worker).is_some_and(|row| row.actor.is_some()) {
            actions.push(Action::Notify(worker, ticket));
        } else if how.force {
            self.kill(worker, Life::Killed, "its task was cancelled by force", actions);
        } else {
            actions.push(Action::Interrupt(worker, ticket));
        }
    }
}
