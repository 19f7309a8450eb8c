//! What the runtime may look at between two steps, without asking.
//!
//! Invariant: nothing here changes anything, but that a value which was looked at counts as seen.

use std::sync::Arc;

use crate::id::{ClientId, ObjectId, TaskId, TemplateId, Ticket};
use crate::node::Node;
use crate::scheduler::RETIRE_AFTER_NS;
use crate::value::Value;

impl Node {
    /// A ready value, for the driver's fast path: it is fetched by this.
    pub fn peek(&self, object: ObjectId) -> Option<&Value> {
        let object = self.objects.get(&object)?;
        object.fate().inspect(|fate| fate.mark_seen());
        object.value()
    }

    pub(crate) fn value_of(&self, object: ObjectId) -> Option<&Value> {
        self.objects.get(&object)?.value()
    }

    /// When a `Tick` is next useful.
    pub fn deadline(&self) -> Option<u64> {
        let lend = self.blocked.first().map(|(due, _)| *due);
        let retire = self
            .surplus_worker()
            .map(|(_, worker)| self.workers[&worker].idle_since_ns + RETIRE_AFTER_NS);
        let look = self.watched.first().map(|(due, _)| *due);
        let others = [self.store.deadline(), self.room.deadline(), self.crowd.deadline()];
        let others = others.into_iter().chain([self.deadlocks.deadline()]).flatten();
        lend.into_iter().chain(retire).chain(look).chain(others).min()
    }

    /// Tasks believed to execute now.
    pub const fn running(&self) -> u32 {
        self.running
    }

    /// Whether anybody but the driver waits for what workers publish: a task for its arguments, or a
    /// worker for its answer.
    pub const fn is_awaited(&self) -> bool {
        self.waiting_tasks > 0 || self.worker_requests > 0
    }

    /// Whether the next task would be the first to find no worker without one.
    pub fn wants_worker(&self) -> bool {
        self.idle.is_empty() && !self.has_backlog()
    }

    /// Whether tasks are ready that no worker has.
    pub fn has_backlog(&self) -> bool {
        self.queued_classes.iter().any(|class| !self.classes[*class as usize].queue.is_empty())
    }

    /// Name, total and available of each resource, in units of 1/10000.
    pub fn resources(&self) -> Vec<(Arc<str>, i64, i64)> {
        self.resources.table()
    }

    /// Whether that template is known.
    pub fn is_defined(&self, id: TemplateId) -> bool {
        self.templates.contains_key(&id)
    }

    /// Whether a worker has sent anything.
    pub fn has_heard_of(&self, worker: ClientId) -> bool {
        self.workers.get(&worker).is_some_and(|row| row.has_spoken)
    }

    /// Whether a worker is believed to hold that task.
    pub fn has_at(&self, worker: ClientId, ticket: Ticket) -> bool {
        self.workers.get(&worker).is_some_and(|row| row.find(ticket).is_some())
    }

    /// The task that a worker is believed to execute.
    pub fn running_on(&self, worker: ClientId) -> Option<(TaskId, Arc<str>)> {
        let dispatch = self.workers.get(&worker)?.queue.front()?;
        Some((dispatch.task, self.tasks.get(&dispatch.task)?.name()))
    }
}
