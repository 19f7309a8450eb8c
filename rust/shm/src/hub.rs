//! One page that all processes of a session share: how to call the node, and what the node hints at.
//!
//! ```text
//!   node ──sleeps on──▶ bell ◀──rings── every worker
//!   node ──takes──────▶ flags ◀─raises── every worker, its own: I have said something
//!   node ──writes──▶ hints ──read by──▶ every worker: must I ring at once? may I spin?
//! ```
//!
//! Invariant: the hints are hints. The node alone writes them (of [`Cores`] each side its own word), a
//! reader may see an old value, and whatever it sees changes only when something happens, never
//! whether it does.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::doorbell::{Doorbell, Urgency};
use crate::flags::Flags;
use crate::overlay::{Layout, Overlay, OverlayError};
use crate::sync::{Apart, AtomicU32, Ordering};

/// What the node wants its workers to know.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Hints {
    urgent: AtomicU32,
    backlog: AtomicU32,
    running: AtomicU32,
}

impl Hints {
    /// Something waits that the background thread must handle (dependents, other workers, `await`ers):
    /// workers ring with [`Urgency::Urgent`](crate::doorbell::Urgency::Urgent).
    pub fn is_urgent(&self) -> bool {
        self.urgent.load(Ordering::Relaxed) != 0
    }

    /// Node: sets [`is_urgent`](Self::is_urgent).
    pub fn set_urgent(&self, urgent: bool) {
        self.urgent.store(urgent.into(), Ordering::Relaxed);
    }

    /// Tasks wait for a worker: one that is about to run dry should ring.
    pub fn has_backlog(&self) -> bool {
        self.backlog.load(Ordering::Relaxed) != 0
    }

    /// Node: sets [`has_backlog`](Self::has_backlog).
    pub fn set_backlog(&self, has_backlog: bool) {
        self.backlog.store(has_backlog.into(), Ordering::Relaxed);
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

/// On which cores the two sides have waited last. Hints, too: each side writes its own.
///
/// A kernel may wake a worker on the core of whoever woke it although another one is idle (virtual
/// machines do, since an idle core costs them a trip to the host). Spinning there is worse than useless:
/// it keeps away the very process that it waits for.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Cores {
    node: AtomicU32,
    worker: AtomicU32,
}

impl Cores {
    /// Node: it waits here; whether a worker has waited on the same core.
    pub fn node_shares(&self) -> bool {
        Self::enter(&self.node) == self.worker.load(Ordering::Relaxed)
    }

    /// Worker: it waits here; whether the node has waited on the same core.
    pub fn worker_shares(&self) -> bool {
        Self::enter(&self.worker) == self.node.load(Ordering::Relaxed)
    }

    /// Counted from 1: the page begins as zeroes.
    fn enter(own: &AtomicU32) -> u32 {
        let core = u32::try_from(rustix::thread::sched_getcpu()).unwrap_or(u32::MAX - 1) + 1;
        if own.load(Ordering::Relaxed) != core {
            own.store(core, Ordering::Relaxed);
        }
        core
    }
}

#[derive(Debug)]
#[repr(C)]
struct Page {
    bell: Apart<Doorbell>,
    hints: Apart<Hints>,
    cores: Apart<Cores>,
    flags: Apart<Flags>,
}

// SAFETY: `repr(C)`, atomics only, all valid as zeroes.
unsafe impl Layout for Page {}

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

    /// Who has said something.
    pub fn flags(&self) -> &Flags {
        &self.page.get().flags.0
    }

    /// Worker: it has published something; wakes who is to hear of it.
    pub fn call(&self, seat: usize, urgency: Urgency) {
        self.flags().raise(seat);
        self.bell().ring(urgency);
    }

    /// Where both sides wait.
    pub fn cores(&self) -> &Cores {
        &self.page.get().cores.0
    }

    /// The node's hints.
    pub fn hints(&self) -> &Hints {
        &self.page.get().hints.0
    }
}
