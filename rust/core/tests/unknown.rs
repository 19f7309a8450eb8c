//! What is not there: who asks for it hears so, and nobody is killed for it.
//!
//! A ref may be in bytes that skate has never seen, so code of a user can name what is gone, and code
//! that outlives its task can speak for it. For both the worker was taken for one that talks nonsense.

#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

mod common;

use common::{DRIVER, ONE, Stage, bytes, killed, value};
use skate_core::action::{Action, Reply};
use skate_core::event::{Args, Event, Held, Patience, Request, Returns, Submit, Waitable};
use skate_core::id::{ActorId, ClientId, ObjectId, RequestId, TaskId, TemplateId};
use skate_core::value::{Failure, Value};

/// Nobody has made it.
const GONE: TaskId = TaskId::new(DRIVER, 1_000);

/// A worker that runs a task, which is the driver's.
fn stage_with_worker() -> (Stage, ClientId, TaskId) {
    let mut stage = Stage::new(2, 8);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    stage.define(2, Returns::Streaming, &[("CPU", ONE)]);
    let task = stage.submit(1, &[]);
    let (worker, _) = stage.claim(task);
    stage.step(Event::WorkerStarted(worker));
    (stage, worker, task)
}

fn is_killed(stage: &Stage, worker: ClientId) -> bool {
    stage.actions.iter().any(|action| matches!(action, Action::Kill(who, _) if *who == worker))
}

fn is_unknown(stage: &Stage, request: RequestId) -> bool {
    matches!(stage.reply_to(request), Some(Reply::Failed(Failure::Unknown)))
}

/// Whether a request for that object was answered by the error of one that is unknown.
fn is_error_of_unknown(stage: &Stage, request: RequestId) -> bool {
    let Some(Reply::Error { value, .. }) = stage.reply_to(request) else { return false };
    matches!(value.origin(), Value::Failed(failure) if **failure == Failure::Unknown)
}

fn submission(task: TaskId, template: u64, waits: &[ObjectId], holds: &[Held]) -> Submit {
    Submit {
        task,
        template: TemplateId(template),
        actor: None,
        parent: None,
        name: None,
        args: Args::Inline(bytes()),
        waits: waits.into(),
        holds: holds.into(),
    }
}

#[test]
fn handle_on_what_is_gone_is_none_and_its_drop_neither() {
    let (mut stage, worker, _) = stage_with_worker();
    for held in [
        Held::Object(GONE.item(0)),
        Held::Stream(GONE),
        Held::Cursor(GONE, 0),
        Held::Actor(ActorId(GONE)),
    ] {
        stage.say(worker, Request::Hold(held));
        stage.say(worker, Request::Keep(held));
        stage.say(worker, Request::Release(held));
    }
    assert!(!is_killed(&stage, worker));
}

#[test]
fn questions_about_what_is_gone_are_answered() {
    let (mut stage, worker, _) = stage_with_worker();
    let get = stage.get(worker, &[GONE.item(0)]);
    let wait = stage.wait(worker, &[Waitable::Object(GONE.item(0))], 1);
    assert!(is_unknown(&stage, get) && is_unknown(&stage, wait));
    for (request, at) in [(RequestId(901), None), (RequestId(902), Some(0))] {
        stage.say(worker, Request::Next(request, GONE, at));
        assert!(is_unknown(&stage, request));
    }
    stage.say(worker, Request::Close(GONE));
    assert!(!is_killed(&stage, worker));
}

#[test]
fn stream_of_others_is_unknown_to_who_does_not_hold_it() {
    let (mut stage, worker, _) = stage_with_worker();
    let stream = stage.submit(2, &[]);
    let (next, wait) = (RequestId(901), RequestId(902));
    stage.say(worker, Request::Next(next, stream, None));
    let on = [Waitable::Stream(stream)].into();
    stage.say(worker, Request::Wait(wait, on, 1, Patience::Until));
    stage.say(worker, Request::Close(stream));
    assert!(is_unknown(&stage, next) && is_unknown(&stage, wait));
    assert!(!is_killed(&stage, worker));
    assert!(stage.run_of(stream).is_some(), "it is not closed either");
}

#[test]
fn task_with_an_argument_that_is_gone_fails_and_does_not_run() {
    let (mut stage, worker, _) = stage_with_worker();
    let task = TaskId::new(worker, 7);
    let waits = [GONE.item(0), GONE.item(1)];
    stage.say(worker, Request::Submit(submission(task, 1, &waits, &[Held::Object(GONE.item(2))])));
    assert!(!is_killed(&stage, worker));
    assert_eq!(stage.run_of(task), None);
    let get = stage.get(worker, &[task.item(0)]);
    assert!(is_error_of_unknown(&stage, get));
}

#[test]
fn call_of_an_actor_that_is_gone_fails() {
    let (mut stage, worker, _) = stage_with_worker();
    let task = TaskId::new_call(worker, 7);
    let actor = Some(ActorId(GONE));
    stage.say(worker, Request::Submit(Submit { actor, ..submission(task, 1, &[], &[]) }));
    assert!(!is_killed(&stage, worker));
    let get = stage.get(worker, &[task.item(0)]);
    assert!(is_error_of_unknown(&stage, get));
}

#[test]
fn task_runs_with_a_value_in_which_something_is_gone() {
    let (mut stage, worker, _) = stage_with_worker();
    let task = TaskId::new(worker, 7);
    let gone: &[Held] = &[Held::Object(GONE.item(0))];
    stage.say(worker, Request::Submit(submission(task, 1, &[], gone)));
    assert!(stage.run_of(task).is_some());
    let put = TaskId::new(worker, 8).item(0);
    stage.say(worker, Request::Put(put, value(), gone.into()));
    let get = stage.get(worker, &[put]);
    assert!(matches!(stage.reply_to(get), Some(Reply::Values { .. })));
    assert!(!is_killed(&stage, worker));
}

#[test]
fn what_is_kept_outlives_the_worker_that_made_it() {
    let (mut stage, worker, _) = stage_with_worker();
    let put = TaskId::new(worker, 8).item(0);
    stage.say(worker, Request::Put(put, value(), Box::default()));
    stage.say(worker, Request::Keep(Held::Object(put)));
    stage.step(Event::WorkerDied(worker, killed(), Vec::new()));
    let get = stage.get(DRIVER, &[put]);
    assert!(matches!(stage.reply_to(get), Some(Reply::Values { .. })));
}

#[test]
fn sleep_of_code_that_outlives_its_task_is_nobodys() {
    let (mut stage, worker, task) = stage_with_worker();
    let (_, ticket) = stage.claim(task);
    stage.finish_one(task);
    stage.say(worker, Request::Blocked(ticket));
    stage.say(worker, Request::Resumed(ticket));
    assert!(!is_killed(&stage, worker));
}
