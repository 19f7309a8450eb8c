//! How long a worker may go on when memory is short.

#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

mod common;

use common::{ONE, Stage, killed};
use skate_core::action::Action;
use skate_core::event::{Event, Returns};
use skate_core::id::ClientId;
use skate_core::memory::Shortage;

const PATIENCE_NS: u64 = 500_000_000;

/// A task runs; the worker that has it.
fn stage() -> (Stage, ClientId) {
    let mut stage = Stage::new(1, 4);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    let task = stage.submit(1, &[]);
    let (worker, _) = stage.claim(task);
    stage.step(Event::WorkerStarted(worker));
    (stage, worker)
}

/// Of 1000 parts, so many are in use, and 950 may be.
fn report(stage: &mut Stage, worker: ClientId, used: u64) {
    report_of(stage, &[worker], used);
}

/// Of several workers of one size.
fn report_of(stage: &mut Stage, workers: &[ClientId], used: u64) {
    stage.step(Event::Memory(Some(Box::new(Shortage {
        used,
        limit: 1000,
        threshold: 950,
        of: "the machine".into(),
        standstill: 0,
        workers: workers.iter().map(|worker| (*worker, 7, 900)).collect(),
    }))));
}

fn is_killed(stage: &Stage, worker: ClientId) -> bool {
    stage.actions.iter().any(|action| matches!(action, Action::Kill(other, _) if *other == worker))
}

#[test]
fn worker_has_time_until_what_was_given_may_have_helped() {
    let (mut stage, worker) = stage();
    report(&mut stage, worker, 960);
    stage.step(Event::Tick(PATIENCE_NS - 1));
    report(&mut stage, worker, 974);
    assert!(!is_killed(&stage, worker));
    stage.step(Event::Tick(PATIENCE_NS));
    report(&mut stage, worker, 960);
    assert!(is_killed(&stage, worker));
}

/// A task that took 200 MB a second passed from the threshold to the limit within that time, and the kernel
/// chose whom to kill.
#[test]
fn there_is_no_patience_when_half_of_what_was_to_stay_free_is_used() {
    let (mut stage, worker) = stage();
    report(&mut stage, worker, 975);
    assert!(is_killed(&stage, worker));
}

/// It was replaced at once, and its successor given up at the next report, 50 a second; the task that runs
/// was never stopped.
#[test]
fn idle_worker_that_was_given_up_is_replaced_when_there_is_memory_again() {
    let mut stage = Stage::with_pool(2, 4, 2);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    for worker in stage.spawned.clone() {
        stage.step(Event::WorkerStarted(worker));
    }
    let task = stage.submit(1, &[]);
    let (busy, _) = stage.claim(task);
    let idle = *stage.spawned.iter().find(|worker| **worker != busy).unwrap();
    report_of(&mut stage, &[busy, idle], 975);
    assert!(is_killed(&stage, idle) && !is_killed(&stage, busy));
    stage.step(Event::WorkerDied(idle, killed(), Vec::new()));
    assert_eq!(stage.spawned.len(), 2);
    report(&mut stage, busy, 975);
    assert!(is_killed(&stage, busy));
    stage.step(Event::Memory(None));
    assert_eq!(stage.spawned.len(), 3);
}
