//! Random programs on a simulated machine: whatever the order of messages, deaths and time-outs,
//! every `get` and `next` gives what the program says, nothing hangs, and nothing is left.
//!
//! Everything follows from a seed. `SKATE_SIM_SEEDS=n` plays the seeds 1 to n, on all cores;
//! `SKATE_SIM_SEED=s` plays that one. A failure prints the command that repeats it, and its story.

#![allow(clippy::unwrap_used, reason = "what must be there is there, or the simulation is wrong")]

use std::sync::atomic::{AtomicU64, Ordering};

#[allow(dead_code, reason = "tests of single tables use the rest")]
mod looking;
mod seeds;
mod simulation {
    pub(crate) mod acts;
    pub(crate) mod client;
    pub(crate) mod content;
    pub(crate) mod io;
    pub(crate) mod model;
    pub(crate) mod program;
    pub(crate) mod random;
    pub(crate) mod runtime;
    pub(crate) mod verify;
    pub(crate) mod worker;
    pub(crate) mod world;
}

use simulation::world::World;

/// Over all seeds: bytes spilled and read back, values read by their readers, writers sent to disk.
static SPILLED: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

impl seeds::Session for World {
    const TEST: &'static str = "simulation";

    fn new(seed: u64, tells_story: bool) -> Self {
        Self::new(seed, tells_story)
    }

    fn run(&mut self) {
        Self::run(self);
        let found = self.node.statistics();
        let [written, read, lent, sent] = &SPILLED;
        written.fetch_add(found.disk_written_bytes, Ordering::Relaxed);
        read.fetch_add(found.disk_read_bytes, Ordering::Relaxed);
        lent.fetch_add(u64::from(self.private_reads), Ordering::Relaxed);
        sent.fetch_add(u64::from(self.disk_leases), Ordering::Relaxed);
    }

    fn story(&self) -> &[String] {
        Self::story(self)
    }
}

#[test]
fn every_interleaving_gives_what_the_program_says() {
    seeds::play_all::<World>();
    let [written, read, lent, sent] = SPILLED.each_ref().map(|sum| sum.load(Ordering::Relaxed));
    eprintln!(
        "{written} B spilled, {read} B read back, {lent} by their readers, {sent} sent to disk"
    );
    if std::env::var_os("SKATE_SIM_SEED").is_none() {
        assert!(written > 0 && read > 0 && lent > 0 && sent > 0, "a spilled value has four ways");
    }
}
