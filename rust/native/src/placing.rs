//! Where packed values go: into the message, into the store, or straight to disk.
//!
//! ```text
//!   packed ─▶ small? ──yes──▶ the message itself
//!               └─no─▶ a lease: memory ─▶ one copy, sealed with the message
//!                                └─ none to be had ─▶ the spill file
//! ```
//!
//! Invariant: what a message seals or contains stays alive until it is out: [`Owed`] gives it back then, or
//! when the message never goes.

use std::sync::Arc;

use pyo3::prelude::*;
use skate_core::action::Reply;
use skate_core::event::{Held, Request, Within};
use skate_core::id::ObjectId;
use skate_core::value::{Bytes, Extent, Failure, Payload, Span, Value};
use skate_shm::killpoint::{Point, reached};
use smallvec::SmallVec;

use crate::disk;
use crate::error::Error;
use crate::fresh::Fresh;
use crate::lease::{Lease, Leased};
use crate::pack::{ALIAS, Kept, LONG, Packed};
use crate::session::Session;

/// Values up to here ride in messages; larger ones go to the store.
pub(crate) const INLINE_MAX: usize = 4 << 10;

/// What to give back when the message under construction has been sent, or when it never will: leases
/// whose blocks it seals, and handles on what it contains.
#[must_use]
pub(crate) struct Owed<'a> {
    session: &'a Session,
    held: SmallVec<[Held; 1]>,
    leases: SmallVec<[Arc<Lease>; 1]>,
    fresh: Vec<Py<Fresh>>,
    kept: Kept,
}

impl Owed<'_> {
    /// Keeps what a packed value contains until the message is out: what the message names.
    pub(crate) fn take_over(&mut self, kept: Kept) -> Box<[Held]> {
        let holds = kept.holds();
        self.kept.absorb(kept);
        holds
    }
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        for held in self.held.drain(..) {
            self.session.release(held);
        }
        for lease in self.leases.drain(..) {
            lease.end(self.session);
        }
    }
}

/// The node's word for a part of the segment, in the segment's own.
pub(crate) const fn in_segment(span: Span) -> skate_shm::segment::Span {
    skate_shm::segment::Span { offset: span.offset, len: span.len }
}

/// Space that the node gave to this process.
pub(crate) enum Room {
    /// In the data segment.
    Memory(Span),
    /// In the spill file.
    Disk(Span),
}

impl Session {
    /// Collects what the next message leaves behind.
    pub(crate) fn owed(&self) -> Owed<'_> {
        Owed {
            session: self,
            held: SmallVec::new(),
            leases: SmallVec::new(),
            fresh: Vec::new(),
            kept: Kept::default(),
        }
    }

    /// Puts packed bytes where they stay: into the message, or sealed into the store.
    pub(crate) fn place(
        &self,
        py: Python<'_>,
        packed: &Packed,
        owed: &mut Owed<'_>,
        within: Within,
    ) -> PyResult<Payload> {
        if let Some((fresh, owner)) = &packed.in_place {
            // Its lease must not end before the message that seals the block.
            owed.fresh.push(fresh.clone_ref(py));
            return fresh.get().seal(owner.bind(py));
        }
        let size = packed.len();
        if size <= INLINE_MAX {
            return Ok(Payload::Inline(match packed.as_head() {
                Some(head) => head.into(),
                None => Bytes::from(&packed.to_vec()[..]),
            }));
        }
        let segment = self.segment()?;
        // A long one may choose its place, unless that could be what makes the store too small.
        let may_choose = size >= LONG && size as u64 <= segment.size() / 2;
        let slack = if may_choose { ALIAS } else { 0 };
        let need = size as u64 + slack;
        let leased = self.leases.allocate(self, py, need, self.transport.large(), within)?;
        let (span, lease) = match leased {
            Leased::Memory { span, lease } => (span, lease),
            Leased::Disk(offset) => return self.write_to_disk(py, packed, offset, owed),
        };
        owed.leases.push(lease);
        let skew = if slack > 0 { packed.skew(span.offset) } else { 0 };
        let span = Span { offset: span.offset + skew, len: size as u64 };
        let place = in_segment(span);
        #[allow(unsafe_code, reason = "the lease is the proof that the segment asks for")]
        // SAFETY: the node leased this span to this process and `allocate` cut it out for this value
        // alone, so nobody else reads or writes it before the seal.
        let writing = unsafe { segment.writing(place) };
        let mut writing = writing.map_err(Error::from)?;
        py.detach(|| packed.write(&mut writing));
        writing.seal();
        Ok(Payload::Block(span))
    }

    /// Writes a value for which there is no room in memory.
    fn write_to_disk(
        &self,
        py: Python<'_>,
        packed: &Packed,
        offset: u64,
        owed: &mut Owed<'_>,
    ) -> PyResult<Payload> {
        owed.held.push(Held::DiskLease(offset));
        let len = packed.len() as u64;
        let file = self.spill_file().ok_or(Error::NotStarted)?;
        let checksum = py.detach(|| packed.append(file.append(offset))).map_err(|errno| {
            let trouble = disk::trouble_of(errno, str::to_owned);
            Error::Failed(Failure::OutOfDisk { need: len, spilled: None, trouble })
        })?;
        Ok(Payload::Spilled(Extent { offset, len, checksum }))
    }

    /// Stores a packed value under a fresh id; this client gets a handle.
    pub(crate) fn put(&self, py: Python<'_>, packed: Packed) -> PyResult<ObjectId> {
        let mut owed = self.owed();
        let payload = self.place(py, &packed, &mut owed, Within::MemoryOrDisk)?;
        let id = self.next_task().item(0);
        self.send(Request::Put(id, Value::Data(payload), packed.kept.holds()));
        Ok(id)
    }

    /// Asks for space in memory.
    pub(crate) fn lease_memory(&self, py: Python<'_>, size: u64) -> PyResult<Span> {
        match self.lease(py, size, Within::Memory)? {
            Room::Memory(span) => Ok(span),
            Room::Disk(_) => unreachable!("the node gives memory if that is asked for"),
        }
    }

    /// Asks for space.
    pub(crate) fn lease(&self, py: Python<'_>, size: u64, within: Within) -> PyResult<Room> {
        // What was dropped makes room, and is the warmest memory there is.
        self.transport.try_flush(self);
        let reply = self.ask(py, None, |request| Request::Allocate(request, size, within))?;
        reached(Point::Leased);
        match reply {
            Reply::Lease(span) => Ok(Room::Memory(span)),
            Reply::LeaseOnDisk(span) => Ok(Room::Disk(span)),
            Reply::Failed(failure) => Err(Error::Failed(failure).into()),
            other => unreachable!("the node answers an allocate with {other:?}"),
        }
    }
}
