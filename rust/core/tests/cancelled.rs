//! A task that is cancelled is not sent to a worker.

#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

mod common;

use common::{ONE, Stage, killed};
use skate_core::event::{Event, Returns};

/// When a generator and its child are cancelled in the queue, the end of the one makes a task ready that
/// waits for it. That task's turn was the child's, which stood before it: it was sent, and taken back
/// in the same step. A process that was quick enough began it.
#[test]
fn nothing_of_what_is_cancelled_together_is_sent() {
    let mut stage = Stage::with_pool(2, 1, 2);
    stage.define_retried(1, Returns::Dynamic, &[("CPU", ONE)], -1);
    let parent = stage.submit(1, &[]);
    let (worker, ticket) = stage.claim(parent);
    let other = stage.submit(1, &[]);
    stage.claim(other);
    // One is sent ahead to each worker; that of the parent's comes back.
    let children = [(); 2].map(|()| stage.submit_by(worker, Some(parent), 1, &[]));
    let dependent = stage.submit(1, &[parent.whole()]);
    stage.step(Event::WorkerDied(worker, killed(), vec![ticket]));
    let before = stage.runs.len();
    stage.cancel(parent, true);
    let sent: Vec<_> = stage.runs[before..].iter().map(|(_, run)| run.task).collect();
    assert_eq!(sent, [dependent], "and none of {children:?}");
}
