//! Calls of an actor that runs several at once, by concurrency group.
//!
//! ```text
//!   ring ─▶ lane ─┬─ threads: an idle thread is nudged; whoever takes the last idle turn starts one more
//!                 └─ loop: its event is set; it takes as many as may run, and more when one ends
//! ```
//!
//! Invariant: a lane never runs more calls at once than its limit, and starts them in the order of
//! the ring. Unless it is at its limit, a lane of threads has one that waits for the next call. Each lane
//! has threads or a loop of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use skate_core::action::Run;
use skate_core::id::Ticket;
use skate_shm::fd::Event;

use crate::answer::Seat;
use crate::error::{Error, Result};
use crate::wire::Serves;

#[derive(Default)]
struct Lane {
    limit: u32,
    runs: VecDeque<Box<Run>>,
    /// Threads that wait for a call.
    idle: Vec<Arc<Seat>>,
    /// Threads there are (threads), or calls that run (loop).
    busy: u32,
}

/// How the loop of a lane learns that it has something to do.
struct Bell {
    /// Readable then.
    event: Event,
    is_set: AtomicBool,
    cancelled: Mutex<Vec<Ticket>>,
}

impl Bell {
    fn new() -> Result<Self> {
        Ok(Self {
            event: Event::new().map_err(|errno| Error::System("eventfd", errno))?,
            is_set: AtomicBool::new(false),
            cancelled: Mutex::default(),
        })
    }
}

/// All lanes of the process's actor.
pub(crate) struct Lanes {
    serves: Serves,
    groups: Box<[Mutex<Lane>]>,
    /// One for each lane, if they are loops.
    bells: Box<[Bell]>,
}

/// What a thread does next.
pub(crate) enum Turn {
    /// Execute this; if true, start one more thread before: nobody waits for the next call.
    Run(Box<Run>, bool),
    /// Wait on the seat.
    Wait,
}

impl Lanes {
    pub(crate) fn new(serves: Serves, limits: &[u32]) -> Result<Self> {
        // Each lane of threads is served by one from the start.
        let busy = u32::from(serves == Serves::Threads);
        let lane = |limit: &u32| Mutex::new(Lane { limit: *limit, busy, ..Lane::default() });
        let loops = if serves == Serves::Loop { limits.len() } else { 0 };
        Ok(Self {
            serves,
            groups: limits.iter().map(lane).collect(),
            bells: (0..loops).map(|_| Bell::new()).collect::<Result<_>>()?,
        })
    }

    pub(crate) const fn serves(&self) -> Serves {
        self.serves
    }

    pub(crate) const fn len(&self) -> usize {
        self.groups.len()
    }

    /// Of the loop of a lane.
    pub(crate) fn event(&self, lane: usize) -> Option<&Event> {
        self.bells.get(lane).map(|bell| &bell.event)
    }

    /// Has the loop of a lane look.
    pub(crate) fn nudge_loop(&self, lane: usize) {
        if let Some(bell) = self.bells.get(lane)
            && !bell.is_set.swap(true, Ordering::AcqRel)
        {
            bell.event.set();
        }
    }

    /// The loop of a lane looks now. The event is cleared first: who nudges after that and before the
    /// flag is down finds it up, and what they nudge for is seen by this look.
    pub(crate) fn loop_looks(&self, lane: usize) {
        if let Some(bell) = self.bells.get(lane) {
            bell.event.clear();
            bell.is_set.swap(false, Ordering::AcqRel);
        }
    }

    /// A call has come.
    pub(crate) fn push(&self, lane: usize, run: Box<Run>) {
        let mut group = self.groups[lane].lock();
        group.runs.push_back(run);
        match self.serves {
            Serves::Loop => {
                drop(group);
                self.nudge_loop(lane);
            }
            Serves::Threads | Serves::InTurn => {
                if let Some(seat) = group.idle.pop() {
                    seat.nudge();
                }
            }
        }
    }

    /// A running call was cancelled. The loop that runs it knows the ticket, the others do not.
    pub(crate) fn cancel(&self, ticket: Ticket) {
        for (lane, bell) in self.bells.iter().enumerate() {
            bell.cancelled.lock().push(ticket);
            self.nudge_loop(lane);
        }
    }

    pub(crate) fn take_cancelled(&self, lane: usize) -> Vec<Ticket> {
        let bell = self.bells.get(lane);
        bell.map(|bell| std::mem::take(&mut *bell.cancelled.lock())).unwrap_or_default()
    }

    /// A thread that was to serve a lane could not be started.
    pub(crate) fn lost_thread(&self, lane: usize) {
        self.groups[lane].lock().busy -= 1;
    }

    /// The next call for a thread; if there is none, it is listed as idle.
    pub(crate) fn turn(&self, lane: usize, seat: &Arc<Seat>) -> Turn {
        let mut lane = self.groups[lane].lock();
        lane.idle.retain(|other| !Arc::ptr_eq(other, seat));
        if let Some(run) = lane.runs.pop_front() {
            let alone = lane.idle.is_empty() && lane.busy < lane.limit;
            lane.busy += u32::from(alone);
            return Turn::Run(run, alone);
        }
        seat.reset();
        lane.idle.push(Arc::clone(seat));
        Turn::Wait
    }

    /// The next call that the loop of a lane may start; it counts as running.
    pub(crate) fn next_for_loop(&self, lane: usize) -> Option<Box<Run>> {
        let mut lane = self.groups[lane].lock();
        if lane.busy >= lane.limit {
            return None;
        }
        let run = lane.runs.pop_front()?;
        lane.busy += 1;
        Some(run)
    }

    /// A call of the loop has ended, or was not to be started after all.
    pub(crate) fn ended(&self, lane: usize) {
        let mut group = self.groups[lane].lock();
        group.busy -= 1;
        if !group.runs.is_empty() {
            drop(group);
            self.nudge_loop(lane);
        }
    }

    /// Wakes everybody: the process leaves.
    pub(crate) fn wake_all(&self) {
        for (lane, group) in self.groups.iter().enumerate() {
            group.lock().idle.drain(..).for_each(|seat| seat.nudge());
            self.nudge_loop(lane);
        }
    }
}
