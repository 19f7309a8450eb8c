//! One page that all processes of a session share: how to call the node, and what the node hints at.
//!
//! ```text
//!   node ──sleeps on──▶ bell ◀──rings── every worker
//!   node ──writes──▶ hints ──read by──▶ every worker: must I ring at once? may I spin?
//! ```
//!
//! Invariant: the hints are hints. The node alone writes them, a reader may see an old value, and
//! whatever it sees changes only when something happens, never whether it does.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::doorbell::Doorbell;
use crate::overlay::{Layout, Overlay, OverlayError};
use crate::sync::{Apart, AtomicU32, AtomicU64, Ordering};

/// What the node wants its workers to know.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Hints {
    urgent: AtomicU32,
    backlog: AtomicU32,
    running: AtomicU32,
}

impl Hints {
    /// Something waits that the background thread must handle (dependents, `await`ers): workers ring
    /// with [`Urgency::Urgent`](crate::doorbell::Urgency::Urgent).
    pub fn is_urgent(&self) -> bool {
        self.urgent.load(Ordering::Relaxed) != 0
    }

    /// Node: sets [`is_urgent`](Self::is_urgent).
    pub fn set_urgent(&self, urgent: bool) {
        self.urgent.store(urgent.into(), Ordering::Relaxed);
    }

    /// Tasks that wait for a worker: one that runs dry should ring.
    pub fn backlog(&self) -> u32 {
        self.backlog.load(Ordering::Relaxed)
    }

    /// Node: sets [`backlog`](Self::backlog).
    pub fn set_backlog(&self, tasks: u32) {
        self.backlog.store(tasks, Ordering::Relaxed);
    }

    /// Workers that run a task now: with as many as there are cores, spinning only hurts.
    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// Node: sets [`running`](Self::running).
    pub fn set_running(&self, workers: u32) {
        self.running.store(workers, Ordering::Relaxed);
    }
}

#[derive(Debug)]
#[repr(C)]
struct Page {
    stamp: Apart<AtomicU64>,
    bell: Apart<Doorbell>,
    hints: Apart<Hints>,
}

// SAFETY: `repr(C)`, atomics only, all valid as zeroes.
unsafe impl Layout for Page {
    const STAMP: u64 = u64::from_le_bytes(*b"skhub\0\0\x01");
    fn stamp(&self) -> &AtomicU64 {
        &self.stamp.0
    }
}

/// The page, mapped.
#[derive(Debug)]
pub struct Hub {
    page: Overlay<Page>,
}

impl Hub {
    /// Node: makes the page, and the descriptor that workers open it with.
    pub fn create() -> Result<(Self, OwnedFd), OverlayError> {
        let (page, fd) = Overlay::create("skate-hub")?;
        Ok((Self { page }, fd))
    }

    /// Worker: maps the node's page.
    pub fn open(fd: BorrowedFd<'_>) -> Result<Self, OverlayError> {
        Ok(Self { page: Overlay::open(fd)? })
    }

    /// The node's bell.
    pub fn bell(&self) -> &Doorbell {
        &self.page.get().bell.0
    }

    /// The node's hints.
    pub fn hints(&self) -> &Hints {
        &self.page.get().hints.0
    }
}
