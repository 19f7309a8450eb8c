//! What the benches share: a median with its spread, a place to run, a table.
#![allow(dead_code, reason = "each bench uses its part")]
#![allow(clippy::cast_precision_loss, reason = "printed with three digits")]

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Median, minimum and maximum of some measurements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self {
            median: samples[samples.len() / 2],
            min: samples[0],
            max: samples[samples.len() - 1],
        }
    }

    /// Of `count` runs.
    pub(crate) fn of_runs(count: usize, run: impl FnMut() -> f64) -> Self {
        Self::of(std::iter::repeat_with(run).take(count).collect())
    }
}

/// `median (min .. max)`.
impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{:.2} ({:.2}..{:.2})", self.median, self.min, self.max);
        f.pad(&text)
    }
}

/// That percentile of what is sorted, in microseconds.
pub(crate) fn quantile(sorted: &[Duration], percent: usize) -> f64 {
    let place = sorted.len() * percent / 100;
    sorted[place.min(sorted.len() - 1)].as_secs_f64() * 1e6
}

/// Cores that this process may use, before it was pinned to one.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Keeps the calling thread on one core (the last one, if there are not so many).
pub(crate) fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core.min(cores() - 1));
    // A container may forbid it; then the scheduler decides, and the spread shows it.
    let _ = sched_setaffinity(None, &set);
}

/// Gigabytes a second.
pub(crate) fn rate(bytes: usize, spent: Duration) -> f64 {
    bytes as f64 / spent.as_secs_f64() / 1e9
}

/// Nanoseconds for each.
pub(crate) fn each(count: usize, spent: Duration) -> f64 {
    spent.as_secs_f64() * 1e9 / count as f64
}

/// One line: a name, then cells of equal width.
pub(crate) fn line(name: &str, cells: &[String]) {
    let mut text = format!("{name:<44}");
    for cell in cells {
        let _ = write!(text, "  {cell:>20}");
    }
    println!("{}", text.trim_end());
}
