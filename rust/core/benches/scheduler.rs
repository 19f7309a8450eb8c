//! What does the node itself cost for each task, and does that stay flat?
//!
//! ```text
//!   submit ▸ dispatch ▸ finished ▸ get ▸ release      one no-op task; two workers that answer at once
//!   submit ▸ (yielded ▸ next ▸ get ▸ release) × n     one stream, its reader beside it
//!   submit ▸ yielded × n ▸ (next ▸ get ▸ release) × n  its reader far behind
//! ```
//!
//! The first again with more workers, each of which has tasks ahead. Only `Node::step`: no process, ring or Python. Nanoseconds, median (min..max) of 5 fresh nodes.
#![allow(clippy::cast_precision_loss, reason = "printed with three digits")]
#![allow(clippy::print_stdout, reason = "the table is the result")]

mod node;

use std::time::{Duration, Instant};

use node::Bench;

const RUNS: usize = 5;

/// Runs on as many nodes as it takes to see at least `least` tasks or items; nanoseconds for each.
fn spread<const N: usize>(
    count: usize,
    least: usize,
    run: impl Fn() -> [Duration; N],
) -> [String; N] {
    let repeats = least.div_ceil(count);
    let samples: Vec<[f64; N]> = (0..RUNS)
        .map(|_| {
            let mut sums = [Duration::ZERO; N];
            for _ in 0..repeats {
                for (sum, spent) in sums.iter_mut().zip(run()) {
                    *sum += spent;
                }
            }
            sums.map(|sum| sum.as_secs_f64() * 1e9 / (count * repeats) as f64)
        })
        .collect();
    std::array::from_fn(|at| {
        let mut column: Vec<f64> = samples.iter().map(|sample| sample[at]).collect();
        column.sort_by(f64::total_cmp);
        format!("{:.0} ({:.0}..{:.0})", column[RUNS / 2], column[0], column[RUNS - 1])
    })
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Submit all, let the workers run all, get and release all.
fn queued(workers: u32, count: usize) -> [Duration; 4] {
    let mut bench = Bench::with_workers(workers);
    let submit = timed(|| (0..count).for_each(|_| bench.submit_task()));
    let run = timed(|| bench.run_tasks());
    let take = timed(|| bench.get_and_release());
    assert!(bench.is_clean());
    [submit + run + take, submit, run, take]
}

/// One after the other.
fn in_turn(count: usize) -> [Duration; 1] {
    let mut bench = Bench::new();
    let all = timed(|| {
        for _ in 0..count {
            bench.submit_task();
            bench.run_tasks();
            bench.get_and_release();
        }
    });
    [all]
}

/// A stream whose consumer takes each item as it comes.
fn stream(count: usize) -> [Duration; 1] {
    let mut bench = Bench::new();
    bench.begin_stream();
    let all = timed(|| {
        for index in 0..count as u64 {
            bench.yield_item(index);
            bench.take_item();
        }
    });
    bench.end_stream(count as u64);
    assert!(bench.is_clean());
    [all]
}

/// A stream whose consumer begins when all has been yielded.
fn stream_ahead(count: usize) -> [Duration; 1] {
    let mut bench = Bench::new();
    bench.begin_stream();
    let all = timed(|| {
        (0..count as u64).for_each(|index| bench.yield_item(index));
        (0..count).for_each(|_| bench.take_item());
    });
    bench.end_stream(count as u64);
    assert!(bench.is_clean());
    [all]
}

fn line(name: &str, cells: &[String]) {
    let cells: Vec<_> = cells.iter().map(|cell| format!("{cell:>18}")).collect();
    println!("{name:<28}{}", cells.join("  "));
}

fn main() {
    println!("scheduler: ns for each task or item, in Node::step alone\n");
    line("tasks", &["all", "submit", "dispatch, finished", "get, release"].map(String::from));
    for count in [1_000, 100_000, 1_000_000] {
        line(&format!("{count} queued"), &spread(count, 100_000, || queued(2, count)));
    }
    for workers in [64, 256] {
        let cells = spread(100_000, 100_000, || queued(workers, 100_000));
        line(&format!("100000, {workers} workers"), &cells);
    }
    line("one after the other", &spread(100_000, 100_000, || in_turn(100_000)));
    println!();
    for count in [1_000, 1_000_000] {
        line(&format!("stream of {count}"), &spread(count, 100_000, || stream(count)));
    }
    for count in [1_000, 1_000_000] {
        let cells = spread(count, 100_000, || stream_ahead(count));
        line(&format!("the same, {count} unread"), &cells);
    }
}
