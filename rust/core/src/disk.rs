//! The spill file's space, and which objects have their bytes there.
//!
//! ```text
//!   a block is written ──▶ Copy ──its block goes──▶ Only ──asked for──▶ Queued ──room──▶ Reading
//!                           ▲ │                      ▲                     │ no room        │
//!                           │ └ room is short: ∅     └─────────────────────┘                │
//!                           └───────────────────────── read ────────────────────────────────┘
//!   the object goes: ∅, from Reading by way of Orphan (until the read has ended)
//!   a client writes a value there itself: prepared ──▶ lease ──seal──▶ Only
//! ```
//!
//! Invariants: an extent belongs to the free space, to one row, to the write under way, or to the
//! client whose ledger has its `Held::DiskLease`; that of a row that was sealed under a lease is free
//! when both are gone, so that nobody who could still write there hits another value. Sealed
//! bytes never change, so a copy is never stale, and a block that has one can go at once. There is
//! at most one write under way: the next one is chosen when it is known what that one has freed.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::id::{ClientId, ObjectId, RequestId};
use crate::room::Waiting;
use crate::space::Space;
use crate::value::{Extent, GRAIN, Span, Trouble};

/// How long a disk that did not do what it should is left alone.
pub(crate) const REST_NS: u64 = 1_000_000_000;
/// What a punched hole starts and ends at.
const PAGE: u64 = 4096;

/// Where the bytes of an object that has an extent are, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In its block.
    Copy,
    /// Nowhere else.
    Only,
    /// Nowhere else; wanted, in the queue for space.
    Queued,
    /// On their way into that region.
    Reading(Span),
    /// The same, and the object is gone.
    Orphan(Span),
}

/// One object's extent.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) extent: Extent,
    pub(crate) place: Place,
    /// While it has no block: who needs its bytes to stay.
    pub(crate) pins: u32,
    /// Open requests that want its bytes in memory.
    pub(crate) waiters: Vec<(ClientId, RequestId)>,
}

/// A region that is being written: its start, and its objects with their blocks' lengths and places.
pub(crate) struct Writing {
    pub(crate) region: u64,
    pub(crate) pieces: Vec<(ObjectId, Span, u64)>,
}

/// A part of the file that a client may write one value to.
#[derive(Debug)]
struct Lease {
    len: u64,
    /// The value has a row.
    is_sealed: bool,
}

/// The spill file.
pub(crate) struct Disk {
    space: Space,
    capacity: u64,
    used: u64,
    pub(crate) rows: FxHashMap<ObjectId, Row>,
    /// By their starts: parts that are made ready for a client to write to, and how long they are.
    pub(crate) preparing: BTreeMap<u64, (Waiting, u64)>,
    /// By their starts.
    leases: BTreeMap<u64, Lease>,
    /// The write under way, and its number.
    pub(crate) writing: Option<(u64, Vec<Writing>)>,
    pub(crate) writes: u64,
    /// Reads under way.
    pub(crate) reading: u64,
    /// What went wrong last, and until when nothing is tried.
    trouble: Option<(Trouble, u64)>,
    /// Why nothing can be spilled in this session.
    pub(crate) off: Option<Arc<str>>,
    pub(crate) is_told: bool,
    /// Bytes written and read back since the session began.
    pub(crate) written_bytes: u64,
    pub(crate) read_bytes: u64,
}

impl Disk {
    /// A file that may have so many bytes, or none for that reason.
    pub(crate) fn new(quota: &Result<u64, Arc<str>>) -> Self {
        // More than any file system holds: no quota.
        let capacity = quota.as_ref().map_or(0, |quota| (*quota).min(1 << 62)) / GRAIN * GRAIN;
        Self {
            space: Space::new(capacity),
            capacity,
            used: 0,
            rows: FxHashMap::default(),
            preparing: BTreeMap::new(),
            leases: BTreeMap::new(),
            writing: None,
            writes: 0,
            reading: 0,
            trouble: None,
            off: quota.as_ref().err().cloned(),
            is_told: false,
            written_bytes: 0,
            read_bytes: 0,
        }
    }

    /// Bytes of the file that are in use.
    pub(crate) const fn used(&self) -> u64 {
        self.used
    }

    /// Whether it can be written to now.
    pub(crate) fn is_well(&self, now_ns: u64) -> bool {
        self.off.is_none() && self.trouble.as_ref().is_none_or(|(_, until_ns)| *until_ns <= now_ns)
    }

    /// What is wrong with it, if anything is.
    pub(crate) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref().map(|(trouble, _)| trouble)
    }

    pub(crate) fn set_trouble(&mut self, trouble: Option<Trouble>, now_ns: u64) {
        self.trouble = trouble.map(|trouble| (trouble, now_ns + REST_NS));
    }

    /// Room for so many bytes.
    pub(crate) fn take(&mut self, len: u64) -> Result<u64, Trouble> {
        let len = len.max(1).next_multiple_of(GRAIN);
        let Some(offset) = self.space.take(len) else {
            let quota = self.capacity;
            return Err(Trouble::Full(format!("its limit of {quota} bytes is reached").into()));
        };
        self.used += len;
        Ok(offset)
    }

    /// Most bytes that it may have.
    pub(crate) const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Room for whoever waits to write one value to, once it is ready.
    pub(crate) fn prepare(&mut self, waiting: Waiting) -> Result<Span, Trouble> {
        let offset = self.take(waiting.size)?;
        let len = waiting.size.max(1).next_multiple_of(GRAIN);
        self.preparing.insert(offset, (waiting, len));
        Ok(Span { offset, len })
    }

    /// It is ready, and a client's.
    pub(crate) fn lease(&mut self, span: Span) {
        self.leases.insert(span.offset, Lease { len: span.len, is_sealed: false });
    }

    /// Whether a value may be sealed there under a lease that starts there.
    pub(crate) fn may_seal(&self, extent: Extent) -> bool {
        let lease = self.leases.get(&extent.offset);
        lease.is_some_and(|lease| !lease.is_sealed && extent.len > 0 && extent.len <= lease.len)
    }

    /// A value is sealed there. What it does not need of the lease is free: as `give`.
    #[must_use]
    pub(crate) fn seal(&mut self, id: ObjectId, extent: Extent) -> Option<Span> {
        let lease = self.leases.get_mut(&extent.offset).expect("a value is sealed under a lease");
        lease.is_sealed = true;
        let len = extent.len.next_multiple_of(GRAIN);
        let rest = lease.len - len;
        lease.len = len;
        self.rows.insert(id, Row { extent, place: Place::Only, pins: 0, waiters: Vec::new() });
        if rest > 0 { self.give(extent.offset + len, rest) } else { None }
    }

    /// The client will write there no more: what is free now.
    #[must_use]
    pub(crate) fn end_lease(&mut self, start: u64) -> Option<Span> {
        let lease = self.leases.remove(&start)?;
        if lease.is_sealed { None } else { self.give(start, lease.len) }
    }

    /// A row is gone: what is free now. The client that wrote it may hold the lease still.
    #[must_use]
    pub(crate) fn end_row(&mut self, extent: Extent) -> Option<Span> {
        if let Some(lease) = self.leases.get_mut(&extent.offset) {
            lease.is_sealed = false;
            return None;
        }
        self.give(extent.offset, extent.len)
    }

    /// An extent is free: what may be taken out of the file now, whole pages of it.
    #[must_use]
    pub(crate) fn give(&mut self, offset: u64, len: u64) -> Option<Span> {
        let len = len.max(1).next_multiple_of(GRAIN);
        self.used -= len;
        let free = self.space.give(offset, len);
        let start = if free.offset <= offset / PAGE * PAGE {
            offset / PAGE * PAGE
        } else {
            offset.next_multiple_of(PAGE)
        };
        let after = (offset + len).next_multiple_of(PAGE);
        let end = if after <= free.end() { after } else { (offset + len) / PAGE * PAGE };
        (start < end).then(|| Span { offset: start, len: end - start })
    }

    /// Objects and bytes that are nowhere else.
    pub(crate) fn spilled(&self) -> (u64, u64) {
        let only = self.rows.values().filter(|row| !matches!(row.place, Place::Copy));
        only.fold((0, 0), |(count, bytes), row| (count + 1, bytes + row.extent.len))
    }

    /// Panics unless every byte of the file belongs to one row, to the write, or to nobody.
    pub(crate) fn check(&self, leases: impl Iterator<Item = (u64, u32)>) {
        let mut held: Vec<u64> = Vec::new();
        for (start, count) in leases {
            assert_eq!(count, 1, "disk lease {start} is held once");
            held.push(start);
        }
        held.sort_unstable();
        assert!(self.leases.keys().eq(&held), "each disk lease stands in its holder's ledger");
        let unsealed = self.leases.iter().filter(|(_, lease)| !lease.is_sealed);
        let unsealed = unsealed.map(|(start, lease)| (*start, lease.len));
        let rows = self.rows.values().map(|row| (row.extent.offset, row.extent.len));
        let writing = self.writing.iter().flat_map(|(_, regions)| regions);
        let writing =
            writing.flat_map(|region| &region.pieces).map(|(_, span, to)| (*to, span.len));
        let mut all: Vec<(u64, u64)> = rows
            .chain(writing)
            .chain(unsealed)
            .chain(self.preparing.iter().map(|(start, (_, len))| (*start, *len)))
            .map(|(offset, len)| (offset, len.max(1).next_multiple_of(GRAIN)))
            .collect();
        all.sort_unstable();
        assert!(
            all.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0),
            "extents overlap: {all:?}"
        );
        let used: u64 = all.iter().map(|(_, len)| len).sum();
        assert_eq!(used, self.used, "bytes of the spill file in use");
        assert_eq!(self.space.check(), self.capacity - used, "free space of the spill file");
        let reading = self
            .rows
            .values()
            .filter(|row| matches!(row.place, Place::Reading(_) | Place::Orphan(_)));
        assert_eq!(reading.count() as u64, self.reading, "reads under way");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_shared_by_two_extents_goes_with_the_second_of_them() {
        let mut disk = Disk::new(&Ok(1 << 20));
        let (one, two) = (disk.take(6000).unwrap(), disk.take(6000).unwrap());
        assert_eq!(disk.give(one, 6000), Some(Span { offset: 0, len: PAGE }));
        assert_eq!(disk.give(two, 6000), Some(Span { offset: PAGE, len: 2 * PAGE }));
        assert_eq!(disk.used(), 0);
    }

    #[test]
    fn quota_is_a_limit_that_says_so() {
        let mut disk = Disk::new(&Ok(1 << 10));
        let extent = disk.take(1000).unwrap();
        let Err(Trouble::Full(text)) = disk.take(64) else { panic!("there is no room") };
        assert!(text.contains("1024"), "{text}");
        let _ = disk.give(extent, 1000);
        assert!(disk.take(1 << 10).is_ok());
    }

    #[test]
    fn disk_that_failed_rests_for_a_while() {
        let mut disk = Disk::new(&Ok(1 << 10));
        disk.set_trouble(Some(Trouble::System("no".into())), 5);
        assert!(!disk.is_well(5) && disk.is_well(5 + REST_NS));
        assert!(!Disk::new(&Err("nowhere".into())).is_well(0));
    }
}
