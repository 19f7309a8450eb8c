//! The atomics and the futex, or their stand-ins under loom.
//!
//! ```text
//!   normal build   std atomics, futex(2) on a word of shared memory
//!   --cfg loom     loom atomics, a mutex and a condition variable beside the word
//! ```
//!
//! Invariant: everything shared between processes is made of these types, so that the protocols that
//! loom checks are, line for line, the ones that run. All-zero bytes are a valid initial state of each.

use std::time::Duration;

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Keeps its content off its neighbours' cache lines. Twice a line, since x86 fetches them in pairs.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Apart<T>(pub(crate) T);

/// How a futex wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(loom, expect(dead_code, reason = "loom knows neither time nor signals"))]
pub(crate) enum Slept {
    /// Woken, or the word no longer had the expected value.
    Woken,
    TimedOut,
    Interrupted,
}

/// A word that threads of several processes can sleep on.
///
/// The wait compares and goes to sleep atomically with respect to `wake`: whoever changes the word
/// and then wakes is never missed. The kernel gives this by its hash bucket lock and a full barrier
/// on both sides, the stand-in by its mutex.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Futex {
    pub(crate) word: AtomicU32,
    #[cfg(loom)]
    gate: loom::sync::Mutex<()>,
    #[cfg(loom)]
    sleepers: loom::sync::Condvar,
}

#[cfg(not(loom))]
impl Futex {
    /// Sleeps while the word is `expected`, at most `timeout` (`None`: for ever).
    pub(crate) fn wait(&self, expected: u32, timeout: Option<Duration>) -> Slept {
        use rustix::io::Errno;
        use rustix::thread::futex::{self, Flags, Timespec};

        // A duration that does not fit into a timespec is for ever.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // No `Flags::PRIVATE`: the waker is another process.
        match futex::wait(&self.word, Flags::empty(), expected, timeout.as_ref()) {
            Err(Errno::TIMEDOUT) => Slept::TimedOut,
            Err(Errno::INTR) => Slept::Interrupted,
            _ => Slept::Woken,
        }
    }

    /// Wakes up to `count` sleepers.
    pub(crate) fn wake(&self, count: u32) {
        use rustix::thread::futex::{self, Flags};

        // It can only fail for a bad address, which a reference is not.
        let _ = futex::wake(&self.word, Flags::empty(), count);
    }
}

#[cfg(loom)]
impl Futex {
    /// As above; loom knows no time, so a lost wake-up is a deadlock, which loom reports.
    pub(crate) fn wait(&self, expected: u32, _timeout: Option<Duration>) -> Slept {
        let gate = self.gate.lock().expect("loom's mutex is never poisoned");
        if self.word.load(Ordering::Relaxed) == expected {
            drop(self.sleepers.wait(gate).expect("loom's mutex is never poisoned"));
        }
        Slept::Woken
    }

    pub(crate) fn wake(&self, _count: u32) {
        let _gate = self.gate.lock().expect("loom's mutex is never poisoned");
        self.sleepers.notify_all();
    }
}
