//! A worker's task sleeps: who gets its CPU, and when.
//!
//! ```text
//!   running ──blocked──▶ asleep ──2 ms, or it waits for what is queued──▶ asleep, CPU lent
//!      ▲                    └───────────────── resumed ─────────────────────────┘
//! ```
//!
//! Invariants: nothing is dispatched behind a task that sleeps. Who goes on takes the CPU back at
//! once, before those who wait for one: for a while there may be fewer than none, and until that is
//! over nothing more is sent ahead.

use rustc_hash::FxHashSet;

use crate::action::Action;
use crate::event::Waitable;
use crate::id::{ClientId, RequestId, TaskId};
use crate::node::Node;
use crate::request::Open;
use crate::task::Phase;

/// How long a task that waits for a running one keeps its CPU.
pub(crate) const LEND_AFTER_NS: u64 = 2_000_000;
/// After so many tasks the search for a queued one ends as if it had found one.
const MOST_LOOKED_AT: usize = 1_000;

/// A worker's task sleeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocked {
    pub(crate) since_ns: u64,
    /// Its CPU has been given back.
    pub(crate) is_lent: bool,
    /// For long, and without a time-out.
    pub(crate) waits_in: Option<RequestId>,
}

impl Node {
    /// Nothing may wait behind it, and its CPU may go to others.
    pub(crate) fn running_to_blocked(&mut self, worker: ClientId, actions: &mut Vec<Action>) {
        let waits_in_vain = self.waits_for_the_queue(worker);
        let since_ns = self.now_ns;
        let row = self.worker(worker);
        if row.blocked.is_some() {
            return;
        }
        row.blocked = Some(Blocked { since_ns, is_lent: false, waits_in: None });
        let class = row.grant.expect("a worker with a task has a grant");
        if row.actor.is_none() {
            self.take_back(worker, 1, actions);
            self.blocked_workers += 1;
            self.running_without_cpu -= u32::from(!self.classes[class as usize].demand.has_cpu());
        }
        self.running -= 1;
        self.blocked.insert((since_ns + LEND_AFTER_NS, worker));
        if waits_in_vain {
            self.lend_cpu(worker, actions);
        }
    }

    /// It has slept for long enough, or waits for who needs its CPU.
    pub(crate) fn lend_cpu(&mut self, worker: ClientId, actions: &mut Vec<Action>) {
        let row = self.workers.get_mut(&worker).expect("a blocked worker is in the table");
        let Some(blocked) = &mut row.blocked else { return };
        self.blocked.remove(&(blocked.since_ns + LEND_AFTER_NS, worker));
        if !std::mem::replace(&mut blocked.is_lent, true) {
            let class = row.grant.expect("a worker with a task has a grant");
            self.resources.give_cpu(&self.classes[class as usize].demand);
            self.schedule(actions);
        }
    }

    /// It goes on.
    pub(crate) fn blocked_to_running(&mut self, worker: ClientId, actions: &mut Vec<Action>) {
        let row = self.worker(worker);
        let Some(blocked) = row.blocked.take() else { return };
        let class = row.grant.expect("a worker with a task has a grant");
        let is_pooled = row.actor.is_none();
        self.blocked.remove(&(blocked.since_ns + LEND_AFTER_NS, worker));
        let demand = &self.classes[class as usize].demand;
        let has_no_cpu = !demand.has_cpu();
        if blocked.is_lent {
            self.resources.take_cpu(demand);
        }
        self.running += 1;
        if is_pooled {
            self.blocked_workers -= 1;
            self.running_without_cpu += u32::from(has_no_cpu);
        }
        self.offer_room(worker, actions);
    }

    /// Whether something that this worker waits for, directly or through others, comes from a task
    /// that is ready and does not run.
    fn waits_for_the_queue(&self, worker: ClientId) -> bool {
        let mut seen = FxHashSet::default();
        let mut next = Vec::new();
        self.awaited_by(worker, &mut next);
        while let Some(id) = next.pop() {
            let Some(task) = self.tasks.get(&id) else { continue };
            if !seen.insert(id) {
                continue;
            }
            match task.phase {
                Phase::Ready => return true,
                Phase::Waiting(_) => {
                    let pending = |id: &&_| self.value_of(**id).is_none();
                    next.extend(task.submit.waits.iter().filter(pending).map(|id| id.task));
                }
                Phase::Dispatched(on, ticket) => {
                    let Some(row) = self.workers.get(&on) else { continue };
                    if row.queue.front().is_none_or(|front| front.ticket != ticket) {
                        return true;
                    }
                    if row.blocked.is_some() {
                        self.awaited_by(on, &mut next);
                    }
                }
            }
            if seen.len() > MOST_LOOKED_AT {
                return true;
            }
        }
        false
    }

    /// The tasks that a worker's open requests wait for.
    fn awaited_by(&self, worker: ClientId, tasks: &mut Vec<TaskId>) {
        for open in self.workers[&worker].ledger.requests.values() {
            match open {
                Open::Get { ids, .. } => tasks.extend(ids.iter().map(|id| id.task)),
                Open::Wait { on, .. } => tasks.extend(on.iter().map(|waitable| match *waitable {
                    Waitable::Object(id) => id.task,
                    Waitable::Stream(task) | Waitable::Cursor(task, _) => task,
                })),
                Open::Next(task) | Open::Length(task) => tasks.push(*task),
                Open::Fetch { .. } | Open::Allocate => {}
            }
        }
    }
}
