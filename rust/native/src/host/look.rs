//! Looking at the node: what the host knows of processes, and answers without a session.
//!
//! Invariant: an answer is of one moment, after everything that had been said before it was asked.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use rustc_hash::FxHashMap;
use skate_core::id::{ClientId, Ticket};
use skate_core::inspect::{Outside, Query, Rows};

use super::{Host, State};
use crate::link::Link;

/// Workers that have gone, and whose pids are remembered.
const MOST_LATE: usize = 1_000;

/// Rows that a worker is sent at most: a message has to stay far below the longest that there may be.
pub(super) const MOST_SENT: u32 = 100_000;

/// Pids of workers that have gone lately.
#[derive(Default)]
pub(super) struct Late {
    order: VecDeque<ClientId>,
    pids: FxHashMap<ClientId, u32>,
}

impl Late {
    pub(super) fn push(&mut self, worker: ClientId, pid: u32) {
        if self.order.len() == MOST_LATE
            && let Some(oldest) = self.order.pop_front()
        {
            self.pids.remove(&oldest);
        }
        self.order.push_back(worker);
        self.pids.insert(worker, pid);
    }
}

struct Processes<'a> {
    links: &'a FxHashMap<ClientId, Link>,
    late: &'a Late,
}

impl Outside for Processes<'_> {
    fn has_started(&self, worker: ClientId, ticket: Ticket) -> bool {
        self.links.get(&worker).is_some_and(|link| link.has_started(ticket))
    }

    fn pid(&self, client: ClientId) -> u32 {
        if client == ClientId::DRIVER {
            return std::process::id();
        }
        let late = || self.late.pids.get(&client).copied();
        self.links.get(&client).map(Link::pid).or_else(late).unwrap_or(0)
    }
}

/// Now, by the clock that all processes share and since 1970. Of several looks at both, that one counts during
/// which this thread was interrupted least.
pub(super) fn clocks() -> (u64, u64) {
    let look = |_| {
        let before_ns = crate::monotonic_ns();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let took_ns = crate::monotonic_ns().saturating_sub(before_ns);
        let unix_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        (took_ns, before_ns + took_ns / 2, unix_ns)
    };
    let (_, at_ns, unix_ns) = (0..5).map(look).min().unwrap_or_default();
    (at_ns, unix_ns)
}

impl Host {
    /// Rows of the node's tables, with times since 1970.
    pub(super) fn look(&self, state: &State, query: &Query) -> Result<Rows, String> {
        let State { node, links, late, .. } = state;
        let mut rows = node.inspect(query, &Processes { links, late })?;
        rows.shift(self.began_unix_ns);
        Ok(rows)
    }

    /// Time, and what has been said so far.
    pub(super) fn catch_up(&self, state: &mut State) {
        self.tick(state);
        self.flush(state, None);
        self.read_rings(state);
    }

    /// The same for another process that looks.
    pub(crate) fn inspect(&self, query: &Query) -> Result<Rows, String> {
        self.turn(|host, state| {
            host.catch_up(state);
            host.look(state, query)
        })
    }
}
