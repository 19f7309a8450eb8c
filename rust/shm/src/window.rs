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

use std::sync::Arc;

use rustix::mm::{self, Advice, MprotectFlags};

use crate::mapping::{MapError, Mapping};
use crate::segment::{Segment, SegmentError, Span};

/// One leased span, mapped apart. A forked child does not get it.
#[derive(Debug)]
pub struct Window {
    pages: Mapping,
    start: *mut u8,
    /// Keeps the file, and tells nobody that the span has moved.
    segment: Arc<Segment>,
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
        // SAFETY: the segment keeps these pages of its shared mapping.
        let pages = unsafe { Mapping::again(source.cast(), len) }?;
        // SAFETY: `inside` is less than a page, so it is inside of the new mapping.
        let start = unsafe { pages.start().cast::<u8>().add(inside) };
        // One fault for all; without it each page faults by itself.
        let _ = pages.advise(0, len, Advice::LinuxPopulateWrite);
        Ok(Self { pages, start, segment: Arc::clone(segment) })
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
        let (start, len) = (self.pages.start(), self.pages.len());
        // SAFETY: the range is ours, and nothing in Rust holds a reference into it.
        let done = unsafe { mm::mprotect(start, len, MprotectFlags::READ) };
        done.map_err(|errno| MapError::Os { call: "protect", size: len as u64, errno }.into())
    }
}
