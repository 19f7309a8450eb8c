//! Processes that end before they begin anything are not replaced for ever.
#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

mod common;

use common::{DRIVER, ONE, Stage, killed};
use skate_core::action::Reply;
use skate_core::event::{Event, Returns};
use skate_core::id::{ClientId, Ticket};
use skate_core::value::Failure;

/// A pool of one, and a function.
fn one_worker() -> Stage {
    let mut stage = Stage::with_pool(1, 1, 1);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    stage
}

/// The process that was asked for last is there, and ends.
fn start_and_die(stage: &mut Stage, started: Vec<Ticket>) -> ClientId {
    let worker = *stage.spawned.last().unwrap();
    stage.step(Event::WorkerStarted(worker));
    stage.step(Event::WorkerDied(worker, killed(), started));
    worker
}

#[test]
fn the_pool_is_refilled_a_few_times() {
    let mut stage = one_worker();
    for _ in 0..3 {
        start_and_die(&mut stage, Vec::new());
    }
    assert_eq!(stage.spawned.len(), 3, "the first and two more");
}

#[test]
fn a_task_that_no_process_begins_is_told() {
    let mut stage = one_worker();
    let task = stage.submit(1, &[]);
    let get = stage.get(DRIVER, &[task.item(0)]);
    for _ in 0..3 {
        assert!(stage.reply_to(get).is_none());
        start_and_die(&mut stage, Vec::new());
    }
    let Some(Reply::Error { value, .. }) = stage.reply_to(get) else { panic!("no answer") };
    assert!(matches!(value.failure(), Some(Failure::WorkerStart { .. })), "{value:?}");
    let spawned = stage.spawned.len();
    assert!(spawned <= 4, "{spawned} processes");
}

#[test]
fn what_ends_after_it_has_run_something_is_replaced_each_time() {
    let mut stage = one_worker();
    for round in 1..20 {
        let task = stage.submit(1, &[]);
        let worker = *stage.spawned.last().unwrap();
        stage.step(Event::WorkerStarted(worker));
        stage.finish_one(task);
        stage.step(Event::WorkerDied(worker, killed(), Vec::new()));
        assert_eq!(stage.spawned.len(), 1 + round);
    }
}

#[test]
fn a_process_that_dies_of_its_task_has_begun_something() {
    let mut stage = one_worker();
    for round in 1..20 {
        let task = stage.submit(1, &[]);
        let (_, ticket) = stage.claim(task);
        start_and_die(&mut stage, vec![ticket]);
        assert_eq!(stage.spawned.len(), 1 + round);
    }
}
