//! Who may write where in the data segment, and when the space comes back.
//!
//! ```text
//!   free ──lease──▶ Leased(client) ──seal──▶ Leased, n blocks ──end_lease──▶ n blocks ──▶ free at n = 0
//!                       └──────────────── end_lease, no blocks ───────────────────────────▲
//! ```
//!
//! Invariant: a region belongs to the allocator, or to the one client whose ledger has its
//! `Held::Lease`, or to the sealed objects in it. A block is sealed only inside a region that its
//! client leases, so no client can write over, or free, what it was not given.

use std::collections::BTreeMap;

use crate::id::ClientId;
use crate::space::Space;
use crate::value::{Failure, Span};
use crate::warm::Warm;

/// Leases start at, and are rounded up to, multiples of this.
pub(crate) const GRAIN: u64 = 64;

struct Region {
    span: Span,
    holder: Option<ClientId>,
    /// Sealed objects whose bytes lie here.
    live: u64,
}

/// The data segment's space.
pub(crate) struct Store {
    capacity: u64,
    used: u64,
    space: Space,
    /// By offset of their first byte.
    regions: BTreeMap<u64, Region>,
    warm: Warm,
    now_ns: u64,
}

impl Store {
    pub(crate) fn new(capacity: u64) -> Self {
        let capacity = capacity / GRAIN * GRAIN;
        Self {
            capacity,
            used: 0,
            space: Space::new(capacity),
            regions: BTreeMap::new(),
            warm: Warm::default(),
            now_ns: 0,
        }
    }

    pub(crate) const fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) const fn used(&self) -> u64 {
        self.used
    }

    pub(crate) fn leases(&self) -> usize {
        self.regions.values().filter(|region| region.holder.is_some()).count()
    }

    /// Why `need` bytes are not to be had.
    pub(crate) const fn full(&self, need: u64) -> Failure {
        Failure::StoreFull { need, free: self.capacity - self.used, capacity: self.capacity }
    }

    /// Space for `need` bytes that only `client` may write.
    pub(crate) fn lease(&mut self, client: ClientId, need: u64) -> Result<Span, Failure> {
        let len = need.max(1).checked_next_multiple_of(GRAIN);
        let found = len.and_then(|len| Some((self.space.take(len)?, len)));
        let Some((offset, len)) = found else { return Err(self.full(need)) };
        let span = Span { offset, len };
        self.used += span.len;
        self.warm.leased(span);
        let region = Region { span, holder: Some(client), live: 0 };
        self.regions.insert(span.offset, region);
        Ok(span)
    }

    fn region_of(&self, span: Span) -> Option<&Region> {
        let (_, region) = self.regions.range(..=span.offset).next_back()?;
        (span.len > 0 && region.span.contains(span)).then_some(region)
    }

    /// Whether that client may seal a block there.
    pub(crate) fn is_leased(&self, client: ClientId, span: Span) -> bool {
        self.region_of(span).is_some_and(|region| region.holder == Some(client))
    }

    /// One more sealed object has its bytes there.
    pub(crate) fn adopt(&mut self, span: Span) {
        self.live_of(span, 1);
    }

    /// One sealed object less has its bytes there.
    pub(crate) fn free(&mut self, span: Span) {
        self.live_of(span, -1);
    }

    fn live_of(&mut self, span: Span, change: i64) {
        let (start, region) = self
            .regions
            .range_mut(..=span.offset)
            .next_back()
            .expect("a block lies in a region from its seal until it is freed");
        region.live = region.live.checked_add_signed(change).expect("freed as often as adopted");
        let start = *start;
        self.reclaim(start);
    }

    /// The client will seal nothing more in the region that starts there.
    pub(crate) fn end_lease(&mut self, start: u64) {
        if let Some(region) = self.regions.get_mut(&start) {
            region.holder = None;
            self.reclaim(start);
        }
    }

    fn reclaim(&mut self, start: u64) {
        let region = &self.regions[&start];
        if region.live > 0 || region.holder.is_some() {
            return;
        }
        let region = self.regions.remove(&start).expect("looked at just now");
        self.used -= region.span.len;
        self.warm.freed(region.span, self.now_ns);
        self.space.give(region.span.offset, region.span.len);
    }

    /// Bytes that are free and still have their pages.
    pub(crate) const fn warm(&self) -> u64 {
        self.warm.bytes()
    }

    /// When pages of free space will have to go back to the kernel.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.warm.deadline()
    }

    /// Time has passed: free space whose pages are to go back.
    pub(crate) fn on_tick(&mut self, now_ns: u64) -> Option<Span> {
        self.now_ns = now_ns;
        self.warm.take_cold(now_ns)
    }

    /// Panics unless the regions are what `leases` (client and start) and `blocks` account for.
    pub(crate) fn check(
        &self,
        leases: impl Iterator<Item = (ClientId, u64)>,
        blocks: impl Iterator<Item = Span>,
    ) {
        let mut live: BTreeMap<u64, u64> = self.regions.keys().map(|start| (*start, 0)).collect();
        for span in blocks {
            let region = self.region_of(span).expect("every block lies in a region");
            *live.get_mut(&region.span.offset).expect("all regions are there") += 1;
        }
        let mut holders = 0;
        for (client, start) in leases {
            assert_eq!(self.regions[&start].holder, Some(client), "lease {start} of {client:?}");
            holders += 1;
        }
        assert_eq!(holders, self.leases(), "each lease stands in its holder's ledger");
        let mut end = 0;
        let mut used = 0;
        for (start, region) in &self.regions {
            assert_eq!(region.live, live[start], "blocks in the region at {start}");
            assert!(region.live > 0 || region.holder.is_some(), "region {start} is not needed");
            assert!(*start >= end && region.span.end() <= self.capacity, "region {start} overlaps");
            end = region.span.end();
            used += region.span.len;
        }
        assert_eq!(used, self.used, "bytes in use");
        self.warm.check(self.regions.values().map(|region| region.span));
        assert_eq!(self.space.check(), self.capacity - used, "free space");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ClientId = ClientId(1);

    #[test]
    fn region_returns_when_lease_and_last_block_are_gone() {
        let mut store = Store::new(1 << 20);
        let lease = store.lease(A, 1000).unwrap();
        assert_eq!((lease.len, store.used()), (1024, 1024));
        let block = Span { offset: lease.offset + 64, len: 100 };
        store.adopt(block);
        store.end_lease(lease.offset);
        assert_eq!(store.used(), 1024);
        store.free(block);
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
        store.adopt(lease);
        store.end_lease(lease.offset);
        assert!(!store.is_leased(A, lease));
    }

    #[test]
    fn full_store_says_so_with_numbers() {
        let mut store = Store::new(1 << 16);
        let lease = store.lease(A, 1 << 15).unwrap();
        let Err(Failure::StoreFull { need, free, capacity }) = store.lease(A, 1 << 16) else {
            panic!("it does not fit")
        };
        assert_eq!((need, free, capacity), (1 << 16, 1 << 15, 1 << 16));
        assert!(store.lease(A, u64::MAX).is_err());
        store.end_lease(lease.offset);
        assert!(store.lease(A, 1 << 16).is_ok());
    }
}
