//! What does it cost to write into shared memory that is fresh, populated, recycled, or newly mapped?
//!
//! Each row copies 64 MiB out of warm private memory, in pieces of the column's size; median of 7 runs.
//! First on pages of 4 KiB (a memfd), then on those of 2 MiB, where the system lets us have them.
#![allow(clippy::print_stdout, reason = "the table is the result")]

mod common;

use std::hint::black_box;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Spread, line, rate};
use skate_shm::segment::{Pages, Segment, Span};

const TOTAL: usize = 64 << 20;
const RUNS: usize = 7;
const SIZES: [usize; 3] = [64 << 10, 1 << 20, 64 << 20];

fn span(offset: usize, len: usize) -> Span {
    Span { offset: offset as u64, len: len as u64 }
}

/// A segment of 64 MiB, and its descriptor.
fn fresh(pages: Pages) -> (Arc<Segment>, OwnedFd) {
    let (segment, fd) = Segment::create("bench", TOTAL as u64, pages).expect("shared memory");
    (Arc::new(segment), fd)
}

fn write(segment: &Arc<Segment>, at: Span, from: &[u8]) {
    // SAFETY: this thread is the only user of the segment, and no slice of it lives.
    let mut writing = unsafe { segment.writing(at) }.expect("in bounds");
    writing.copy_from_slice(from);
    let _ = writing.seal();
}

/// Writes all of it, piece after piece.
fn write_all(segment: &Arc<Segment>, from: &[u8]) -> Duration {
    let start = Instant::now();
    for offset in (0..TOTAL).step_by(from.len()) {
        write(segment, span(offset, from.len()), from);
    }
    start.elapsed()
}

fn populate_and_write_all(segment: &Arc<Segment>, from: &[u8]) -> Duration {
    let start = Instant::now();
    for offset in (0..TOTAL).step_by(from.len()) {
        let at = span(offset, from.len());
        segment.populate(at);
        write(segment, at, from);
    }
    start.elapsed()
}

/// Reads one word of every cache line.
fn read_all(segment: &Segment) -> Duration {
    let bytes = segment.bytes(span(0, TOTAL)).expect("in bounds");
    let start = Instant::now();
    black_box(bytes.iter().step_by(64).fold(0u64, |sum, byte| sum + u64::from(*byte)));
    start.elapsed()
}

fn by_size(name: &str, mut run: impl FnMut(&[u8]) -> Duration) {
    let cells = SIZES.map(|size| {
        let from = vec![7u8; size];
        Spread::of_runs(RUNS, || rate(TOTAL, run(&from))).to_string()
    });
    line(name, &cells);
}

fn once(name: &str, mut run: impl FnMut() -> Duration) {
    line(name, &[Spread::of_runs(RUNS, || rate(TOTAL, run())).to_string()]);
}

fn floor() {
    let mut private = vec![1u8; TOTAL];
    by_size("memcpy, warm private memory", |from| {
        let start = Instant::now();
        private.chunks_mut(from.len()).for_each(|part| part.copy_from_slice(from));
        black_box(&mut private);
        start.elapsed()
    });
}

fn writes(pages: Pages) {
    by_size("fresh", |from| write_all(&fresh(pages).0, from));
    by_size("fresh, each piece populated first", |from| {
        populate_and_write_all(&fresh(pages).0, from)
    });
    let (segment, fd) = fresh(pages);
    write_all(&segment, &vec![1u8; TOTAL]);
    let again = || Arc::new(Segment::open(fd.as_fd()).expect("made above"));
    by_size("recycled, mapped: all of it", |from| write_all(&segment, from));
    by_size("recycled, mapped: one piece, over and over", |from| {
        let start = Instant::now();
        for _ in (0..TOTAL).step_by(from.len()) {
            write(&segment, span(0, from.len()), from);
        }
        start.elapsed()
    });
    by_size("recycled, new mapping", |from| write_all(&again(), from));
    by_size("recycled, new mapping, populated first", |from| {
        populate_and_write_all(&again(), from)
    });
}

fn faults(pages: Pages) {
    once("populate alone, one thread", || {
        let (segment, _fd) = fresh(pages);
        let start = Instant::now();
        segment.populate(span(0, TOTAL));
        start.elapsed()
    });
    once("populate alone, two threads", || {
        let (segment, _fd) = fresh(pages);
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| segment.populate(span(0, TOTAL / 2)));
            segment.populate(span(TOTAL / 2, TOTAL / 2));
        });
        start.elapsed()
    });
    let (segment, fd) = fresh(pages);
    write_all(&segment, &vec![1u8; TOTAL]);
    once("read through a new mapping", || {
        read_all(&Segment::open(fd.as_fd()).expect("made above"))
    });
    once("read again", || read_all(&segment));
}

fn main() {
    println!("memory: GB/s, median (min..max), by size of the pieces\n");
    line("", &["64 KiB", "1 MiB", "64 MiB"].map(String::from));
    floor();
    for pages in [Pages::Small, Pages::Huge] {
        let found = fresh(pages).0.pages();
        if found != pages {
            println!("\nno pages of 2 MiB on this system");
            return;
        }
        println!("\n{found:?} pages");
        writes(pages);
        faults(pages);
    }
}
