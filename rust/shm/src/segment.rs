//! The memory that payloads live in.
//!
//! ```text
//!   lease ──▶ Writing ──seal──▶ Span, sent to others ──▶ bytes (read in place) ──▶ freed ──▶ lease …
//!             read-write window                          read-only window            └─▶ punch
//! ```
//!
//! Each process maps a segment twice. Views go through the *read-only* window, so a stray write
//! through a view faults instead of corrupting an object; a forked child inherits it, so it can read on.
//! Bytes are produced through the *read-write* window, which a forked child does not get.
//!
//! Invariant: the bytes of a span change only while one process holds its lease; from `seal` on until
//! the node has freed the span they never change. The node keeps that promise (it leases a span only
//! when nobody views it); this file only checks bounds. A crash while writing leaves a span that
//! nobody was told of, and which the node leases again.

use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{self, FallocateFlags};
use rustix::mm::Advice;

use crate::huge;
use crate::killpoint::{Point, reached};
use crate::mapping::{self, Access, MapError, Mapping};

const PAGE: u64 = 4096;

/// A range of bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub len: u64,
}

impl Span {
    fn end(self) -> u64 {
        self.offset.saturating_add(self.len)
    }

    /// The pages that contain the span.
    fn pages_around(self) -> Self {
        let start = page_floor(self.offset);
        // An empty span touches no page, wherever it is.
        let end = if self.len == 0 { start } else { page_ceil(self.end()) };
        Self { offset: start, len: end - start }
    }

    /// The pages that the span contains.
    fn pages_inside(self) -> Self {
        let start = page_ceil(self.offset);
        Self { offset: start, len: page_floor(self.end()).saturating_sub(start) }
    }
}

const fn page_floor(offset: u64) -> u64 {
    offset / PAGE * PAGE
}

/// The end of the address space, which is in no segment, if there is no such page.
const fn page_ceil(offset: u64) -> u64 {
    match offset.checked_next_multiple_of(PAGE) {
        Some(page) => page,
        None => page_floor(u64::MAX),
    }
}

/// Why a segment cannot be had, or not be used like this.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// There is no such memory.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The span is not inside: a corrupt message, if it came from a peer.
    #[error("{len} B at {offset} are not inside a segment of {size} B")]
    OutOfBounds {
        /// Start of the span.
        offset: u64,
        /// Its length.
        len: u64,
        /// The size of the segment.
        size: u64,
    },
}

/// What the pages of a segment are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// 2 MiB where the kernel finds them, on a tmpfs of our own.
    Huge,
    /// 4 KiB, in a memfd.
    Small,
}

/// One segment, mapped by this process until the last owner drops it.
#[derive(Debug)]
pub struct Segment {
    views: Mapping,
    leases: Mapping,
    pages: Pages,
    /// Only in the process that created it, which gives pages back.
    file: Option<OwnedFd>,
}

impl Segment {
    /// Makes a sparse segment of `size` bytes (rounded up to whole pages), and the descriptor that
    /// other processes open it with. Asked for huge pages it takes small ones where there are none.
    pub fn create(name: &str, size: u64, pages: Pages) -> Result<(Self, OwnedFd), SegmentError> {
        let size = size.max(1).next_multiple_of(PAGE);
        let huge = if pages == Pages::Huge { huge::create(size) } else { None };
        let fd = huge.map_or_else(|| mapping::create_sealed(name, size), Ok)?;
        let mut segment = Self::open(fd.as_fd())?;
        let duplicate = fd.try_clone().map_err(|error| MapError::Os {
            call: "keep a descriptor of",
            size,
            errno: rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::MFILE),
        })?;
        segment.file = Some(duplicate);
        Ok((segment, fd))
    }

    /// Maps a segment made by another process. Close the descriptor afterwards: a segment of huge pages
    /// could be resized through it.
    pub fn open(fd: BorrowedFd<'_>) -> Result<Self, SegmentError> {
        let (size, pages) = match huge::size(fd) {
            Some(size) => (size, Pages::Huge),
            None => (mapping::sealed_size(fd)?, Pages::Small),
        };
        let views = Mapping::of(fd, size, Access::Read)?;
        let leases = Mapping::of(fd, size, Access::Write)?;
        if pages == Pages::Huge {
            for window in [&views, &leases] {
                // Without the advice the pages are small, and all else is the same.
                let _ = window.advise(0, window.len(), Advice::LinuxHugepage);
            }
        }
        Ok(Self { views, leases, pages, file: None })
    }

    /// What its pages are.
    pub fn pages(&self) -> Pages {
        self.pages
    }

    /// Bytes of address space; a multiple of the page size.
    pub fn size(&self) -> u64 {
        self.views.len() as u64
    }

    fn at(&self, window: &Mapping, span: Span) -> Result<*mut u8, SegmentError> {
        let Span { offset, len } = span;
        let outside = SegmentError::OutOfBounds { offset, len, size: self.size() };
        window.at(offset, len).ok_or(outside)
    }

    /// Sealed bytes, in place.
    pub fn bytes(&self, span: Span) -> Result<&[u8], SegmentError> {
        let start = self.ptr(span)?;
        // SAFETY: in bounds of a mapping that `self` keeps; whoever called `writing` or `punch` has
        // promised that nobody reads the span through a slice meanwhile, so the bytes stand still.
        Ok(unsafe { std::slice::from_raw_parts(start, span.len as usize) })
    }

    /// Where sealed bytes are, in the read-only window, for views that outlive a borrow. Valid as
    /// long as the segment.
    pub fn ptr(&self, span: Span) -> Result<*const u8, SegmentError> {
        Ok(self.at(&self.views, span)?.cast_const())
    }

    /// Begins to write a leased span.
    ///
    /// # Safety
    /// This process holds the lease of `span`, there is no other `Writing` over any part of it, and
    /// until `seal` no process reads it through [`bytes`](Self::bytes), nor still holds such a slice.
    pub unsafe fn writing(self: &Arc<Self>, span: Span) -> Result<Writing, SegmentError> {
        let start = self.at(&self.leases, span)?;
        reached(Point::Writing);
        Ok(Writing { segment: Arc::clone(self), start, span })
    }

    /// The pages around a span in the window for writing: where they start, how far inside the span
    /// starts, and how many bytes they are.
    pub(crate) fn pages_for_window(
        &self,
        span: Span,
    ) -> Result<(*mut u8, usize, usize), SegmentError> {
        self.at(&self.leases, span)?;
        let pages = Span { len: span.len.max(1), ..span }.pages_around();
        let source = self.at(&self.leases, pages)?;
        Ok((source, (span.offset - pages.offset) as usize, pages.len as usize))
    }

    /// Has the kernel supply the pages of a span, and this process's page table entries, in one go:
    /// cheaper than a fault for each page. Best effort; contents do not change.
    pub fn populate(&self, span: Span) {
        let pages = span.pages_around();
        // An error (out of memory, or out of bounds) shows again, and better, at the write itself.
        let advice = Advice::LinuxPopulateWrite;
        let _ = self.leases.advise(pages.offset as usize, pages.len as usize, advice);
    }

    /// Gives the whole pages inside a span back to the kernel; they read as zeroes afterwards. Best
    /// effort, and only in the process that created the segment.
    ///
    /// # Safety
    /// The span is free: no process holds its lease or a slice of it.
    pub unsafe fn punch(&self, span: Span) {
        let pages = span.pages_inside();
        if let (Some(file), true) = (&self.file, pages.len > 0) {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            reached(Point::Punching);
            // If it fails the pages stay, which costs memory but breaks nothing.
            let _ = fs::fallocate(file, flags, pages.offset, pages.len);
            reached(Point::Punched);
        }
    }

    /// Bytes of memory that the file really takes; `None` where the descriptor is not kept.
    pub fn resident(&self) -> Option<u64> {
        let stat = fs::fstat(self.file.as_ref()?).ok()?;
        Some(u64::try_from(stat.st_blocks).unwrap_or(0) * 512)
    }
}

/// A span that this process writes. Dropped unsealed, it is simply not published.
#[derive(Debug)]
#[must_use]
pub struct Writing {
    segment: Arc<Segment>,
    start: *mut u8,
    span: Span,
}

// SAFETY: it is the only access to its bytes, by the contract of `Segment::writing`, and owns what
// keeps them mapped.
unsafe impl Send for Writing {}
// SAFETY: a shared `Writing` only reads.
unsafe impl Sync for Writing {}

impl Writing {
    /// Ends the writing for good. The span may be published now, by a release store (the ring's).
    pub fn seal(self) -> Span {
        reached(Point::Sealed);
        self.span
    }

    /// The segment that is written.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The span that is written.
    pub fn span(&self) -> Span {
        self.span
    }
}

impl Deref for Writing {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: in bounds (`writing` checked), mapped while `segment` lives, and ours alone.
        unsafe { std::slice::from_raw_parts(self.start, self.span.len as usize) }
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; the window is writable and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.span.len as usize) }
    }
}
