//! Who has said something: a bit for each worker, so that the node looks at the rings of those alone.
//!
//! ```text
//! worker                                         node
//!  W1 publish a message (its ring)  release       N1 any bit? take the word: swap 0     acquire
//!  W2 fence                         seq-cst       N2 fence                              seq-cst
//!  W3 bit not set? set it           release       N3 read the rings of the bits taken
//!  W4 ring the node's bell
//! ```
//!
//! Invariant: a message that is published and called for is in a ring whose bit is set, or the node is
//! about to read that ring. One of the fences is first: W3 sees the bit that N1 cleared, or N3 sees the
//! message of W1. So a bit that is found set need not be set again, and a busy node costs its workers one
//! shared read per message.
//!
//! *Crashes:* a worker killed between W1 and W3 leaves a message without a bit; the node reads the ring of a
//! dead worker to its end. *Any value:* a bit too many costs the node a look at an empty ring; one that
//! somebody cleared wrongly is set by its worker's next call, and all are when a worker has died.
//!
//! More workers than bits share them: `SEATS` apart, they are looked at together.
//!
//! Covered by `tests/loom.rs`: `flag_*`.

use crate::killpoint::{Point, reached};
use crate::sync::{AtomicU64, Ordering, fence};

/// Bits there are.
#[cfg(not(loom))]
pub const SEATS: usize = 1024;
#[cfg(loom)]
pub const SEATS: usize = 64;

const WORDS: usize = SEATS / 64;

/// The bits.
#[derive(Debug)]
#[repr(C)]
pub struct Flags {
    words: [AtomicU64; WORDS],
}

impl Default for Flags {
    fn default() -> Self {
        Self { words: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Flags {
    /// The seat of the worker of that number.
    pub const fn seat(worker: u32) -> usize {
        worker as usize % SEATS
    }

    /// Worker: it has published something.
    pub fn raise(&self, seat: usize) {
        let (word, bit) = (&self.words[seat / 64], 1 << (seat % 64));
        fence(Ordering::SeqCst);
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Release);
            reached(Point::Flagged);
        }
    }

    /// Node: every worker may have.
    pub fn raise_all(&self) {
        for word in &self.words {
            word.store(u64::MAX, Ordering::Release);
        }
    }

    /// Whether any bit is set.
    pub fn is_any(&self) -> bool {
        self.words.iter().any(|word| word.load(Ordering::Acquire) != 0)
    }

    /// Node: clears the bits, and gives each seat whose bit was set to `look`, which is to read its ring.
    pub fn take(&self, mut look: impl FnMut(usize)) {
        for (at, word) in self.words.iter().enumerate() {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut bits = word.swap(0, Ordering::Acquire);
            fence(Ordering::SeqCst);
            while bits != 0 {
                look(at * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_seat_is_given_once() {
        let flags = Flags::default();
        for worker in [0, 63, 64, 1023, 1024 + 64] {
            flags.raise(Flags::seat(worker));
        }
        let mut seats = Vec::new();
        flags.take(|seat| seats.push(seat));
        assert_eq!(seats, [0, 63, 64, 1023]);
        assert!(!flags.is_any());
        flags.raise_all();
        seats.clear();
        flags.take(|seat| seats.push(seat));
        assert!(seats.iter().copied().eq(0..SEATS));
    }
}
