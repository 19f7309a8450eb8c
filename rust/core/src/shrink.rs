//! Tables give their memory back when what filled them is gone.
//!
//! Invariant: one that is asked after each removal has at most [`SLACK`] places for each entry, and
//! [`SMALL`] besides. It moves what is left of its entries after many times as many removals, so
//! each removal costs the same on average.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};

/// Tables up to this size stay.
const SMALL: usize = 4096;
/// Places for each entry before a table is made smaller.
const SLACK: usize = 8;

/// To be called after removals.
pub(crate) trait Shrink {
    /// Gives memory back if much more than half of it is unused.
    fn shrink(&mut self);
}

/// The size to go to, if it is time.
fn target(len: usize, capacity: usize) -> Option<usize> {
    (capacity > SMALL && len < capacity / SLACK).then_some(len * 2)
}

impl<K: Eq + Hash, V, S: BuildHasher> Shrink for HashMap<K, V, S> {
    fn shrink(&mut self) {
        if let Some(size) = target(self.len(), self.capacity()) {
            self.shrink_to(size);
        }
    }
}

impl<K: Eq + Hash, S: BuildHasher> Shrink for HashSet<K, S> {
    fn shrink(&mut self) {
        if let Some(size) = target(self.len(), self.capacity()) {
            self.shrink_to(size);
        }
    }
}

impl<T> Shrink for VecDeque<T> {
    fn shrink(&mut self) {
        if let Some(size) = target(self.len(), self.capacity()) {
            self.shrink_to(size);
        }
    }
}

impl<T> Shrink for Vec<T> {
    fn shrink(&mut self) {
        if let Some(size) = target(self.len(), self.capacity()) {
            self.shrink_to(size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emptied_tables_are_small_and_moved_rarely() {
        let mut table: HashMap<u32, u64> = (0..1_000_000).map(|key| (key, 1)).collect();
        let (mut moves, mut entries) = (0, 0);
        for key in 0..1_000_000 {
            table.remove(&key);
            let before = table.capacity();
            table.shrink();
            if table.capacity() != before {
                moves += 1;
                entries += table.len();
            }
            assert!(table.capacity() <= SMALL.max(table.len() * SLACK + SLACK), "{}", table.len());
        }
        assert!(moves < 10 && entries < 1_000_000 / 2, "{moves} moves of {entries} entries in all");
    }
}
