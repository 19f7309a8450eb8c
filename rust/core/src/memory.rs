//! What is done when memory runs short.
//!
//! ```text
//!   enough ──shortage──▶ short ──for PATIENCE, or nearly all in use,──▶ one worker is stopped, and so on
//!      ▲                   │         and nothing more to give
//!      │                   │ at each report: free pages of the store go back; idle values go to disk.
//!      │                   │ Meanwhile: producers with unread items pause, and nothing starts beside
//!      └──── enough ───────┘ what runs
//! ```
//!
//! Invariants: what can be given without ending anybody's work is given first. At most one worker is
//! ending for it at a time; the next one is chosen from a report that came after its end. It is the
//! cheapest: an idle one, else that of the task which has run for the shortest time of those that can be
//! run again, else of the others, else of an actor; but of those with a share of the memory that is
//! worth it. A task that is stopped so is run again at the expense of its retries for that, which are
//! counted apart; if nothing else ran it costs an ordinary retry as well, so that a task which is too
//! large for the machine ends.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::action::Action;
use crate::id::ClientId;
use crate::node::Node;
use crate::task::Task;
use crate::worker::{Life, Worker};

/// How long what is given may take to help, before a worker is stopped.
const PATIENCE_NS: u64 = 500_000_000;
/// Stopping a worker with less than this part of what the largest one has would not help.
const WORTH: u64 = 10;
/// Spilled at each report.
const BATCH: u64 = 64 << 20;
/// Workers that the error names.
const MOST_NAMED: usize = 5;

/// What the runtime has seen of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Bytes in use that cannot be reclaimed.
    pub used: u64,
    /// Bytes that there may be.
    pub limit: u64,
    /// Of 1000 parts of the limit, so many may be used.
    pub threshold: u64,
    /// Whose memory it is, for people.
    pub of: Arc<str>,
    /// Of 100 parts of the last 10 s, in so many no process could go on for want of memory.
    pub standstill: u64,
    /// Of each worker: process id, and bytes that would be free without it.
    pub workers: Box<[(ClientId, u32, u64)]>,
}

impl Shortage {
    /// Half of what was to stay free is in use, too: in a moment the kernel would choose whom to kill.
    fn is_pressing(&self) -> bool {
        let half_way = u128::from(self.threshold.midpoint(1000));
        u128::from(self.used) * 1000 >= u128::from(self.limit) * half_way
    }
}

/// A worker that is stopped for want of memory.
#[derive(Clone, Debug)]
pub(crate) struct Stopped {
    /// What, how much and why.
    pub(crate) why: Arc<str>,
    /// Nothing else ran.
    pub(crate) was_alone: bool,
}

/// Whether memory is short.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    since_ns: Option<u64>,
    /// Being stopped.
    victim: Option<ClientId>,
}

impl Memory {
    pub(crate) const fn is_short(&self) -> bool {
        self.since_ns.is_some()
    }
}

/// Cheapest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    Nothing,
    Again,
    Task,
    Actor,
}

impl Node {
    /// The runtime has looked at memory.
    pub(crate) fn on_memory(&mut self, report: Option<&Shortage>, actions: &mut Vec<Action>) {
        let Some(report) = report else {
            if self.memory.since_ns.take().is_some() {
                // What was held back may start, and who was given up is replaced.
                self.schedule(actions);
                self.refill_pool(actions);
            }
            return;
        };
        let since_ns = *self.memory.since_ns.get_or_insert(self.now_ns);
        actions.extend(self.store.give_warm().into_iter().map(Action::Punch));
        let gives = self.shed(BATCH, actions);
        if self.memory.victim.is_some_and(|victim| self.workers.contains_key(&victim)) {
            return;
        }
        self.memory.victim = None;
        let has_waited = since_ns + PATIENCE_NS <= self.now_ns;
        if !gives && (has_waited || report.is_pressing()) {
            self.stop_one(report, actions);
        }
    }

    fn stop_one(&mut self, report: &Shortage, actions: &mut Vec<Action>) {
        let Some((victim, cost)) = self.cheapest(report) else { return };
        let was_alone = self.workers.values().filter(|row| !row.queue.is_empty()).count() == 1;
        let why = self.explain(report, victim, cost).into();
        let row = self.worker(victim);
        row.stopped = Some(Stopped { why, was_alone });
        self.memory.victim = Some(victim);
        self.kill(victim, Life::Killed, "memory ran out", actions);
    }

    fn cheapest(&self, report: &Shortage) -> Option<(ClientId, Cost)> {
        let largest = report.workers.iter().map(|(_, _, bytes)| *bytes).max()?;
        let worth = report.workers.iter().filter(|(_, _, bytes)| bytes * WORTH >= largest);
        let rows = worth.filter_map(|(client, ..)| Some((*client, self.workers.get(client)?)));
        let up = rows.filter(|(_, row)| row.life == Life::Up);
        let costs = up.map(|(client, row)| (self.cost_of(row), client, row.began_ns()));
        let best = costs.min_by_key(|(cost, client, began_ns)| {
            (*cost, std::cmp::Reverse(*began_ns), std::cmp::Reverse(*client))
        });
        best.map(|(cost, client, _)| (client, cost))
    }

    fn cost_of(&self, row: &Worker) -> Cost {
        if row.actor.is_some() {
            return Cost::Actor;
        }
        let Some(dispatch) = row.queue.front() else { return Cost::Nothing };
        let task = self.tasks.get(&dispatch.task);
        let may_run_again = task.is_some_and(Task::is_repeatable);
        if may_run_again { Cost::Again } else { Cost::Task }
    }

    fn explain(&self, report: &Shortage, victim: ClientId, cost: Cost) -> String {
        let Shortage { used, limit, threshold, of, standstill, .. } = report;
        let part = used.saturating_mul(1000) / (*limit).max(1);
        let mut text = format!(
            "Memory of {of} was {} used / {} limit ({}), and the threshold is {}; \
             files in the page cache are not counted. ",
            in_gb(*used),
            in_gb(*limit),
            in_thousandths(part),
            in_thousandths(*threshold)
        );
        if *standstill > 0 {
            let _ = write!(
                text,
                "In {standstill} % of the last 10 s no process could go on for want of memory. "
            );
        }
        let chosen = report.workers.iter().find(|(client, ..)| *client == victim);
        let (pid, bytes) = chosen.map_or((0, 0), |(_, pid, bytes)| (*pid, *bytes));
        let reason = match cost {
            Cost::Nothing => "it had no task",
            Cost::Again => "of the tasks that can be run again it had started last",
            Cost::Task => "no task can be run again, and it had started last",
            Cost::Actor => "there are only actors, and it had started last",
        };
        let name = self.name_of(victim);
        let _ = write!(text, "{name} (pid={pid}) had {} and was stopped: {reason}. ", in_gb(bytes));
        let mut workers: Vec<_> = report.workers.iter().collect();
        workers.sort_by_key(|(_, _, bytes)| std::cmp::Reverse(*bytes));
        text += "The largest workers:";
        for (place, (client, pid, bytes)) in workers.into_iter().take(MOST_NAMED).enumerate() {
            let comma = if place > 0 { "," } else { "" };
            let name = self.name_of(*client);
            let _ = write!(text, "{comma} {name} (pid={pid}) {}", in_gb(*bytes));
        }
        text
    }

    fn name_of(&self, worker: ClientId) -> Arc<str> {
        self.running_on(worker).map_or_else(|| "an idle worker".into(), |(_, name)| name)
    }
}

fn in_gb(bytes: u64) -> String {
    let hundredths = bytes.saturating_mul(100) >> 30;
    format!("{}.{:02}GB", hundredths / 100, hundredths % 100)
}

fn in_thousandths(part: u64) -> String {
    format!("{}.{:03}", part / 1000, part % 1000)
}
