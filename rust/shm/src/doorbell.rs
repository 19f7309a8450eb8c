//! How a process that sleeps hears that a message was published.
//!
//! ```text
//!              park                      arm_background
//!   LEADER ◀────────── AWAKE ──────────────────────────▶ BACKGROUND
//!      │                ▲ ▲                                   │
//!      └── ring: CAS, ──┘ └── ring(Urgent): CAS, call, wake ──┘    (`awake`, too: a leader takes over)
//!          wake the leader        the background thread
//! ```
//!
//! A process has at most one *leader*, a thread that waits for something and pumps the rings itself,
//! and may have one *background* thread, which pumps when nobody leads. `state` says who listens. The
//! leader sleeps on `state`; the background thread sleeps on a word of its own, `called`, an
//! auto-reset flag, so it stays in the kernel while leaders come and go: changing hands is one store.
//!
//! Invariant: a message that is published and then rung for is seen by the listener that `state`
//! named at any later time: either it is awake and will poll, or its recheck sees the message, or
//! it is woken. Everyone who waits relies on it.
//!
//! ```text
//! leader                                     ringer
//!  P1 state = LEADER         AcqRel           R1 publish               release (the ring's tail)
//!  P2 fence                  SeqCst           R2 fence                 SeqCst
//!  P3 recheck the rings      (work? no sleep) R3 load state            relaxed
//!  P4 futex wait on LEADER                    R4 CAS to AWAKE          AcqRel
//!  P5 state = AWAKE          AcqRel           R5 called = 1 (background only)   AcqRel swap
//! leaving leader                              R6 futex wake
//!  L1 state = BACKGROUND     AcqRel
//!  L2 fence                  SeqCst          background thread
//!  L3 recheck the rings; work? read it        B1 called 1→0? then poll  AcqRel swap
//!                                             B2 futex wait on 0, then B1
//! ```
//!
//! *No wake-up is lost.* Of the two fences one is first. If P2 (L2), P3 (L3) or a later step may miss
//! the message, but R3 sees LEADER (BACKGROUND) or something newer. If R2 is first, the recheck sees
//! the message. If R4 fails, `state` changed after R3: either another ringer took the duty to wake, or the
//! listener wrote it anew, and then its fence comes after ours and its recheck sees the message. A
//! ring between P1 and P4 changes the word, so P4 returns at once. A ring between L1 and B2 leaves
//! `called` at 1, so B2 returns at once; that B1 is a swap in a chain of swaps makes every ringer's message
//! visible to the poll that follows it.
//!
//! *Crashes.* A ringer killed before R4 leaves a message nobody was told of; killed between R4 and R6
//! it leaves a sleeper that everyone else believes awake. Both are healed by the node's death
//! handler, which calls [`Doorbell::ring_always`] on every bell that the dead process could ring. A
//! stray value in any word costs a spurious wake-up, or is healed the same way.
//!
//! Covered by `tests/loom.rs`: `doorbell_*`.

use std::time::Duration;

use crate::killpoint::{Point, reached};
use crate::sync::{Futex, Ordering, Slept, fence};

const AWAKE: u32 = 0;
const LEADER: u32 = 1;
const BACKGROUND: u32 = 2;

/// Which of a process's two listeners goes to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleeper {
    /// The one thread that pumps the rings for itself.
    Leader,
    /// The thread that pumps them when nobody leads.
    Background,
}

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody must look at it now: wakes whoever listens.
    Urgent,
    /// It can wait for the next leader: wakes only a leader.
    Relaxed,
}

/// How a [`Doorbell::park`] ended. Whatever it was, look at the rings before parking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Parked {
    /// Somebody rang, or the wake-up was spurious.
    Rung,
    /// The recheck found work; nothing slept.
    Work,
    /// The time is over.
    TimedOut,
    /// A signal handler ran (EINTR).
    Interrupted,
}

/// The bell of one process, in memory that its peers share. All-zero bytes are a bell nobody waits at.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Doorbell {
    /// Written by the listeners of the owning process; by ringers only from not-AWAKE to AWAKE.
    state: Futex,
    /// 1: the background thread owes a poll. Set by ringers, cleared by that thread.
    called: Futex,
}

impl Doorbell {
    /// A bell nobody waits at.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sleeps until rung, at most `timeout` (`None`: for ever). Does not sleep if `recheck`, called
    /// after peers can see that we are about to, says that there is work.
    ///
    /// At most one thread of the owning process may park as each kind of sleeper at a time. A ring
    /// for the background thread that came before it parks is remembered and returns at once.
    pub fn park(
        &self,
        who: Sleeper,
        recheck: impl FnOnce() -> bool,
        timeout: Option<Duration>,
    ) -> Parked {
        match who {
            Sleeper::Leader => self.park_leader(recheck, timeout),
            Sleeper::Background => self.park_background(recheck, timeout),
        }
    }

    fn park_leader(&self, recheck: impl FnOnce() -> bool, timeout: Option<Duration>) -> Parked {
        self.announce(LEADER); // P1
        fence(Ordering::SeqCst); // P2, pairs with R2
        reached(Point::Parking);
        let parked = if recheck() { Parked::Work } else { self.state.wait(LEADER, timeout).into() };
        reached(Point::Woken);
        self.awake();
        parked
    }

    fn park_background(&self, recheck: impl FnOnce() -> bool, timeout: Option<Duration>) -> Parked {
        if self.take_call() {
            return Parked::Rung;
        }
        if recheck() {
            return Parked::Work;
        }
        reached(Point::BackgroundParking);
        let slept = self.called.wait(0, timeout);
        // The flag decides: a call that arrives with the timeout is still a call.
        if self.take_call() { Parked::Rung } else { slept.into() }
    }

    fn take_call(&self) -> bool {
        self.called.word.swap(0, Ordering::AcqRel) != 0 // B1, pairs with R5
    }

    /// Tells ringers that the caller, a new leader, is awake and will look at the rings before it
    /// sleeps. The background thread is no longer rung for.
    pub fn awake(&self) {
        self.announce(AWAKE);
    }

    /// Every write of `state` is a read-modify-write. A plain store would do, since a ringer's CAS
    /// keeps its place in the word's history, but loom can order only chains of such writes. It costs
    /// little beside the fence that follows.
    fn announce(&self, state: u32) {
        self.state.word.swap(state, Ordering::AcqRel);
    }

    /// Hands the bell to the background thread: from now on an urgent ring wakes it. No system call.
    /// The caller, a leader that leaves, must then read what is in the rings now, or
    /// [`ring_always`](Self::ring_always) for it.
    pub fn arm_background(&self) {
        self.announce(BACKGROUND); // L1
        fence(Ordering::SeqCst); // L2, pairs with R2
    }

    /// Wakes the listener if it sleeps; call it after publishing. True if a wake-up was needed.
    pub fn ring(&self, urgency: Urgency) -> bool {
        fence(Ordering::SeqCst); // R2, pairs with P2 and L2
        let state = self.state.word.load(Ordering::Relaxed);
        match (state, urgency) {
            (LEADER, _) => self.take_duty(LEADER) && self.wake_leader(),
            (BACKGROUND, Urgency::Urgent) => self.take_duty(BACKGROUND) && self.wake_background(),
            _ => false,
        }
    }

    /// Wakes everyone, whatever the words say: for the death handler, which must make up for a
    /// ringer that died between two steps.
    pub fn ring_always(&self) {
        fence(Ordering::SeqCst);
        self.awake();
        self.wake_leader();
        self.wake_background();
    }

    /// R4: exactly one ringer gets the duty to wake.
    fn take_duty(&self, from: u32) -> bool {
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        let has_duty = self.state.word.compare_exchange(from, AWAKE, success, failure).is_ok();
        if has_duty {
            reached(Point::Waking);
        }
        has_duty
    }

    fn wake_leader(&self) -> bool {
        self.state.wake(u32::MAX >> 1);
        true
    }

    fn wake_background(&self) -> bool {
        self.called.word.swap(1, Ordering::AcqRel); // R5; a swap keeps earlier ringers' releases
        reached(Point::BackgroundCalled);
        self.called.wake(u32::MAX >> 1);
        true
    }
}

impl From<Slept> for Parked {
    fn from(slept: Slept) -> Self {
        match slept {
            Slept::Woken => Self::Rung,
            Slept::TimedOut => Self::TimedOut,
            Slept::Interrupted => Self::Interrupted,
        }
    }
}
