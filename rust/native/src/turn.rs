//! Turns: one thread at a time reads through a cursor that its handle moves by itself.
//!
//! Invariant: first come, first served; who waits for its turn can be interrupted and times out, and the
//! turn of one that has gone away goes to the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use pyo3::prelude::*;
use skate_shm::doorbell::Urgency;

use crate::answer::Seat;
use crate::session::Session;

/// Who waits for a turn.
#[derive(Default)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    is_taken: bool,
    waiting: VecDeque<Arc<Seat>>,
}

/// One thread's turn, which ends when this is dropped.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    session: &'a Session,
}

impl Turns {
    /// Waits for a turn; None if the deadline passed first.
    pub(crate) fn wait<'a>(
        &'a self,
        py: Python<'_>,
        session: &'a Session,
        deadline: Option<Instant>,
    ) -> PyResult<Option<Turn<'a>>> {
        let seat = Arc::new(Seat::default());
        {
            let mut state = self.0.lock();
            if !std::mem::replace(&mut state.is_taken, true) {
                return Ok(Some(Turn { turns: self, session }));
            }
            state.waiting.push_back(Arc::clone(&seat));
        }
        let waited = session.wait_on(py, &seat, deadline, None);
        if matches!(waited, Ok(true)) {
            return Ok(Some(Turn { turns: self, session }));
        }
        let mut state = self.0.lock();
        let known = state.waiting.len();
        state.waiting.retain(|other| !Arc::ptr_eq(other, &seat));
        let is_given = state.waiting.len() == known;
        drop(state);
        // It came too late.
        drop(is_given.then_some(Turn { turns: self, session }));
        waited.map(|_| None)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.0.lock();
        let next = state.waiting.pop_front();
        state.is_taken = next.is_some();
        drop(state);
        if let Some(seat) = next {
            seat.nudge();
            // It may be parked as the leader of this process.
            self.session.transport.engine().bell().ring(Urgency::Relaxed);
        }
    }
}
