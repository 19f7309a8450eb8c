//! The shared part of one ring, as one process reaches it: two positions and the bytes between them.
//!
//! ```text
//!   Words  tail │ head, stalled        positions count bytes ever written / read, and never wrap
//!   body   [ … read │ published │ free … ]   byte `p` of the stream lives at `p & (capacity - 1)`
//! ```
//!
//! Invariant: `copy_in` and `copy_out` stay inside the body whatever positions they are given, and
//! no Rust reference to its bytes ever exists: they are copied in and out by pointer. So a peer that
//! writes nonsense can make us read nonsense, never more. That the two ends do not touch the same
//! bytes at the same time is the ring's protocol (`ring.rs`); under loom the body is made of checked
//! cells that report it if they do.

#[cfg(not(loom))]
use std::any::Any;
use std::sync::Arc;

#[cfg(not(loom))]
use crate::sync::Ordering;
use crate::sync::{Apart, AtomicU32, AtomicU64};

/// What the reader writes (and the writer's request to it, which is rare).
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct ReaderWords {
    /// Bytes read so far; written by the reader.
    pub(crate) head: AtomicU64,
    /// The writer found no room and wants to be rung; set by the writer, cleared by the reader.
    pub(crate) stalled: AtomicU32,
}

/// The words of one ring. All-zero bytes are an empty ring.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Words {
    /// Bytes published so far; written by the writer.
    pub(crate) tail: Apart<AtomicU64>,
    pub(crate) reader: Apart<ReaderWords>,
}

/// One end's access to a ring.
#[cfg(not(loom))]
#[derive(Debug)]
pub(crate) struct Lane {
    words: *const Words,
    body: *mut u8,
    capacity: usize,
    _keep: Arc<dyn Any + Send + Sync>,
}

// SAFETY: the pointers lead to memory shared between processes anyway; `_keep` keeps it mapped.
#[cfg(not(loom))]
unsafe impl Send for Lane {}
// SAFETY: through `&Lane` only atomics are read and written, and bytes copied under the ring's
// protocol, which gives each end to one owner (`&mut`).
#[cfg(not(loom))]
unsafe impl Sync for Lane {}

#[cfg(not(loom))]
impl Lane {
    /// # Safety
    /// `words` is valid for shared access and `body`, which is aligned to 8, for reads and writes of
    /// `capacity` bytes, for as long as `keep` lives.
    pub(crate) unsafe fn new(
        words: *const Words,
        body: *mut u8,
        capacity: usize,
        keep: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        assert!(capacity.is_power_of_two() && capacity >= 64);
        assert!(body.addr().is_multiple_of(8), "a ring's records start at multiples of 8");
        Self { words, body, capacity, _keep: keep }
    }

    /// Both ends of a ring in fresh memory that a forked child shares.
    pub(crate) fn pair(capacity: usize) -> (Self, Self) {
        let mapping = crate::mapping::Mapping::anonymous(size_of::<Words>() + capacity)
            .expect("a test or bench has memory for a ring");
        let mapping = Arc::new(mapping);
        let (words, body) =
            (mapping.start().cast::<Words>(), mapping.at(size_of::<Words>() as u64, 0));
        let body = body.expect("the mapping has room for words and body");
        let end = || {
            // SAFETY: page-aligned zeroes are valid `Words`; the body follows them; `mapping` keeps both.
            unsafe { Self::new(words, body, capacity, Arc::clone(&mapping) as _) }
        };
        (end(), end())
    }

    pub(crate) fn words(&self) -> &Words {
        // SAFETY: by the contract of `new`; all its fields are atomics.
        unsafe { &*self.words }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The place of `position`, and how many bytes there are up to the end of the body.
    fn place(&self, position: u64) -> (*mut u8, usize) {
        let index = position as usize & (self.capacity - 1);
        // SAFETY: `index` is below `capacity`.
        (unsafe { self.body.add(index) }, self.capacity - index)
    }

    /// Writes `bytes`, at most a body full, from `position` on.
    pub(crate) fn copy_in(&self, position: u64, bytes: &[u8]) {
        let (start, contiguous) = self.place(position);
        let (first, second) = bytes.split_at(bytes.len().min(contiguous));
        debug_assert!(bytes.len() <= self.capacity);
        // SAFETY: `first` ends before the body does; the writer owns these bytes until it publishes
        // them (ring.rs); private and shared memory do not overlap.
        unsafe { start.copy_from_nonoverlapping(first.as_ptr(), first.len()) };
        let second = &second[..second.len().min(self.capacity - first.len())];
        // SAFETY: as above, from the start of the body on.
        unsafe { self.body.copy_from_nonoverlapping(second.as_ptr(), second.len()) };
    }

    /// Appends `len` bytes, at most a body full, from `position` on to `into`.
    pub(crate) fn copy_out(&self, position: u64, len: usize, into: &mut Vec<u8>) {
        debug_assert!(len <= self.capacity);
        let len = len.min(self.capacity);
        into.reserve(len);
        let (start, contiguous) = self.place(position);
        let first = len.min(contiguous);
        let filled = into.len();
        let target = into.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: `first` ends before the body does, and `reserve` made room; the reader owns these
        // bytes until it moves its head (ring.rs). A peer that breaks the protocol races with this
        // copy: then the bytes are nonsense, but plain bytes they are.
        unsafe { target.copy_from_nonoverlapping(start, first) };
        // SAFETY: `first <= len`, which `reserve` made room for.
        let target = unsafe { target.add(first) };
        // SAFETY: as for the first copy, from the start of the body on; `len <= capacity`.
        unsafe { target.copy_from_nonoverlapping(self.body, len - first) };
        // SAFETY: the two copies have initialised exactly `len` more bytes.
        unsafe { into.set_len(filled + len) };
    }

    /// The eight bytes at `position`, which is a multiple of 8.
    pub(crate) fn word(&self, position: u64) -> u64 {
        let (start, _) = self.place(position & !7);
        // SAFETY: the body is aligned to 8 and a multiple of 8 long, so there is a whole word here. A peer
        // that keeps the protocol does not write it now; beside one that does not, this is an atomic.
        unsafe { AtomicU64::from_ptr(start.cast()) }.load(Ordering::Relaxed)
    }
}

/// The stand-in under loom: heap memory whose every word is checked for races.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct Lane {
    words: Arc<Words>,
    body: Arc<Vec<loom::cell::UnsafeCell<[u8; 8]>>>,
}

#[cfg(loom)]
impl Lane {
    pub(crate) fn pair(capacity: usize) -> (Self, Self) {
        assert!(capacity.is_power_of_two() && capacity >= 64);
        let words = Arc::new(Words::default());
        let cell = |_| loom::cell::UnsafeCell::new([0; 8]);
        let body = Arc::new((0..capacity / 8).map(cell).collect());
        let end = || Self { words: Arc::clone(&words), body: Arc::clone(&body) };
        (end(), end())
    }

    pub(crate) fn words(&self) -> &Words {
        &self.words
    }

    pub(crate) fn capacity(&self) -> usize {
        self.body.len() * 8
    }

    fn cell(&self, position: u64) -> &loom::cell::UnsafeCell<[u8; 8]> {
        &self.body[position as usize / 8 & (self.body.len() - 1)]
    }

    pub(crate) fn copy_in(&self, position: u64, bytes: &[u8]) {
        for (n, part) in bytes.chunks(8).enumerate() {
            let cell = self.cell(position + 8 * n as u64);
            cell.with_mut(|word| {
                // SAFETY: inside the closure loom guarantees, or reports, exclusive access.
                let word = unsafe { &mut *word };
                word[..part.len()].copy_from_slice(part);
            });
        }
    }

    pub(crate) fn copy_out(&self, position: u64, len: usize, into: &mut Vec<u8>) {
        for at in (0..len).step_by(8) {
            let part = self.word(position + at as u64).to_ne_bytes();
            into.extend_from_slice(&part[..(len - at).min(8)]);
        }
    }

    pub(crate) fn word(&self, position: u64) -> u64 {
        // SAFETY: inside the closure loom guarantees, or reports, that nobody writes.
        self.cell(position).with(|word| u64::from_ne_bytes(unsafe { *word }))
    }
}
