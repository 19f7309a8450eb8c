//! A cancel is heard although its signal came just before a system call.
//!
//! Python's C code only notes a signal; the handler runs before the next instruction. A system call that
//! begins in between waits as if nothing had been, for ever if nothing else ends it.
//!
//! ```text
//!   SIGINT ─ 10 ms ─▶ still running? SIGURG ─ 20 ms ─▶ still running? SIGURG … ─ 10 s ─▶ left alone
//! ```
//!
//! Invariant: a cancelled task that runs on is nudged, ever more rarely, and not without end: it may have
//! caught its interrupt. The nudge itself means nothing, so one too many does no harm, while SIGINT again
//! could come when the task cleans up.

use std::time::{Duration, Instant};

use skate_core::id::{ClientId, Ticket};

const FIRST: Duration = Duration::from_millis(10);
const LAST: Duration = Duration::from_secs(10);

struct Nudge {
    worker: ClientId,
    ticket: Ticket,
    pause: Duration,
    due: Instant,
}

/// Those that are to come, for the watcher's thread.
#[derive(Default)]
pub(crate) struct Nudges(Vec<Nudge>);

impl Nudges {
    /// A task was sent its signal just now.
    pub(crate) fn add(&mut self, worker: ClientId, ticket: Ticket) {
        let due = Instant::now() + FIRST;
        self.0.push(Nudge { worker, ticket, pause: FIRST, due });
    }

    /// Nudges where it is time to: `nudge` says whether the task still runs.
    pub(crate) fn send_due(&mut self, mut nudge: impl FnMut(ClientId, Ticket) -> bool) {
        let now = Instant::now();
        self.0.retain_mut(|each| {
            if each.due > now {
                return true;
            }
            each.pause *= 2;
            each.due = now + each.pause;
            nudge(each.worker, each.ticket) && each.pause < LAST
        });
    }

    /// How long until the next one.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let due = self.0.iter().map(|each| each.due).min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }
}
