//! Whoever waits, drives: one waiting thread at a time leads, the others sleep on their seats.
//!
//! ```text
//!   wait ──▶ leader? ──no──▶ become it: poll ▸ done? ▸ spin a little ▸ park on the doorbell ─┐
//!               │yes              ▲                                                          │
//!               ▼                 └──────────────────── rung ◀───────────────────────────────┘
//!        sleep on the seat ◀── woken by its answer, or promoted when the leader leaves
//! ```
//!
//! A leader that leaves promotes a sleeper. If there is none it arms the background thread: from
//! then on a ring of the doorbell wakes that thread, which polls until nothing is left and goes back
//! to sleep. It never parks as a leader, so a thread that wants to wait finds the lead free, or
//! free soon.
//!
//! Invariant: while messages can arrive there is a thread that hears the doorbell: a leader, a
//! promoted sleeper on its way, or the background thread. No Python runs while a thread leads: for
//! signal handlers `wait` returns [`Waited::Signal`], and the caller comes back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use skate_shm::doorbell::{Doorbell, Parked, Sleeper};
use skate_shm::spin::Spin;

use crate::answer::Seat;

/// What a leader drives.
pub(crate) trait Engine: Send + Sync {
    /// Handles the messages that are there; false if there were too many for one turn.
    fn poll(&self) -> bool;
    /// Whether `poll` would find one.
    fn has_work(&self) -> bool;
    /// What peers ring when they have published a message.
    fn bell(&self) -> &Doorbell;
    /// Whether a core is free for spinning.
    fn may_spin(&self) -> bool;
    /// Whether a background thread pumps while nobody leads.
    fn has_background(&self) -> bool;
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Waited {
    /// The seat has something.
    Done,
    /// The deadline has passed.
    TimedOut,
    /// Signal handlers should run now; then wait again.
    Signal,
}

/// A signal that lands just before the system call would else wait for the next wake-up.
pub(crate) const SIGNAL_CHECK: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Lead {
    taken: bool,
    sleepers: VecDeque<Arc<Seat>>,
}

/// The lead of one process.
pub(crate) struct Pump {
    lead: Mutex<Lead>,
    spin: Mutex<Spin>,
}

impl Pump {
    pub(crate) fn new() -> Self {
        Self { lead: Mutex::default(), spin: Mutex::new(Spin::default()) }
    }

    /// Waits until the seat is done.
    pub(crate) fn wait(
        &self,
        engine: &dyn Engine,
        seat: &Arc<Seat>,
        deadline: Option<Instant>,
    ) -> Waited {
        let mut has_slept = false;
        loop {
            if seat.is_done() {
                if has_slept {
                    // It may have been promoted.
                    self.pass_on(engine);
                }
                return Waited::Done;
            }
            let mut lead = self.lead.lock();
            if !lead.taken {
                lead.taken = true;
                drop(lead);
                let waited = self.lead(engine, seat, deadline);
                self.leave(engine);
                return waited;
            }
            lead.sleepers.push_back(Arc::clone(seat));
            drop(lead);
            let left = time_left(deadline).unwrap_or_default();
            let slept = Instant::now();
            seat.sleep(left.min(SIGNAL_CHECK));
            has_slept = true;
            self.lead.lock().sleepers.retain(|other| !Arc::ptr_eq(other, seat));
            let waited = if seat.is_done() {
                Waited::Done
            } else if time_left(deadline).is_none() {
                Waited::TimedOut
            } else if slept.elapsed() >= SIGNAL_CHECK {
                Waited::Signal
            } else {
                continue;
            };
            self.pass_on(engine);
            return waited;
        }
    }

    /// Polls in the background thread, unless somebody leads who will.
    pub(crate) fn poll_in_background(&self, engine: &dyn Engine) {
        let mut lead = self.lead.lock();
        if lead.taken {
            return;
        }
        lead.taken = true;
        drop(lead);
        engine.bell().awake();
        engine.poll();
        self.leave(engine);
    }

    fn lead(&self, engine: &dyn Engine, seat: &Seat, deadline: Option<Instant>) -> Waited {
        engine.bell().awake();
        loop {
            engine.poll();
            if seat.is_done() {
                return Waited::Done;
            }
            let Some(left) = time_left(deadline) else { return Waited::TimedOut };
            // In this order: who takes the last of the work is seen to have it until the seat is filled.
            let ready = || engine.has_work() || seat.is_done();
            if self.spin.lock().wait(engine.may_spin(), ready) {
                continue;
            }
            let parked = engine.bell().park(Sleeper::Leader, ready, Some(left.min(SIGNAL_CHECK)));
            match parked {
                Parked::Interrupted => return Waited::Signal,
                Parked::TimedOut if time_left(deadline).is_some() => return Waited::Signal,
                _ => {}
            }
        }
    }

    fn leave(&self, engine: &dyn Engine) {
        self.lead.lock().taken = false;
        self.pass_on(engine);
    }

    /// If nobody leads: promotes a sleeper, or gives the doorbell to the background thread.
    fn pass_on(&self, engine: &dyn Engine) {
        let lead = self.lead.lock();
        if lead.taken {
            return;
        }
        match lead.sleepers.front() {
            Some(seat) => seat.promote(),
            None if engine.has_background() => {
                // Still under the lock: a new leader's `awake` must come after this.
                engine.bell().arm_background();
                // What was published before that woke nobody. It is read here: waking the background
                // thread for it costs two cores a good part of the time that a message takes.
                if engine.has_work() && !engine.poll() {
                    engine.bell().ring_always();
                }
            }
            None => {}
        }
    }
}

/// Time until the deadline; None if it has passed.
fn time_left(deadline: Option<Instant>) -> Option<Duration> {
    match deadline {
        None => Some(Duration::MAX),
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            (!left.is_zero()).then_some(left)
        }
    }
}
