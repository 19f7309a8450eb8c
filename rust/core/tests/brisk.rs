//! Short tasks stay together, and none stays behind one that has turned out long.
#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

mod common;

use std::collections::BTreeSet;

use common::{ONE, Stage, killed};
use skate_core::event::{Event, Returns};
use skate_core::id::{ClientId, TaskId};

const SHORT: u64 = 1;
const LONG: u64 = 2;
const MS: u64 = 1_000_000;

/// Two workers that idle, and a function whose task has run for 1 µs.
fn two_workers() -> Stage {
    let mut stage = Stage::with_pool(2, 2, 2);
    for worker in stage.spawned.clone() {
        stage.step(Event::WorkerStarted(worker));
    }
    for number in [SHORT, LONG] {
        stage.define(number, Returns::Static(1), &[("CPU", ONE)]);
    }
    let first = stage.submit(SHORT, &[]);
    stage.finish_one(first);
    stage.step(Event::Tick(MS));
    stage
}

fn submit(stage: &mut Stage, count: usize) -> Vec<TaskId> {
    (0..count).map(|_| stage.submit(SHORT, &[])).collect()
}

fn workers_of(stage: &Stage, tasks: &[TaskId]) -> BTreeSet<ClientId> {
    tasks.iter().map(|task| stage.run_of(*task).unwrap().0).collect()
}

#[test]
fn short_tasks_wait_behind_each_other_and_not_for_a_worker_to_wake() {
    let mut stage = two_workers();
    let tasks = submit(&mut stage, 30);
    assert_eq!(workers_of(&stage, &tasks).len(), 1);
    // What that has is as long now as waking the other one takes.
    let next = submit(&mut stage, 1);
    assert_ne!(workers_of(&stage, &next), workers_of(&stage, &tasks));
}

#[test]
fn a_task_behind_one_of_unknown_length_starts_at_once() {
    let mut stage = two_workers();
    let long = stage.submit(LONG, &[]);
    let short = stage.submit(SHORT, &[]);
    assert_eq!(workers_of(&stage, &[long, short]).len(), 2);
}

#[test]
fn what_is_behind_a_task_that_turns_out_long_moves_over() {
    let mut stage = two_workers();
    let tasks = submit(&mut stage, 3);
    let (worker, _) = stage.claim(tasks[0]);
    let due = stage.node.deadline().unwrap();
    assert!(stage.node.is_watching());
    assert_eq!(due, 2 * MS);
    stage.step(Event::Tick(due - 1));
    assert_eq!(workers_of(&stage, &tasks).len(), 1, "it is not due yet");
    stage.step(Event::Tick(due));
    // One may be behind it still, as long as no worker idles.
    let (moved, left): (Vec<TaskId>, Vec<TaskId>) =
        tasks[1..].iter().partition(|task| stage.run_of(**task).unwrap().0 != worker);
    assert!(!moved.is_empty());
    for task in moved {
        stage.finish_one(task);
    }
    assert!(!workers_of(&stage, &left).contains(&worker));
    // It is known to be long now.
    let next = submit(&mut stage, 1);
    assert!(!workers_of(&stage, &next).contains(&worker));
}

#[test]
fn what_goes_on_quickly_is_looked_at_again_and_left_alone() {
    let mut stage = two_workers();
    let mut tasks = submit(&mut stage, 20);
    let worker = workers_of(&stage, &tasks);
    for round in 1..20 {
        let now = MS + round * MS / 2;
        stage.step(Event::Tick(now));
        let done = tasks.remove(0);
        stage.finish_at(done, now);
        assert!(stage.node.is_watching());
        assert_eq!(workers_of(&stage, &tasks), worker, "round {round}");
    }
}

#[test]
fn a_worker_that_lies_about_the_time_keeps_nothing_behind_its_task() {
    let mut stage = two_workers();
    let tasks = submit(&mut stage, 5);
    let (worker, _) = stage.claim(tasks[1]);
    stage.finish_at(tasks[0], u64::MAX - 10_000);
    stage.step(Event::Tick(60 * MS));
    assert_ne!(workers_of(&stage, &tasks[2..]), BTreeSet::from([worker]));
}

#[test]
fn a_worker_that_idles_takes_half_of_what_is_long() {
    let mut stage = two_workers();
    let tasks = submit(&mut stage, 100);
    let busy = stage.run_of(tasks[0]).unwrap().0;
    let (of_busy, of_other): (Vec<TaskId>, Vec<TaskId>) =
        tasks.iter().partition(|task| stage.run_of(**task).unwrap().0 == busy);
    assert_eq!((of_busy.len(), of_other.len()), (30, 70));
    for task in of_busy {
        stage.finish_one(task);
    }
    let moved = of_other.iter().filter(|task| stage.run_of(**task).unwrap().0 == busy);
    assert_eq!(moved.count(), 35);
}

#[test]
fn a_worker_that_idles_leaves_what_is_short_and_watches_it() {
    let mut stage = two_workers();
    let tasks = submit(&mut stage, 31);
    let busy = stage.run_of(tasks[0]).unwrap().0;
    stage.finish_one(tasks[0]);
    stage.finish_one(tasks[30]);
    assert_eq!(workers_of(&stage, &tasks[1..30]), BTreeSet::from([busy]));
    assert!(stage.node.is_watching());
    let due = stage.node.deadline().unwrap();
    stage.step(Event::Tick(due));
    assert_ne!(workers_of(&stage, &tasks[2..30]), BTreeSet::from([busy]), "it was not short");
}

#[test]
fn the_death_of_a_worker_ends_its_watch() {
    let mut stage = two_workers();
    let tasks = submit(&mut stage, 5);
    let (worker, ticket) = stage.claim(tasks[0]);
    stage.step(Event::WorkerDied(worker, killed(), vec![ticket]));
    assert!(stage.node.is_watching(), "of the other one, which has four now");
    assert!(!workers_of(&stage, &tasks[1..]).contains(&worker));
    for task in &tasks[1..] {
        stage.finish_one(*task);
    }
    stage.step(Event::Tick(10 * MS));
    assert!(!stage.node.is_watching());
}
