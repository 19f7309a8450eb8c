//! What node and one worker share besides payloads.
//!
//! ```text
//!   node ──▶ to_worker ring ────▶ worker        stamp │ bell │ ring words │ slots │ two bodies
//!   node ◀── from_worker ring ◀── worker
//!   node ──rings──▶ bell ──wakes──▶ worker      (the node's own bell is in the hub)
//!   node ──offers, revokes, grants──▶ slots ◀──claims── worker
//! ```
//!
//! Invariant: each end of each ring exists once per process and is used by one process. The guards
//! below see to the first; the second is the node's promise, which sends the descriptor to one worker. The
//! mapping is not inherited by forks, so a forked child cannot become a second writer.
//!
//! Its stamp tells one build of skate from another, also for the hub, which needs none: a worker that
//! starts finds in the hub whatever another has written there, but here only what the node has.

use std::cell::UnsafeCell;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::claim::Slot;
use crate::doorbell::Doorbell;
use crate::lane::{Lane, Words};
use crate::overlay::{Layout, Overlay, OverlayError};
use crate::ring::{RING_CAPACITY, RingReader, RingWriter};
use crate::sync::{Apart, AtomicU64, Ordering};

/// Name and version of what is shared. Change it with every change of a layout here or in the hub.
const STAMP: u64 = u64::from_le_bytes(*b"skctrl\0\x02");

/// Tasks in flight to one worker.
pub const SLOTS: usize = 1 << 16;

#[derive(Debug)]
#[repr(C, align(4096))]
struct Body(UnsafeCell<[u8; RING_CAPACITY]>);

// SAFETY: reached only through `Lane`, by pointer.
unsafe impl Sync for Body {}

#[derive(Debug)]
#[repr(C)]
struct Shape {
    stamp: Apart<AtomicU64>,
    bell: Apart<Doorbell>,
    to_worker: Words,
    from_worker: Words,
    slots: [Slot; SLOTS],
    to_worker_body: Body,
    from_worker_body: Body,
}

// SAFETY: `repr(C)`, atomics and cells only, all valid as zeroes, aligned to a page.
unsafe impl Layout for Shape {}

/// One worker's control segment, mapped.
#[derive(Debug)]
pub struct Control {
    shape: Arc<Overlay<Shape>>,
    node_end_taken: AtomicBool,
    worker_end_taken: AtomicBool,
}

impl Control {
    /// Node: makes the segment, and the descriptor that its worker opens it with.
    pub fn create() -> Result<(Self, OwnedFd), OverlayError> {
        let (shape, fd) = Overlay::<Shape>::create("skate-control")?;
        shape.get().stamp.0.store(STAMP, Ordering::Release);
        Ok((Self::over(shape), fd))
    }

    /// Worker: maps the segment that the node made for it.
    pub fn open(fd: BorrowedFd<'_>) -> Result<Self, OverlayError> {
        let shape = Overlay::<Shape>::open(fd)?;
        let stamp = shape.get().stamp.0.load(Ordering::Acquire);
        if stamp != STAMP {
            return Err(OverlayError::Stamp { stamp, expected: STAMP });
        }
        Ok(Self::over(shape))
    }

    fn over(shape: Overlay<Shape>) -> Self {
        Self {
            shape: Arc::new(shape),
            node_end_taken: AtomicBool::new(false),
            worker_end_taken: AtomicBool::new(false),
        }
    }

    /// The worker's bell: the node rings it, the worker sleeps on it.
    pub fn bell(&self) -> &Doorbell {
        &self.shape.get().bell.0
    }

    /// The control words of the task in slot `index` (modulo [`SLOTS`]).
    pub fn slot(&self, index: usize) -> &Slot {
        &self.shape.get().slots[index % SLOTS]
    }

    /// The node's ends: to the worker, from the worker. `None` if they were taken before.
    pub fn node_end(&self) -> Option<(RingWriter, RingReader)> {
        let shape = self.shape.get();
        let writer = self.lane(&shape.to_worker, &shape.to_worker_body);
        let reader = self.lane(&shape.from_worker, &shape.from_worker_body);
        let taken = self.node_end_taken.swap(true, Ordering::AcqRel);
        (!taken).then(|| (RingWriter::new(writer), RingReader::new(reader)))
    }

    /// The worker's ends: to the node, from the node. `None` if they were taken before.
    pub fn worker_end(&self) -> Option<(RingWriter, RingReader)> {
        let shape = self.shape.get();
        let writer = self.lane(&shape.from_worker, &shape.from_worker_body);
        let reader = self.lane(&shape.to_worker, &shape.to_worker_body);
        let taken = self.worker_end_taken.swap(true, Ordering::AcqRel);
        (!taken).then(|| (RingWriter::new(writer), RingReader::new(reader).of_node()))
    }

    fn lane(&self, words: &Words, body: &Body) -> Lane {
        let keep = Arc::clone(&self.shape);
        // SAFETY: both lie in the overlay that `keep` keeps mapped, and the body is that long.
        unsafe { Lane::new(words, body.0.get().cast(), RING_CAPACITY, keep) }
    }
}
