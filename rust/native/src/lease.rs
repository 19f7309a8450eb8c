//! Space in the store for the values of one process.
//!
//! ```text
//!   small value ─▶ cut from the shared lease ─ used up? ─▶ the next one; the old ends with its last block
//!   large value ─▶ a lease of its own, which ends when the value is sealed
//!   no room in memory, and none to come ─▶ a part of the spill file, for this value alone
//! ```
//!
//! Invariant: two values never share a byte, and every lease is given back once: when it is used up and
//! the messages that seal its blocks are out, all of them, whichever thread has cut them.

use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::prelude::*;
use skate_core::event::{Held, Within};
use skate_core::value::{GRAIN, Span};
use skate_shm::killpoint::{Point, reached};

use crate::pack::ALIGN;
use crate::placing::Room;
use crate::session::Session;

/// Small values are cut from leases of this size.
const LEASE: u64 = 1 << 20;
/// Blocks start at multiples of this.
const BLOCK_ALIGN: u64 = ALIGN as u64;

const _: () = assert!(GRAIN.is_multiple_of(BLOCK_ALIGN), "a lease starts where a block may");
const _: () =
    assert!(GRAIN == skate_shm::spill_file::GRAIN as u64, "pieces lie side by side on disk");

/// Space to write one value in, and what is to be ended when the message that seals it is out.
pub(crate) enum Leased {
    /// In the data segment.
    Memory { span: Span, lease: Arc<Lease> },
    /// In the spill file, from that offset.
    Disk(u64),
}

/// A lease, held by whoever may still seal something in it.
pub(crate) struct Lease {
    /// It is known by where it starts.
    offset: u64,
}

impl Lease {
    /// One holder less; the last one gives it back.
    pub(crate) fn end(self: Arc<Self>, session: &Session) {
        if let Some(lease) = Arc::into_inner(self) {
            session.release(Held::Lease(lease.offset));
            reached(Point::Returning);
        }
    }
}

/// The lease that small values are cut from.
struct Shared {
    lease: Arc<Lease>,
    left: Span,
}

/// The leases of one process.
#[derive(Default)]
pub(crate) struct Leases {
    shared: Mutex<Option<Shared>>,
}

impl Leases {
    /// Space for a value of `size` bytes; from `large` on it gets a lease of its own.
    pub(crate) fn allocate(
        &self,
        session: &Session,
        py: Python<'_>,
        size: u64,
        large: u64,
        within: Within,
    ) -> PyResult<Leased> {
        if size >= large {
            return Ok(match session.lease(py, size, within)? {
                Room::Memory(span) => {
                    Leased::Memory { span, lease: Arc::new(Lease { offset: span.offset }) }
                }
                Room::Disk(span) => Leased::Disk(span.offset),
            });
        }
        let need = size.next_multiple_of(BLOCK_ALIGN);
        loop {
            let mut shared = self.shared.lock();
            if let Some(Shared { lease, left }) = &mut *shared
                && left.len >= need
            {
                let span = Span { offset: left.offset, len: size };
                left.offset += need;
                left.len -= need;
                return Ok(Leased::Memory { span, lease: Arc::clone(lease) });
            }
            let spent = shared.take();
            drop(shared);
            if let Some(spent) = spent {
                spent.lease.end(session);
            }
            let fresh = match session.lease(py, LEASE, within)? {
                Room::Memory(span) => span,
                // What this value leaves of it goes back when it is sealed.
                Room::Disk(span) => return Ok(Leased::Disk(span.offset)),
            };
            let mut shared = self.shared.lock();
            if shared.is_some() {
                // Another thread was faster; its lease serves both.
                session.release(Held::Lease(fresh.offset));
            } else {
                let lease = Arc::new(Lease { offset: fresh.offset });
                *shared = Some(Shared { lease, left: Span { offset: fresh.offset, len: LEASE } });
            }
        }
    }
}
