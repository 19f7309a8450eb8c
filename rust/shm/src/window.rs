//! A window of its own on one leased span, for values that user code writes in place.
//!
//! ```text
//!   open ──▶ writable ──protect──▶ read-only ──drop──▶ unmapped
//! ```
//!
//! The span is mapped once more, apart from the segment's common windows, so that its protection can
//! change without touching a neighbour on the same page.
//!
//! Invariant: after `protect` no write through any pointer into this window reaches the span: it
//! faults. So sealed bytes stay as they are, whatever aliases user code has kept.

use std::ffi::c_void;
use std::sync::Arc;

use rustix::mm::{self, Advice, MprotectFlags, MremapFlags};

use crate::mapping::MapError;
use crate::segment::{Segment, SegmentError, Span};

/// One leased span, mapped apart.
#[derive(Debug)]
pub struct Window {
    /// Keeps the file, and tells nobody that the span has moved.
    segment: Arc<Segment>,
    pages: *mut c_void,
    len: usize,
    start: *mut u8,
}

// SAFETY: a mapping belongs to the process; whoever goes through `start` answers for the races.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    /// Maps the pages around a span.
    ///
    /// # Safety
    /// This process holds the lease of `span` until the window is dropped, and writes to it through
    /// nothing else.
    pub unsafe fn open(segment: &Arc<Segment>, span: Span) -> Result<Self, SegmentError> {
        let (source, inside, len) = segment.pages_for_window(span)?;
        let flags = MremapFlags::MAYMOVE;
        // SAFETY: an old size of 0 on a shared mapping makes a second one and leaves the first; the
        // kernel chooses a fresh range, which overlaps nothing that Rust knows of.
        let pages = unsafe { mm::mremap(source.cast(), 0, len, flags) };
        let pages = pages.map_err(|errno| MapError::Os { call: "map", size: len as u64, errno })?;
        // SAFETY: `inside` is less than a page, so it is inside of the new mapping.
        let start = unsafe { pages.cast::<u8>().add(inside) };
        let window = Self { segment: Arc::clone(segment), pages, len, start };
        // A child must not write to what it does not lease. It cannot fail for a range just mapped.
        // SAFETY: the range is ours.
        let _ = unsafe { mm::madvise(pages, len, Advice::LinuxDontFork) };
        // One fault for all; without it each page faults by itself.
        // SAFETY: the range is ours; contents do not change.
        let _ = unsafe { mm::madvise(pages, len, Advice::LinuxPopulateWrite) };
        Ok(window)
    }

    /// Where the span begins in this window.
    pub fn start(&self) -> *mut u8 {
        self.start
    }

    /// The segment that it is a window on.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Ends the writing for good.
    pub fn protect(&self) -> Result<(), SegmentError> {
        // SAFETY: the range is ours, and nothing in Rust holds a reference into it.
        let done = unsafe { mm::mprotect(self.pages, self.len, MprotectFlags::READ) };
        done.map_err(|errno| MapError::Os { call: "protect", size: self.len as u64, errno }.into())
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: `open` mapped exactly this range, and whoever has pointers into it keeps `self`.
        let _ = unsafe { mm::munmap(self.pages, self.len) };
    }
}
