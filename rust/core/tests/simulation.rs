//! Random programs on a simulated machine: whatever the order of messages, deaths and time-outs,
//! every `get` and `next` gives what the program says, callers' orders hold, resources are exact,
//! nothing hangs, and nothing is left.
//!
//! A program is a driver, tasks and actors with all their options: static, dynamic and streaming
//! generators with windows, groups, names, retries and restarts, waits, cancels, kills, drops, closes and
//! time-outs, through a store that is small, a disk that fails and memory that runs short.
//!
//! Everything follows from a seed. `SKATE_SIM_SEEDS=n` plays n seeds from 1 (or `SKATE_SIM_FIRST`) on, on
//! all cores; with `SKATE_SIM_GOES_ON=1` all of them, whatever fails. `SKATE_SIM_SEED=s` plays that one.
//! A failure prints the command that repeats it, and its story.

#![allow(clippy::unwrap_used, reason = "what must be there is there, or the simulation is wrong")]

#[allow(dead_code, reason = "tests of single tables use the rest")]
mod looking;
mod simulation {
    pub(crate) mod acts;
    pub(crate) mod body;
    pub(crate) mod client;
    pub(crate) mod content;
    pub(crate) mod ends;
    pub(crate) mod finish;
    pub(crate) mod io;
    pub(crate) mod machine;
    pub(crate) mod model;
    pub(crate) mod program;
    pub(crate) mod random;
    pub(crate) mod reading;
    pub(crate) mod runtime;
    pub(crate) mod seeds;
    pub(crate) mod shared;
    pub(crate) mod stuck;
    pub(crate) mod task;
    pub(crate) mod verify;
    pub(crate) mod world;
}

#[test]
fn every_interleaving_gives_what_the_program_says() {
    simulation::seeds::play_all();
}
