//! Who may run while others sleep, and how many.

use std::collections::VecDeque;

mod common;

use common::{ONE, Stage};
use skate_core::event::{Event, Request, Returns};

/// One task holds the only CPU; what it waits for is in the queue.
fn stage_with_parent(cpus: u64) -> (Stage, skate_core::id::TaskId) {
    let mut stage = Stage::new(cpus, 64);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    let parent = stage.submit(1, &[]);
    stage.claim(parent);
    (stage, parent)
}

#[test]
fn cpu_is_lent_at_once_to_a_child_that_is_queued() {
    let (mut stage, parent) = stage_with_parent(1);
    let (worker, _) = stage.claim(parent);
    let child = stage.submit_by(worker, Some(parent), 1, &[]);
    stage.get(worker, &[child.item(0)]);
    stage.block(parent);
    assert_ne!(stage.run_of(child).unwrap().0, worker, "it runs beside its parent");
}

/// Only what was waited for directly was looked at: each level of such a chain cost 2 ms.
#[test]
fn cpu_is_lent_at_once_to_what_is_queued_behind_arguments() {
    let (mut stage, parent) = stage_with_parent(1);
    let (worker, _) = stage.claim(parent);
    let first = stage.submit_by(worker, Some(parent), 1, &[]);
    let second = stage.submit_by(worker, Some(parent), 1, &[first.item(0)]);
    let third = stage.submit_by(worker, Some(parent), 1, &[second.item(0)]);
    stage.get(worker, &[third.item(0)]);
    stage.block(parent);
    assert_ne!(stage.run_of(first).unwrap().0, worker);
}

/// The same through a task that runs, and sleeps itself.
#[test]
fn cpu_is_lent_at_once_through_one_that_sleeps() {
    let mut stage = Stage::new(2, 64);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    stage.define(2, Returns::Static(1), &[("CPU", 2 * ONE)]);
    let (outer, inner) = (stage.submit(1, &[]), stage.submit(1, &[]));
    let (outer_worker, inner_worker) = (stage.claim(outer).0, stage.claim(inner).0);
    let child = stage.submit_by(inner_worker, Some(inner), 2, &[]);
    stage.get(inner_worker, &[child.item(0)]);
    stage.block(inner);
    assert_eq!(stage.run_of(child), None, "one CPU of two is lent");
    stage.say(outer_worker, Request::Hold(skate_core::event::Held::Object(inner.item(0))));
    stage.get(outer_worker, &[inner.item(0)]);
    stage.block(outer);
    assert!(stage.run_of(child).is_some());
}

#[test]
fn cpu_is_lent_after_two_milliseconds_for_one_that_runs() {
    let mut stage = Stage::new(2, 64);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    let (parent, child) = (stage.submit(1, &[]), stage.submit(1, &[]));
    let (worker, _) = stage.claim(parent);
    let (other, _) = stage.claim(child);
    let queued = stage.submit(1, &[]);
    stage.get(worker, &[child.item(0)]);
    stage.block(parent);
    let place = stage.run_of(queued);
    assert!(place.is_none_or(|(on, _)| on == other), "the CPU is not lent yet");
    stage.step(Event::Tick(1_999_999));
    assert_eq!(stage.run_of(queued), place);
    stage.step(Event::Tick(2_000_000));
    let (on, _) = stage.run_of(queued).unwrap();
    assert!(on != other && on != worker, "it runs in a worker of its own");
}

/// What had been sent ahead behind a long task stayed there although another one's sleep had freed a
/// CPU: only a worker that idled took things back.
#[test]
fn lent_cpu_takes_back_what_waits_behind_another() {
    let mut stage = Stage::new(2, 64);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    let (long, sleeper) = (stage.submit(1, &[]), stage.submit(1, &[]));
    stage.claim(long);
    let (worker, _) = stage.claim(sleeper);
    let ahead = stage.submit_by(worker, None, 1, &[]);
    stage.get(worker, &[ahead.item(0)]);
    stage.block(sleeper);
    let (on, _) = stage.run_of(ahead).unwrap();
    assert!(on != worker && on != stage.run_of(long).unwrap().0, "it runs beside both");
}

/// A worker that went on after its CPU had been lent was sent more and more work, so that one CPU too
/// many stayed in use for as long as there was any.
#[test]
fn worker_that_takes_its_cpu_back_gets_no_more_while_there_are_too_few() {
    let (mut stage, parent) = stage_with_parent(1);
    let (worker, ticket) = stage.claim(parent);
    let child = stage.submit_by(worker, None, 1, &[]);
    stage.get(worker, &[child.item(0)]);
    stage.block(parent);
    let (other, _) = stage.claim(child);
    stage.say(worker, Request::Resumed(ticket));
    let more: Vec<_> = (0..4).map(|_| stage.submit(1, &[])).collect();
    assert!(more.iter().all(|task| stage.run_of(*task).is_none()), "two run on one CPU");
    stage.finish_one(parent);
    assert!(more.iter().all(|task| stage.run_of(*task).is_none_or(|(on, _)| on == other)));
    stage.finish_one(child);
    assert!(stage.run_of(more[0]).is_some());
}

/// A worker stayed on the list of those with room of the class that it had served first, and so never
/// got on that of another: nothing was sent ahead to it any more.
#[test]
fn worker_that_changes_to_another_class_is_sent_work_ahead() {
    let mut stage = Stage::new(1, 64);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    stage.define(2, Returns::Static(1), &[("CPU", ONE), ("x", ONE)]);
    let first = stage.submit(1, &[]);
    stage.finish_one(first);
    let (running, ahead) = (stage.submit(2, &[]), stage.submit(2, &[]));
    assert_eq!(stage.run_of(ahead).map(|(on, _)| on), stage.run_of(running).map(|(on, _)| on));
}

#[test]
fn at_the_cap_a_worker_starts_only_when_all_others_sleep() {
    let mut stage = Stage::new(8, 2);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    let tasks: Vec<_> = (0..3).map(|_| stage.submit(1, &[])).collect();
    assert_eq!(stage.spawned.len(), 2);
    for task in &tasks[..2] {
        let (worker, _) = stage.claim(*task);
        let held = skate_core::event::Held::Object(tasks[2].item(0));
        stage.say(worker, Request::Hold(held));
        stage.get(worker, &[tasks[2].item(0)]);
    }
    stage.block(tasks[0]);
    assert_eq!(stage.spawned.len(), 2, "one still works");
    stage.block(tasks[1]);
    assert_eq!(stage.spawned.len(), 3);
    assert_eq!(stage.run_of(tasks[2]).unwrap().0, stage.spawned[2]);
}

/// The limit was kept for each class of demand by itself.
#[test]
fn tasks_without_cpu_have_one_limit_together() {
    let mut stage = Stage::new(1, 1000);
    stage.define(1, Returns::Static(1), &[]);
    stage.define(2, Returns::Static(1), &[("x", 1)]);
    let tasks: Vec<_> = (0..40).map(|number| stage.submit(1 + number % 2, &[])).collect();
    for task in &tasks {
        if stage.run_of(*task).is_some() {
            stage.claim(*task);
        }
    }
    assert_eq!(stage.spawned.len(), 16);
    // One that sleeps makes room for one more.
    let (worker, _) = stage.claim(tasks[0]);
    let held = skate_core::event::Held::Object(tasks[39].item(0));
    stage.say(worker, Request::Hold(held));
    stage.get(worker, &[tasks[39].item(0)]);
    stage.block(tasks[0]);
    assert_eq!(stage.spawned.len(), 17);
}

/// A worker kept the resources of its class while that had tasks: those of another one, which had been
/// there before, waited for the end of a flow that need not end.
#[test]
fn class_that_has_waited_longer_goes_before_a_steady_flow() {
    let mut stage = Stage::new(1, 64);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    stage.define(2, Returns::Static(1), &[("CPU", ONE), ("x", ONE)]);
    let first = stage.submit(1, &[]);
    let other = stage.submit(2, &[]);
    let mut flow = VecDeque::from([first]);
    for round in 1..20 {
        stage.step(Event::Tick(round * 5_000_000));
        flow.extend((0..4).map(|_| stage.submit(1, &[])));
        if stage.run_of(other).is_some() {
            return assert!(round > 2, "it came later than the first, and takes its turn");
        }
        let task = flow.pop_front().unwrap();
        stage.finish_one(task);
    }
    panic!("a task of the other class never had its turn");
}

/// ... but one that could not run even then holds nobody up.
#[test]
fn class_that_would_not_fit_anyway_is_passed() {
    let mut stage = Stage::new(2, 64);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    stage.define(2, Returns::Static(1), &[("CPU", 2 * ONE)]);
    let long = stage.submit(1, &[]);
    stage.claim(long);
    let short = stage.submit(1, &[]);
    let both = stage.submit(2, &[]);
    stage.step(Event::Tick(50_000_000));
    let more: Vec<_> = (0..8).map(|_| stage.submit(1, &[])).collect();
    stage.finish_one(short);
    assert!(stage.run_of(both).is_none());
    for task in more {
        assert!(stage.run_of(task).is_some(), "the free CPU is used");
        stage.finish_one(task);
    }
}
