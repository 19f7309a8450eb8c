//! Drops reach the node within a few milliseconds although the process makes no further call.
//!
//! A drop only sets a flag; a thread that sleeps in `poll` anyway looks at it every [`TICK`] while
//! drops happen, and goes to sleep for good after a few quiet looks. So a busy process pays no
//! system call per drop, and an idle one no wake-ups.
//!
//! Invariant: after `note_dirty` a look follows within a tick: either the flag was set, and the
//! thread is looking, or it was not, and the thread is woken. Who drops makes it known, then looks at the
//! flag; who looks takes the flag down, then looks for drops: with a fence between the two on both sides one
//! of them sees the other.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use skate_shm::watch::Waker;

/// Longest time that a drop waits.
pub(crate) const TICK: Duration = Duration::from_millis(10);
/// Quiet looks before sleeping for good.
const PATIENCE: u32 = 5;

/// The flag between dropping threads and the looking one.
pub(crate) struct Ticker {
    ticking: AtomicBool,
    waker: Waker,
}

/// What the looking thread remembers.
#[derive(Default)]
pub(crate) struct Quiet(u32);

impl Ticker {
    pub(crate) const fn new(waker: Waker) -> Self {
        Self { ticking: AtomicBool::new(false), waker }
    }

    /// Something was dropped, and can be seen to have been.
    pub(crate) fn note_dirty(&self) {
        fence(Ordering::SeqCst);
        if !self.ticking.load(Ordering::Acquire) && !self.ticking.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Ends the looking thread's wait.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// How long the looking thread may sleep; it looks, by `is_dirty`, before and after.
    pub(crate) fn timeout(
        &self,
        quiet: &mut Quiet,
        is_dirty: impl Fn() -> bool,
    ) -> Option<Duration> {
        if !self.ticking.load(Ordering::Acquire) {
            return None;
        }
        if is_dirty() {
            quiet.0 = 0;
        } else {
            quiet.0 += 1;
        }
        if quiet.0 < PATIENCE {
            return Some(TICK);
        }
        quiet.0 = 0;
        self.ticking.store(false, Ordering::Release);
        fence(Ordering::SeqCst);
        // A drop just before the store saw the flag set and woke nobody.
        is_dirty().then_some(Duration::ZERO)
    }
}
