//! The free ranges of the data segment, or of the spill file.
//!
//! ```text
//!   by start   [free]······[free]··[free]        neighbours are merged when a range comes back
//!   by length  the smallest that fits is cut; the rest stays free
//! ```
//!
//! Invariants: free ranges do not overlap and never touch; both tables have the same ranges. A hole that
//! exactly one value left is found by the next value of that size, so a pipeline of equal items
//! runs in the same (warm) holes for ever.

use std::collections::{BTreeMap, BTreeSet};

use crate::value::Span;

/// What is free.
#[derive(Debug)]
pub(crate) struct Space {
    by_start: BTreeMap<u64, u64>,
    by_len: BTreeSet<(u64, u64)>,
}

impl Space {
    /// All of `len` bytes.
    pub(crate) fn new(len: u64) -> Self {
        let mut space = Self { by_start: BTreeMap::new(), by_len: BTreeSet::new() };
        space.insert(0, len);
        space
    }

    fn insert(&mut self, start: u64, len: u64) {
        if len > 0 {
            self.by_start.insert(start, len);
            self.by_len.insert((len, start));
        }
    }

    fn remove(&mut self, start: u64, len: u64) {
        self.by_start.remove(&start);
        self.by_len.remove(&(len, start));
    }

    /// Where a range of `len` bytes is now taken from; None if there is none so long.
    pub(crate) fn take(&mut self, len: u64) -> Option<u64> {
        let (found, start) = self.by_len.range((len, 0)..).next().copied()?;
        self.remove(start, found);
        self.insert(start + len, found - len);
        Some(start)
    }

    /// A range comes back: the whole free range that it is a part of now.
    pub(crate) fn give(&mut self, start: u64, len: u64) -> Span {
        let (mut start, mut len) = (start, len);
        if let Some((before, size)) = self.by_start.range(..start).next_back() {
            let (before, size) = (*before, *size);
            debug_assert!(before + size <= start, "a free range comes back");
            if before + size == start {
                self.remove(before, size);
                (start, len) = (before, size + len);
            }
        }
        if let Some(size) = self.by_start.get(&(start + len)).copied() {
            self.remove(start + len, size);
            len += size;
        }
        self.insert(start, len);
        Span { offset: start, len }
    }

    /// Sum of what is free; panics if the tables differ.
    pub(crate) fn check(&self) -> u64 {
        let mut end = None;
        for (start, len) in &self.by_start {
            assert!(end.is_none_or(|end| end < *start), "free ranges at {start} touch or overlap");
            assert!(self.by_len.contains(&(*len, *start)), "the range at {start} is in one table");
            end = Some(start + len);
        }
        assert_eq!(self.by_start.len(), self.by_len.len(), "ranges by start and by length");
        self.by_start.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hole_of_one_value_fits_the_next_of_that_size() {
        let mut space = Space::new(1000);
        let places: Vec<_> = (0..10).map(|_| space.take(100).unwrap()).collect();
        assert_eq!(space.take(1), None);
        for place in places.iter().step_by(2) {
            space.give(*place, 100);
        }
        for _ in 0..5 {
            space.take(100).unwrap();
        }
        assert_eq!((space.take(1), space.check()), (None, 0));
    }

    #[test]
    fn neighbours_merge_whatever_comes_back_first() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
            let mut space = Space::new(300);
            let places: Vec<_> = (0..3).map(|_| space.take(100).unwrap()).collect();
            for which in order {
                space.give(places[which], 100);
                space.check();
            }
            assert_eq!(space.take(300), Some(0));
        }
    }

    #[test]
    fn smallest_range_that_fits_is_used() {
        let mut space = Space::new(1000);
        let places: Vec<_> =
            [300, 10, 200, 10, 480].iter().map(|len| space.take(*len).unwrap()).collect();
        space.give(places[0], 300);
        space.give(places[2], 200);
        assert_eq!(space.take(150), Some(places[2]));
        assert_eq!(space.check(), 350);
    }
}
