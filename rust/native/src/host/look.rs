//! Looking at the node: what the host knows of processes, and answers without a session.
//!
//! Invariant: an answer is of one moment, after everything that had been said before it was asked.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use skate_core::id::{ClientId, Ticket};
use skate_core::inspect::{Outside, Query, Rows};

use super::{Host, State};
use crate::link::Link;

/// Workers that have gone, and whose pids are remembered.
const MOST_LATE: usize = 1_000;

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

impl Host {
    /// Rows of the node's tables, with times by the clock of all processes.
    pub(super) fn look(&self, state: &State, query: &Query) -> Result<Rows, String> {
        let State { node, links, late, .. } = state;
        let mut rows = node.inspect(query, &Processes { links, late })?;
        rows.shift(self.began_ns);
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
