//! Free space of the store whose pages are still there: warm to write again, but memory that others miss.
//!
//! ```text
//!   freed ──▶ warm(since) ──leased again──▶ ∅
//!                 └── older than KEEP, and more than the budget is warm ──▶ cold: pages go back
//! ```
//!
//! Invariant: warm ranges are free, do not overlap, and nothing else that is free has pages.

use std::collections::{BTreeMap, BTreeSet};

use crate::value::Span;

/// How long everything that was freed stays warm.
pub(crate) const KEEP_NS: u64 = 2_000_000_000;
/// So much may stay warm for ever.
const BUDGET: u64 = 256 << 20;
/// At most so much is given back at once: the node does nothing else meanwhile.
const MOST_AT_ONCE: u64 = 16 << 20;
/// The same when memory is short.
const MOST_RANGES: usize = 16;

/// The warm ranges.
#[derive(Debug, Default)]
pub(crate) struct Warm {
    /// By first byte: one past the last, and since when.
    ranges: BTreeMap<u64, (u64, u64)>,
    /// Since when, and first byte: the one that was freed first is the first.
    by_age: BTreeSet<(u64, u64)>,
    bytes: u64,
}

impl Warm {
    fn insert(&mut self, start: u64, end: u64, since_ns: u64) {
        if start < end {
            self.ranges.insert(start, (end, since_ns));
            self.by_age.insert((since_ns, start));
            self.bytes += end - start;
        }
    }

    fn remove(&mut self, start: u64) -> Option<(u64, u64)> {
        let (end, since_ns) = self.ranges.remove(&start)?;
        self.by_age.remove(&(since_ns, start));
        self.bytes -= end - start;
        Some((end, since_ns))
    }

    /// The span has become free.
    pub(crate) fn freed(&mut self, span: Span, now_ns: u64) {
        self.insert(span.offset, span.end(), now_ns);
    }

    /// The span has been leased: what was warm of it is in use.
    pub(crate) fn leased(&mut self, span: Span) {
        let before = self.ranges.range(..span.offset).next_back();
        let mut next = before.filter(|(_, (end, _))| *end > span.offset).map(|(start, _)| *start);
        loop {
            let inside = || self.ranges.range(span.offset..span.end()).next().map(|(at, _)| *at);
            let Some(start) = next.take().or_else(inside) else { return };
            let (end, since_ns) = self.remove(start).expect("looked up just now");
            self.insert(start, end.min(span.offset), since_ns);
            self.insert(start.max(span.end()), end, since_ns);
        }
    }

    /// When there will be something to give back.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let (since_ns, _) = self.by_age.first().filter(|_| self.bytes > BUDGET)?;
        Some(since_ns + KEEP_NS)
    }

    /// What is to be given back now.
    pub(crate) fn take_cold(&mut self, now_ns: u64) -> Option<Span> {
        self.deadline().filter(|due| *due <= now_ns)?;
        let (_, start) = *self.by_age.first()?;
        let (end, since_ns) = self.remove(start).expect("both maps have the same ranges");
        let cold_end = end.min(start + MOST_AT_ONCE);
        self.insert(cold_end, end, since_ns);
        Some(Span { offset: start, len: cold_end - start })
    }

    /// What is to be given back though it is warm: the oldest, as much as may be at once some times over.
    pub(crate) fn take_oldest(&mut self) -> Vec<Span> {
        let mut spans = Vec::new();
        while spans.len() < MOST_RANGES
            && let Some((_, start)) = self.by_age.first().copied()
        {
            let (end, since_ns) = self.remove(start).expect("both maps have the same ranges");
            let cold_end = end.min(start + MOST_AT_ONCE);
            self.insert(cold_end, end, since_ns);
            spans.push(Span { offset: start, len: cold_end - start });
        }
        spans
    }

    /// Bytes that are free and warm.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Panics if a range overlaps another, or one in use.
    pub(crate) fn check(&self, in_use: impl Iterator<Item = Span>) {
        let warm = self.ranges.iter().map(|(start, (end, _))| (*start, *end));
        let mut all: Vec<_> = in_use.map(|span| (span.offset, span.end())).chain(warm).collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0].1 <= pair[1].0), "warm ranges overlap: {all:?}");
        let sum: u64 = self.ranges.iter().map(|(start, (end, _))| end - start).sum();
        assert_eq!(sum, self.bytes, "warm bytes");
        assert_eq!(self.ranges.len(), self.by_age.len(), "ages of warm ranges");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn span(offset: u64, len: u64) -> Span {
        Span { offset, len }
    }

    #[test]
    fn lease_in_the_middle_leaves_both_ends_warm() {
        let mut warm = Warm::default();
        warm.freed(span(0, 100), 1);
        warm.freed(span(100, 100), 2);
        warm.leased(span(50, 100));
        assert_eq!(warm.ranges.iter().collect::<Vec<_>>(), [(&0, &(50, 1)), (&150, &(200, 2))]);
        assert_eq!(warm.bytes(), 100);
        warm.check([span(50, 100)].into_iter());
        warm.leased(span(0, 200));
        assert_eq!(warm.bytes(), 0);
    }

    #[test]
    fn lease_inside_one_range_splits_it() {
        let mut warm = Warm::default();
        warm.freed(span(0, 1000), 7);
        warm.leased(span(400, 100));
        warm.check([span(400, 100)].into_iter());
        assert_eq!(warm.bytes(), 900);
    }

    #[test]
    fn oldest_goes_first_until_the_budget_is_kept() {
        let mut warm = Warm::default();
        warm.freed(span(BUDGET, 20 << 20), 5);
        warm.freed(span(0, BUDGET), 9);
        assert_eq!(warm.deadline(), Some(5 + KEEP_NS));
        assert_eq!(warm.take_cold(4 + KEEP_NS), None);
        assert_eq!(warm.take_cold(5 + KEEP_NS), Some(span(BUDGET, MOST_AT_ONCE)));
        let rest = span(BUDGET + MOST_AT_ONCE, 4 << 20);
        assert_eq!(warm.take_cold(5 + KEEP_NS), Some(rest));
        assert_eq!(warm.take_cold(u64::MAX), None, "the budget stays warm");
        assert_eq!(warm.bytes(), BUDGET);
    }
}
