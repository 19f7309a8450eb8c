//! Stories of generators that were closed.

#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

mod common;

use common::{DRIVER, ONE, Stage, killed, value};
use skate_core::action::Reply;
use skate_core::event::{End, Event, Request, Returns};

/// A generator that was closed while it was run again ended before it had come as far as before: that was
/// taken for a replay with fewer items, and `completed()` raised it.
#[test]
fn closed_replay_is_not_inconsistent() {
    let mut stage = Stage::new(1, 4);
    stage.define_retried(1, Returns::Streaming, &[("CPU", ONE)], 1);
    let task = stage.submit(1, &[]);
    let (worker, ticket) = stage.claim(task);
    stage.yields(task, 0);
    stage.yields(task, 1);
    stage.step(Event::WorkerDied(worker, killed(), vec![ticket]));
    stage.claim(task);
    let whole = stage.get(DRIVER, &[task.whole()]);
    stage.say(DRIVER, Request::Close(task));
    stage.finish(task, End::Exhausted(0, value(), Box::default()));
    assert!(matches!(stage.reply_to(whole), Some(Reply::Values { .. })));
}
