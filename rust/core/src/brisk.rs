//! A short task waits behind other short ones, rather than for a worker to wake up.
//!
//! ```text
//!   ready ─▶ a worker of its class has less than BRISK_NS left? ──yes──▶ behind that ──▶ watched
//!              └─no──▶ an idle worker                       begun by then ◀── PATIENCE_NS ──▶ taken back
//! ```
//!
//! A worker that sleeps is up some 35 µs after it was called, and calling it costs the caller a good part
//! of that; one with less left to do is free sooner. So a stream of short tasks keeps one worker awake, and
//! the next one is called only when that falls behind. But estimates are of the past: what is behind others
//! while a worker idles is looked at again, and moves over if the task in front has turned out long. For the
//! same reason a worker that becomes idle takes from who has much, and leaves what is short where it is.
//!
//! Invariant: while a worker of the pool idles that could run it, a task is behind another one that
//! runs for longer than `PATIENCE_NS` only until its worker's watch is over.

use crate::action::Action;
use crate::id::ClientId;
use crate::node::Node;
use crate::scheduler::ClassId;
use crate::worker::{Life, Worker};

/// Waking a worker takes about as long.
const BRISK_NS: u64 = 30_000;
/// How long the task in front may run, until those behind it are taken back: many times its estimate, and
/// seldom enough for the thread that looks.
const PATIENCE_NS: u64 = 1_000_000;

impl Worker {
    /// Whether what it has is soon done, as far as is known.
    fn is_brisk(&self, now_ns: u64) -> bool {
        self.life == Life::Up && self.queued_ns < BRISK_NS && !self.is_overdue(now_ns)
    }

    /// Whether the task in front runs for long already.
    fn is_overdue(&self, now_ns: u64) -> bool {
        self.overdue_from_ns() <= now_ns
    }

    fn overdue_from_ns(&self) -> u64 {
        self.began_ns().max(self.free_since_ns).saturating_add(PATIENCE_NS)
    }
}

impl Node {
    /// A worker that will be free before an idle one could be awake. What it is given is watched.
    pub(crate) fn brisk_worker(&mut self, class: ClassId) -> Option<ClientId> {
        let worker = self.roomy_worker(class)?;
        if !self.workers[&worker].is_brisk(self.now_ns) {
            return None;
        }
        self.watch_over(worker);
        Some(worker)
    }

    /// Resources are free although tasks wait behind others: half of what is longest moves over, or all
    /// of it if the task in front is; and what is short is watched.
    pub(crate) fn recall(&mut self, actions: &mut Vec<Action>) {
        if self.idle.is_empty() && !self.may_grow() {
            return;
        }
        let now_ns = self.now_ns;
        let is_crowded = |row: &Worker| {
            let is_pooled = row.actor.is_none() && row.blocked.is_none() && row.queue.len() > 1;
            is_pooled && row.grant.is_some_and(|class| self.may_start(class))
        };
        let (mut brisk, mut longest) = (Vec::new(), None::<(ClientId, &Worker)>);
        for (worker, row) in self.workers.iter().filter(|(_, row)| is_crowded(row)) {
            if row.is_brisk(now_ns) {
                brisk.push(*worker);
            } else if longest.is_none_or(|(_, other)| row.queue.len() >= other.queue.len()) {
                longest = Some((*worker, row));
            }
        }
        if let Some((worker, row)) = longest {
            let half = row.queue.len().div_ceil(2);
            self.take_back(worker, if row.is_overdue(now_ns) { 1 } else { half }, actions);
        }
        for worker in brisk {
            self.watch_over(worker);
        }
    }

    /// Those behind its task are to be looked at again.
    fn watch_over(&mut self, worker: ClientId) {
        let latest_ns = self.now_ns + PATIENCE_NS;
        let row = self.worker(worker);
        if row.watched_until_ns.is_none() {
            let due_ns = row.overdue_from_ns().min(latest_ns);
            row.watched_until_ns = Some(due_ns);
            self.watched.insert((due_ns, worker));
        }
    }

    /// It is gone, or it is looked at now.
    pub(crate) fn end_watch(&mut self, worker: ClientId) {
        if let Some(due_ns) = self.worker(worker).watched_until_ns.take() {
            self.watched.remove(&(due_ns, worker));
        }
    }

    /// Whether it matters what workers have said when the time is told.
    pub fn is_watching(&self) -> bool {
        !self.watched.is_empty()
    }

    /// Time has passed: looks at whatever is due.
    pub(crate) fn look_behind(&mut self, actions: &mut Vec<Action>) {
        while let Some((due_ns, worker)) = self.watched.first().copied() {
            if due_ns > self.now_ns {
                break;
            }
            self.end_watch(worker);
            let row = &self.workers[&worker];
            if row.queue.len() < 2 || row.blocked.is_some() {
                continue;
            }
            if row.is_overdue(self.now_ns) {
                self.take_back(worker, 1, actions);
            } else {
                self.watch_over(worker);
            }
        }
    }
}
