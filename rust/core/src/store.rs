//! Who may write where in the data segment, when the space comes back, and what could leave it.
//!
//! ```text
//!   free ──lease──▶ Leased(client) ──seal──▶ Leased, n blocks ──end_lease──▶ n blocks ──▶ free at n = 0
//!     │                 └──────────────── end_lease, no blocks ───────────────────────────▲
//!     └───read────▶ the spill file's bytes come in ──end_read──▶ 1 block ─────────────────┘
//! ```
//!
//! Invariants: a region belongs to the allocator, or to the one client whose ledger has its
//! `Held::Lease`, or to a read, or to the sealed objects in it. A block is sealed only inside a region that its
//! client leases, so no client can write over, or free, what it was not given. A region is idle if
//! nobody writes there, nobody has a pin in it, and all its blocks are objects that may be spilled;
//! only idle ones are, as a whole, those first that were used least recently.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::id::{ClientId, ObjectId};
use crate::space::Space;
use crate::value::{GRAIN, Span};
use crate::warm::Warm;

/// Who may write in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Client(ClientId),
    /// A read of the spill file.
    Read,
}

struct Region {
    span: Span,
    holder: Option<Holder>,
    /// Sealed blocks here.
    live: u32,
    /// Of these, the objects that may be spilled.
    movable: SmallVec<[ObjectId; 1]>,
    /// Views, and tasks in a worker's ring, that need bytes here to stay.
    pins: u32,
    /// Its bytes are being copied into the spill file.
    is_written: bool,
    /// The later, the larger.
    used: u64,
}

impl Region {
    fn is_idle(&self) -> bool {
        self.holder.is_none()
            && self.pins == 0
            && !self.is_written
            && self.live > 0
            && self.live as usize == self.movable.len()
    }
}

/// The data segment's space.
pub(crate) struct Store {
    capacity: u64,
    used: u64,
    /// Bytes in regions that are idle.
    idle: u64,
    space: Space,
    /// By offset of their first byte.
    regions: BTreeMap<u64, Region>,
    warm: Warm,
    now_ns: u64,
    uses: u64,
}

impl Store {
    pub(crate) fn new(capacity: u64) -> Self {
        let capacity = capacity / GRAIN * GRAIN;
        Self {
            capacity,
            used: 0,
            idle: 0,
            space: Space::new(capacity),
            regions: BTreeMap::new(),
            warm: Warm::default(),
            now_ns: 0,
            uses: 0,
        }
    }

    pub(crate) const fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) const fn used(&self) -> u64 {
        self.used
    }

    pub(crate) const fn free(&self) -> u64 {
        self.capacity - self.used
    }

    /// Bytes of what could be spilled now.
    pub(crate) const fn idle(&self) -> u64 {
        self.idle
    }

    /// Space for `need` bytes that only `client` may write; None if there is no such range.
    pub(crate) fn lease(&mut self, client: ClientId, need: u64) -> Option<Span> {
        self.take(need, Holder::Client(client))
    }

    /// Space for `need` bytes of the spill file.
    pub(crate) fn begin_read(&mut self, need: u64) -> Option<Span> {
        self.take(need, Holder::Read)
    }

    fn take(&mut self, need: u64, holder: Holder) -> Option<Span> {
        let len = need.max(1).checked_next_multiple_of(GRAIN)?;
        let offset = self.space.take(len)?;
        let span = Span { offset, len };
        self.used += span.len;
        self.warm.leased(span);
        let region = Region {
            span,
            holder: Some(holder),
            live: 0,
            movable: SmallVec::new(),
            pins: 0,
            is_written: false,
            used: self.uses,
        };
        self.regions.insert(span.offset, region);
        Some(span)
    }

    fn region_of(&self, span: Span) -> Option<&Region> {
        let (_, region) = self.regions.range(..=span.offset).next_back()?;
        (span.len > 0 && region.span.contains(span)).then_some(region)
    }

    /// Whether that client may seal a block there.
    pub(crate) fn is_leased(&self, client: ClientId, span: Span) -> bool {
        self.region_of(span).is_some_and(|region| region.holder == Some(Holder::Client(client)))
    }

    /// Changes the region of a block, or that starts there; it is reclaimed if nothing needs it.
    fn change(&mut self, at: u64, change: impl FnOnce(&mut Region)) {
        let (start, region) = self
            .regions
            .range_mut(..=at)
            .next_back()
            .expect("a block lies in a region from its seal until it is freed");
        let was_idle = region.is_idle();
        change(region);
        self.uses += 1;
        region.used = self.uses;
        let (is_idle, start, len) = (region.is_idle(), *start, region.span.len);
        match (was_idle, is_idle) {
            (false, true) => self.idle += len,
            (true, false) => self.idle -= len,
            _ => {}
        }
        if region.live > 0 || region.holder.is_some() || region.is_written {
            return;
        }
        let region = self.regions.remove(&start).expect("looked at just now");
        self.used -= region.span.len;
        self.warm.freed(region.span, self.now_ns);
        self.space.give(region.span.offset, region.span.len);
    }

    /// One more sealed block is there. `object` may be spilled.
    pub(crate) fn adopt(&mut self, span: Span, object: Option<ObjectId>) {
        self.change(span.offset, |region| {
            region.live += 1;
            region.movable.extend(object);
        });
    }

    /// One sealed block less is there.
    pub(crate) fn release(&mut self, span: Span, object: Option<ObjectId>) {
        self.change(span.offset, |region| {
            region.live -= 1;
            if let Some(object) = object {
                let place = region.movable.iter().position(|id| *id == object);
                region.movable.swap_remove(place.expect("released as it was adopted"));
            }
        });
    }

    /// So many more need the bytes of that block to stay.
    pub(crate) fn pin(&mut self, span: Span, count: u32) {
        self.change(span.offset, |region| region.pins += count);
    }

    /// One less does.
    pub(crate) fn unpin(&mut self, span: Span) {
        self.change(span.offset, |region| region.pins -= 1);
    }

    /// Whether anybody needs the bytes around that block to stay.
    pub(crate) fn is_pinned(&self, span: Span) -> bool {
        self.region_of(span).is_some_and(|region| region.pins > 0)
    }

    /// The region that starts there.
    pub(crate) fn region(&self, start: u64) -> Option<Span> {
        self.regions.get(&start).map(|region| region.span)
    }

    /// The client will seal nothing more in the region that starts there.
    pub(crate) fn end_lease(&mut self, start: u64) {
        if self.regions.contains_key(&start) {
            self.change(start, |region| region.holder = None);
        }
    }

    /// The read into the region that starts there has ended, one way or the other.
    pub(crate) fn end_read(&mut self, start: u64) {
        self.end_lease(start);
    }

    /// The idle regions, by their starts, the least recently used first, until there are so many bytes.
    pub(crate) fn coldest(&self, bytes: u64) -> Vec<u64> {
        let idle = self.regions.values().filter(|region| region.is_idle());
        let mut idle: Vec<_> =
            idle.map(|region| (region.used, region.span.offset, region.span.len)).collect();
        idle.sort_unstable();
        let mut sum = 0;
        let wanted = idle.into_iter().take_while(|(_, _, len)| {
            let is_wanted = sum < bytes;
            sum += len;
            is_wanted
        });
        wanted.map(|(_, start, _)| start).collect()
    }

    /// The objects that may be spilled of the region that starts there.
    pub(crate) fn movable(&self, start: u64) -> &[ObjectId] {
        self.regions.get(&start).map_or(&[], |region| &region.movable)
    }

    /// Its bytes stay until `end_write`, whatever becomes of its objects.
    pub(crate) fn begin_write(&mut self, start: u64) {
        self.change(start, |region| region.is_written = true);
    }

    /// The bytes of the region that starts there have been copied. Whether it is idle: nobody has come to
    /// need it meanwhile, and all of it could go.
    pub(crate) fn end_write(&mut self, start: u64) -> bool {
        self.change(start, |region| region.is_written = false);
        self.regions.get(&start).is_some_and(Region::is_idle)
    }

    /// Bytes that are free and still have their pages.
    pub(crate) const fn warm(&self) -> u64 {
        self.warm.bytes()
    }

    /// When pages of free space will have to go back to the kernel.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.warm.deadline()
    }

    /// Memory is short: free space whose pages are to go back at once, some of it.
    pub(crate) fn give_warm(&mut self) -> Vec<Span> {
        self.warm.take_oldest()
    }

    /// Time has passed: free space whose pages are to go back.
    pub(crate) fn on_tick(&mut self, now_ns: u64) -> Option<Span> {
        self.now_ns = now_ns;
        self.warm.take_cold(now_ns)
    }

    /// Panics unless the regions are what is accounted for: by leases (client and start), by the starts
    /// of reads and writes, and by blocks (with the object, if it may be spilled, and its pins).
    pub(crate) fn check(
        &self,
        leases: impl Iterator<Item = (ClientId, u64)>,
        reads: impl Iterator<Item = u64>,
        writes: impl Iterator<Item = u64>,
        blocks: impl Iterator<Item = (Span, Option<ObjectId>, u32)>,
    ) {
        let mut live: BTreeMap<u64, (u32, Vec<ObjectId>, u32)> =
            self.regions.keys().map(|start| (*start, Default::default())).collect();
        for (span, object, pins) in blocks {
            let region = self.region_of(span).expect("every block lies in a region");
            let row = live.get_mut(&region.span.offset).expect("all regions are there");
            row.0 += 1;
            row.1.extend(object);
            row.2 += pins;
        }
        let mut holders: BTreeMap<u64, Holder> = BTreeMap::new();
        for (client, start) in leases {
            holders.insert(start, Holder::Client(client));
        }
        for start in reads {
            holders.insert(start, Holder::Read);
        }
        let written: Vec<u64> = writes.collect();
        let (mut end, mut used, mut idle) = (0, 0, 0);
        for (start, region) in &self.regions {
            let (blocks, objects, pins) = &live[start];
            let mut movable = region.movable.to_vec();
            let mut objects = objects.clone();
            movable.sort_unstable();
            objects.sort_unstable();
            assert_eq!(region.live, *blocks, "blocks in the region at {start}");
            assert_eq!(movable, objects, "objects in the region at {start}");
            assert_eq!(region.pins, *pins, "pins in the region at {start}");
            assert_eq!(region.holder, holders.remove(start), "holder of the region at {start}");
            assert_eq!(region.is_written, written.contains(start), "write of {start}");
            let is_needed = region.live > 0 || region.holder.is_some() || region.is_written;
            assert!(is_needed, "region {start} is not needed");
            assert!(*start >= end && region.span.end() <= self.capacity, "region {start} overlaps");
            end = region.span.end();
            used += region.span.len;
            idle += if region.is_idle() { region.span.len } else { 0 };
        }
        assert!(holders.is_empty(), "leases of no region: {holders:?}");
        assert_eq!((used, idle), (self.used, self.idle), "bytes in use, and idle");
        self.warm.check(self.regions.values().map(|region| region.span));
        assert_eq!(self.space.check(), self.capacity - used, "free space");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ClientId = ClientId(1);

    fn object(counter: u64) -> ObjectId {
        crate::id::TaskId::new(A, counter).item(0)
    }

    #[test]
    fn region_returns_when_lease_and_last_block_are_gone() {
        let mut store = Store::new(1 << 20);
        let lease = store.lease(A, 1000).unwrap();
        assert_eq!((lease.len, store.used()), (1024, 1024));
        let block = Span { offset: lease.offset + 64, len: 100 };
        store.adopt(block, None);
        store.end_lease(lease.offset);
        assert_eq!(store.used(), 1024);
        store.release(block, None);
        assert!(store.regions.is_empty());
        assert_eq!(store.used(), 0);
    }

    #[test]
    fn only_the_holder_may_seal_and_only_inside() {
        let mut store = Store::new(1 << 20);
        let lease = store.lease(A, 64).unwrap();
        let other = store.lease(ClientId(2), 64).unwrap();
        assert!(store.is_leased(A, lease));
        assert!(!store.is_leased(A, other));
        for (offset, len) in [(lease.offset, 65), (lease.offset, 0), (u64::MAX, 9), (0, u64::MAX)] {
            assert!(!store.is_leased(A, Span { offset, len }));
        }
        store.adopt(lease, None);
        store.end_lease(lease.offset);
        assert!(!store.is_leased(A, lease));
    }

    #[test]
    fn region_is_idle_only_while_all_of_it_could_go() {
        let mut store = Store::new(1 << 20);
        let lease = store.lease(A, 128).unwrap();
        let (one, two) = (Span { len: 64, ..lease }, Span { offset: lease.offset + 64, len: 64 });
        store.adopt(one, Some(object(1)));
        assert_eq!(store.idle(), 0, "it is leased");
        store.adopt(two, None);
        store.end_lease(lease.offset);
        assert_eq!(store.idle(), 0, "the second block may not be spilled");
        store.release(two, None);
        assert_eq!(store.idle(), 128);
        store.pin(one, 1);
        assert_eq!(store.idle(), 0, "it is pinned");
        store.unpin(one);
        store.begin_write(lease.offset);
        assert_eq!(store.idle(), 0, "it is being written");
        store.release(one, Some(object(1)));
        assert_eq!(store.used(), 128, "the writer reads it still");
        assert!(!store.end_write(lease.offset));
        assert_eq!(store.used(), 0);
    }

    #[test]
    fn what_was_used_last_is_the_last_to_go() {
        let mut store = Store::new(1 << 20);
        let leases: Vec<Span> = (0..3).map(|_| store.lease(A, 64).unwrap()).collect();
        for (counter, lease) in leases.iter().enumerate() {
            store.adopt(*lease, Some(object(counter as u64)));
            store.end_lease(lease.offset);
        }
        store.pin(leases[0], 1);
        store.unpin(leases[0]);
        let starts = |bytes| store.coldest(bytes);
        assert_eq!(starts(64), [leases[1].offset]);
        assert_eq!(starts(65), [leases[1].offset, leases[2].offset]);
        assert_eq!(starts(u64::MAX), [1, 2, 0].map(|which: usize| leases[which].offset));
    }
}
