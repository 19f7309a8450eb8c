//! Random programs of actors on a simulated machine: whatever the order of messages, deaths, kills and
//! drops, every call gives what the history of its actor says, callers' orders hold, GPUs are
//! exact, nothing hangs, and nothing is left.
//!
//! Everything follows from a seed, as in simulation.rs: `SKATE_SIM_SEEDS=n`, `SKATE_SIM_SEED=s`.

#![allow(clippy::unwrap_used, reason = "what must be there is there, or the simulation is wrong")]

#[allow(dead_code, reason = "tests of single tables use the rest")]
mod looking;
#[path = "simulation/random.rs"]
mod random;
mod seeds;
mod actors {
    pub(crate) mod acts;
    pub(crate) mod ends;
    pub(crate) mod model;
    pub(crate) mod process;
    pub(crate) mod program;
    pub(crate) mod runtime;
    pub(crate) mod told;
    pub(crate) mod verify;
    pub(crate) mod world;
}

use actors::world::World;

impl seeds::Session for World {
    const TEST: &'static str = "actors";

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
fn every_call_gives_what_the_history_of_its_actor_says() {
    seeds::play_all::<World>();
}
