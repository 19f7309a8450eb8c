//! Producers that wait for their streams to be read.
//!
//! Invariant: who waits is listed before it looks for the last time, and every poll looks at the list;
//! so credit that comes at any moment is seen by one of the two.

use std::sync::Arc;

use pyo3::prelude::*;
use skate_core::id::Ticket;

use super::Worker;
use crate::answer::Seat;
use crate::session::Session;

/// What a producer waits for.
#[derive(Clone, Copy)]
pub(crate) enum Credit {
    /// So many items have been taken.
    Items(u64),
    /// An item of `need` bytes fits beside those that were stored and not taken.
    Bytes { stored: u64, need: u64, limit: u64 },
}

/// A producer that waits for its stream to be read.
pub(super) struct Pause {
    until: Credit,
    who: Producer,
}

/// Who waits.
enum Producer {
    /// A thread, on its seat.
    Thread(Arc<Seat>),
    /// A generator on the loop of a lane.
    Loop(usize),
}

impl Worker {
    /// Whether a generator on a loop may go on. If not, the loop is nudged, once, when it may.
    pub(crate) fn loop_may_go_on(&self, lane: usize, ticket: Ticket, until: Credit) -> bool {
        self.may_go_on(ticket, until) || self.pause(ticket, until, Producer::Loop(lane))
    }

    /// Lists the pause. Whether what it waits for has come before that.
    fn pause(&self, ticket: Ticket, until: Credit, who: Producer) -> bool {
        self.pauses.lock().insert(ticket, Pause { until, who });
        let may_go_on = self.may_go_on(ticket, until);
        if may_go_on {
            self.unpause(ticket);
        }
        may_go_on
    }

    /// That task waits for its stream no more.
    pub(crate) fn unpause(&self, ticket: Ticket) {
        self.pauses.lock().remove(&ticket);
    }

    /// Sleeps until the running task's stream has been read so far, or nobody reads it.
    pub(crate) fn wait_for_credit(
        &self,
        session: &Session,
        py: Python<'_>,
        ticket: Ticket,
        until: Credit,
    ) -> PyResult<()> {
        if self.may_go_on(ticket, until) {
            return Ok(());
        }
        let seat = Arc::new(Seat::default());
        if self.pause(ticket, until, Producer::Thread(Arc::clone(&seat))) {
            return Ok(());
        }
        let waited = session.wait_on(py, &seat, None, None);
        self.unpause(ticket);
        waited.map(drop)
    }

    /// Whether that task's stream has been read so far, or nobody reads it.
    pub(crate) fn may_go_on(&self, ticket: Ticket, until: Credit) -> bool {
        let slot = self.slot(ticket);
        let has_credit = match until {
            Credit::Items(until) => slot.credit() >= until,
            Credit::Bytes { stored, need, limit } => {
                let unread = stored.saturating_sub(slot.credit_bytes());
                unread == 0 || unread.saturating_add(need) <= limit
            }
        };
        has_credit || slot.is_stream_dropped(ticket.0) || slot.is_stream_closed(ticket.0)
    }

    pub(super) fn is_any_pause_over(&self) -> bool {
        let pauses = self.pauses.lock();
        pauses.iter().any(|(&ticket, pause)| self.may_go_on(ticket, pause.until))
    }

    pub(super) fn nudge_pauses(&self) {
        self.pauses.lock().retain(|&ticket, pause| {
            if !self.may_go_on(ticket, pause.until) {
                return true;
            }
            match &pause.who {
                Producer::Thread(seat) => seat.nudge(),
                Producer::Loop(lane) => {
                    if let Some(lanes) = self.lanes.get() {
                        lanes.nudge_loop(*lane);
                    }
                }
            }
            // Who sleeps takes it off; a loop, which may be busy for long, looks again.
            matches!(pause.who, Producer::Thread(_))
        });
    }
}
