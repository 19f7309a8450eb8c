//! Space in the store for the values of one process.
//!
//! ```text
//!   small value ─▶ cut from the shared lease ─ used up? ─▶ the next one; the old ends with its last block
//!   large value ─▶ a lease of its own, which ends when the value is sealed
//! ```
//!
//! Invariant: two values never share a byte, and every lease is given back once: its end rides with
//! the message that seals the last block cut from it.

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
    /// A lease in which nothing more will be sealed once the message that seals this value is out.
    pub(crate) spent: Option<Held>,
}

/// The leases of one process.
#[derive(Default)]
pub(crate) struct Leases {
    /// What is left of the shared one.
    shared: Mutex<Option<Span>>,
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
            return Ok(Leased { span, spent: Some(Held::Lease(span.offset)) });
        }
        let need = size.next_multiple_of(BLOCK_ALIGN);
        let mut spent = None;
        loop {
            let mut shared = self.shared.lock();
            if let Some(left) = &mut *shared {
                if left.len >= need {
                    let span = Span { offset: left.offset, len: size };
                    left.offset += need;
                    left.len -= need;
                    return Ok(Leased { span, spent });
                }
                // A lease is known by where it started: its end less its size.
                spent = Some(Held::Lease(left.end() - LEASE));
                *shared = None;
            }
            drop(shared);
            let fresh = session.lease(py, LEASE)?;
            let mut shared = self.shared.lock();
            if shared.is_some() {
                // Another thread was faster; its lease serves both.
                session.release(Held::Lease(fresh.offset));
            } else {
                *shared = Some(Span { offset: fresh.offset, len: LEASE });
            }
        }
    }
}
