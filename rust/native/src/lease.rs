//! Space in the store for the values of one process.
//!
//! ```text
//!   small value ─▶ cut from the shared lease ─ used up? ─▶ the next one; the old ends with its last block
//!   large value ─▶ a lease of its own, which ends when the value is sealed
//! ```
//!
//! Invariant: two values never share a byte, and every lease is given back once: when it is used up and
//! the messages that seal its blocks are out, all of them, whichever thread has cut them.

use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::prelude::*;
use skate_core::event::Held;
use skate_core::value::Span;

use crate::session::Session;

/// Small values are cut from leases of this size.
const LEASE: u64 = 1 << 20;
/// Blocks start at multiples of this.
const BLOCK_ALIGN: u64 = 64;

/// Space to write one value in.
pub(crate) struct Leased {
    pub(crate) span: Span,
    /// To be ended when the message that seals the value is out.
    pub(crate) lease: Arc<Lease>,
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
    ) -> PyResult<Leased> {
        if size >= large {
            let span = session.lease(py, size)?;
            return Ok(Leased { span, lease: Arc::new(Lease { offset: span.offset }) });
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
                return Ok(Leased { span, lease: Arc::clone(lease) });
            }
            let spent = shared.take();
            drop(shared);
            if let Some(spent) = spent {
                spent.lease.end(session);
            }
            let fresh = session.lease(py, LEASE)?;
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
