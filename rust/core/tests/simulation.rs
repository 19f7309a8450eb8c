//! Random programs on a simulated machine: whatever the order of messages, deaths and time-outs,
//! every `get` and `next` gives what the program says, nothing hangs, and nothing is left.
//!
//! Everything follows from a seed. `SKATE_SIM_SEEDS=n` plays the seeds 1 to n, on all cores;
//! `SKATE_SIM_SEED=s` plays that one. A failure prints the command that repeats it, and its story.

#![allow(clippy::unwrap_used, reason = "what must be there is there, or the simulation is wrong")]

mod seeds;
mod simulation {
    pub(crate) mod acts;
    pub(crate) mod client;
    pub(crate) mod content;
    pub(crate) mod model;
    pub(crate) mod program;
    pub(crate) mod random;
    pub(crate) mod runtime;
    pub(crate) mod verify;
    pub(crate) mod worker;
    pub(crate) mod world;
}

use simulation::world::World;

impl seeds::Session for World {
    const TEST: &'static str = "simulation";

    fn new(seed: u64, tells_story: bool) -> Self {
        Self::new(seed, tells_story)
    }

    fn run(&mut self) {
        Self::run(self);
    }

    fn story(&self) -> &[String] {
        Self::story(self)
    }
}

#[test]
fn every_interleaving_gives_what_the_program_says() {
    seeds::play_all::<World>();
}
