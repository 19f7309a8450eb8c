//! When a task starts, and with what.

mod common;

use common::{DRIVER, ONE, Stage, error};
use skate_core::action::Reply;
use skate_core::event::{End, Event, Request, Returns};
use skate_core::id::RequestId;
use skate_core::value::{Failure, Value};

/// A task failed, and with it the dynamic one that took its second return. That one's ref became a
/// generator of one error, which completed the arguments of a third, whose first argument had failed
/// already: it was sent to a worker with an error as a value, and then failed, so that the worker had
/// a task that the node did not know.
#[test]
fn task_with_a_failed_argument_is_not_started_by_its_last_one() {
    let mut stage = Stage::new(2, 8);
    stage.define(1, Returns::Static(2), &[("CPU", ONE)]);
    stage.define(2, Returns::Dynamic, &[("CPU", ONE)]);
    let failing = stage.submit(1, &[]);
    let source = stage.submit(2, &[failing.item(1)]);
    let heir = stage.submit(1, &[failing.item(0), source.whole()]);
    let end = End::Raised { error: error(), holds: Box::default(), retry: false, yielded: 0 };
    stage.finish(failing, end);
    assert_eq!(stage.run_of(heir), None);
    let get = stage.get(DRIVER, &[heir.item(0)]);
    let Some(Reply::Error { value: Value::Inherited(inherited), .. }) = stage.reply_to(get) else {
        panic!("the heir has no inherited error")
    };
    assert!(matches!(inherited.error, Value::Raised(_)));
    assert_eq!(inherited.tasks.len(), 1);
}

/// A dynamic task failed before its first yield: its ref became a generator of one error, which made
/// the arguments of a child complete that was about to be cancelled with it.
#[test]
fn task_that_is_cancelled_with_what_it_waits_for_is_never_sent_out() {
    let mut stage = Stage::new(2, 8);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    stage.define(2, Returns::Dynamic, &[("CPU", 100 * ONE)]);
    let parent = stage.submit(1, &[]);
    let (worker, _) = stage.claim(parent);
    let source = stage.submit_by(worker, Some(parent), 2, &[]);
    let heirs: Vec<_> =
        (0..8).map(|_| stage.submit_by(worker, Some(parent), 1, &[source.whole()])).collect();
    stage.cancel(parent, true);
    assert!(heirs.iter().all(|heir| stage.run_of(*heir).is_none()));
    let get = stage.get(worker, &[heirs[0].item(0)]);
    assert_is_cancelled(stage.reply_to(get));
}

fn assert_is_cancelled(reply: Option<&Reply>) {
    let Some(Reply::Error { value, .. }) = reply else { panic!("{reply:?}") };
    assert!(matches!(value.failure(), Some(Failure::Cancelled { .. })), "{value:?}");
}

/// Several arguments had failed before the call: which error counts depended on a stack's order.
#[test]
fn first_failed_argument_gives_the_error() {
    let mut stage = Stage::new(2, 8);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    let raised = stage.submit(1, &[]);
    let end = End::Raised { error: error(), holds: Box::default(), retry: false, yielded: 0 };
    stage.finish(raised, end);
    let cancelled = stage.submit(1, &[]);
    stage.cancel(cancelled, false);
    let heir = stage.submit(1, &[cancelled.item(0), raised.item(0)]);
    let get = stage.get(DRIVER, &[heir.item(0)]);
    let Some(Reply::Error { value, .. }) = stage.reply_to(get) else { panic!("it has no error") };
    assert!(matches!(value.origin(), Value::Failed(_)), "{value:?}");
}

#[test]
fn task_that_takes_a_dynamic_ref_starts_at_the_first_yield() {
    let mut stage = Stage::new(2, 8);
    stage.define(1, Returns::Dynamic, &[("CPU", ONE)]);
    stage.define(2, Returns::Static(1), &[("CPU", ONE)]);
    let producer = stage.submit(1, &[]);
    let consumer = stage.submit(2, &[producer.whole()]);
    assert_eq!(stage.run_of(consumer), None);
    stage.yields(producer, 0);
    assert!(stage.run_of(consumer).is_some());
}

#[test]
fn task_cancelled_before_it_was_claimed_never_runs_and_ends_as_cancelled() {
    let mut stage = Stage::new(1, 8);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    let sent = stage.submit(1, &[]);
    let queued = stage.submit(1, &[]);
    for task in [queued, sent] {
        stage.cancel(task, false);
        let get = stage.get(DRIVER, &[task.item(0)]);
        assert_is_cancelled(stage.reply_to(get));
    }
    assert_eq!(stage.node.statistics().tasks, 0);
}

/// A worker whose message is read before the runtime has reported its start was taken for one that
/// never came: its death counted as a failed start.
#[test]
fn worker_that_has_spoken_has_started() {
    let mut stage = Stage::new(1, 8);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    let task = stage.submit(1, &[]);
    for _ in 0..3 {
        let (worker, _) = stage.run_of(task).unwrap();
        stage.say(worker, Request::Resources(RequestId(1)));
        stage.step(Event::WorkerDied(worker, common::killed(), vec![]));
    }
    assert!(stage.node.peek(task.item(0)).is_none(), "it goes elsewhere, for free");
}
