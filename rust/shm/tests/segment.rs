//! What a segment promises to the processes that map it.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use std::os::fd::AsFd;
use std::sync::Arc;

use common::{Ended, fork};
use skate_shm::MapError;
use skate_shm::segment::{Pages, Segment, SegmentError, Span, Writing};

const MIB: u64 = 1 << 20;

fn writing(segment: &Arc<Segment>, span: Span) -> Writing {
    // SAFETY: each test leases disjoint spans, and reads them only after `seal`.
    unsafe { segment.writing(span) }.unwrap()
}

#[test]
fn sealed_bytes_are_read_in_place_by_another_process() {
    let (segment, fd) = Segment::create("test", MIB, Pages::Small).unwrap();
    let segment = Arc::new(segment);
    let span = Span { offset: 4100, len: 11 };
    let mut block = writing(&segment, span);
    block.copy_from_slice(b"hello there");
    assert_eq!(block.seal(), span);
    assert_eq!(segment.bytes(span).unwrap(), b"hello there");
    let mut child = fork(|| {
        let segment = Segment::open(fd.as_fd()).unwrap();
        assert_eq!(segment.size(), MIB);
        assert_eq!(segment.bytes(span).unwrap(), b"hello there");
    });
    assert_eq!(child.wait(), Ended::Exit(0));
}

#[test]
fn a_forked_child_reads_views_but_cannot_write() {
    let (segment, _fd) = Segment::create("test", MIB, Pages::Small).unwrap();
    let segment = Arc::new(segment);
    let span = Span { offset: 0, len: 4 };
    writing(&segment, span).copy_from_slice(b"view");
    let mut reads = fork(|| assert_eq!(segment.bytes(span).unwrap(), b"view"));
    assert_eq!(reads.wait(), Ended::Exit(0));
    let mut writes = fork(|| writing(&segment, span)[0] = 0);
    assert_eq!(writes.wait(), Ended::Signal(libc::SIGSEGV));
}

#[test]
fn a_write_through_a_view_faults() {
    let (segment, _fd) = Segment::create("test", MIB, Pages::Small).unwrap();
    let mut child = fork(|| {
        let start = segment.ptr(Span { offset: 0, len: 1 }).unwrap().cast_mut();
        // SAFETY: unsound on purpose; the kernel stops it.
        unsafe { start.write_volatile(1) };
    });
    assert_eq!(child.wait(), Ended::Signal(libc::SIGSEGV));
}

#[test]
fn nobody_can_resize_a_segment() {
    let (_segment, fd) = Segment::create("test", MIB, Pages::Small).unwrap();
    for size in [0, 2 * MIB] {
        assert_eq!(rustix::fs::ftruncate(&fd, size), Err(rustix::io::Errno::PERM));
    }
}

#[test]
fn an_unsealed_file_is_refused() {
    let flags = rustix::fs::MemfdFlags::ALLOW_SEALING;
    let memfd = rustix::fs::memfd_create("test", flags).unwrap();
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    for fd in [memfd.as_fd(), file.as_fd()] {
        let error = Segment::open(fd).unwrap_err();
        assert!(matches!(error, SegmentError::Map(MapError::Unsealed)), "{error}");
    }
}

#[test]
fn a_span_outside_is_refused() {
    let (segment, _fd) = Segment::create("test", MIB, Pages::Small).unwrap();
    assert!(segment.bytes(Span { offset: MIB, len: 0 }).is_ok());
    for (offset, len) in [(MIB, 1), (0, MIB + 1), (u64::MAX, 2), (2, u64::MAX)] {
        let error = segment.bytes(Span { offset, len }).unwrap_err();
        assert!(matches!(error, SegmentError::OutOfBounds { .. }), "{error}");
    }
}

#[test]
fn punched_pages_go_back_to_the_kernel_and_their_neighbours_stay() {
    let (segment, _fd) = Segment::create("test", 64 * MIB, Pages::Small).unwrap();
    let segment = Arc::new(segment);
    assert_eq!(segment.resident(), Some(0), "the file is sparse");
    segment.populate(Span { offset: 0, len: MIB });
    assert_eq!(segment.resident(), Some(MIB));
    writing(&segment, Span { offset: 0, len: MIB }).fill(7);
    // All but the first and the last 100 bytes: the pages they lie on are not free as a whole.
    // SAFETY: nobody holds a lease or a slice.
    unsafe { segment.punch(Span { offset: 100, len: MIB - 200 }) };
    assert_eq!(segment.resident(), Some(2 * 4096));
    let bytes = segment.bytes(Span { offset: 0, len: MIB }).unwrap();
    assert!(bytes[..4096].iter().chain(&bytes[bytes.len() - 4096..]).all(|&byte| byte == 7));
    assert!(bytes[4096..bytes.len() - 4096].iter().all(|&byte| byte == 0));
}

#[test]
fn populate_and_punch_out_of_bounds_do_nothing() {
    let (segment, _fd) = Segment::create("test", MIB, Pages::Small).unwrap();
    for (offset, len) in [(MIB, MIB), (u64::MAX - 10, 5), (0, u64::MAX), (10, 0)] {
        segment.populate(Span { offset, len });
        // SAFETY: nobody holds a lease or a slice.
        unsafe { segment.punch(Span { offset, len: len.min(10) }) };
    }
    assert_eq!(segment.resident(), Some(0));
}

#[test]
fn a_segment_of_huge_pages_is_shared_and_cannot_be_found() {
    let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap();
    let before = mounts();
    // Where the system has no such pages this is a memfd, which must do the same.
    let (segment, fd) = Segment::create("test", 64 * MIB, Pages::Huge).unwrap();
    assert_eq!(mounts(), before, "the mount is attached nowhere");
    let segment = Arc::new(segment);
    let span = Span { offset: 5 * MIB + 64, len: 11 };
    let mut block = writing(&segment, span);
    block.copy_from_slice(b"hello there");
    block.seal();
    let mut child = fork(|| {
        let opened = Segment::open(fd.as_fd()).unwrap();
        assert_eq!(opened.pages(), segment.pages());
        assert_eq!(opened.bytes(span).unwrap(), b"hello there");
    });
    assert_eq!(child.wait(), Ended::Exit(0));
    let resident = segment.resident().unwrap();
    assert!((4096..=2 * MIB).contains(&resident), "{resident} B for one block");
    // SAFETY: nobody holds a lease or a slice.
    unsafe { segment.punch(Span { offset: 4 * MIB, len: 4 * MIB }) };
    assert_eq!(segment.resident(), Some(0));
}

#[test]
fn a_named_file_on_a_tmpfs_is_refused() {
    let path = std::path::Path::new("/dev/shm").join(format!("skate-test-{}", std::process::id()));
    let Ok(file) = std::fs::File::create_new(&path) else { return };
    let opened = Segment::open(file.as_fd());
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(opened.unwrap_err(), SegmentError::Map(MapError::Unsealed)));
}
