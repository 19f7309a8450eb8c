//! Waits that can never end fail, the newest of a ring; waits that can end are left alone.

#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

mod common;

use common::{DRIVER, ONE, Stage, bytes};
use skate_core::action::Reply;
use skate_core::event::{Args, Event, Held, Order, Request, Returns, Submit, Waitable};
use skate_core::id::{ActorId, ClientId, ObjectId, RequestId, TaskId, TemplateId};
use skate_core::value::Failure;

const SECOND_NS: u64 = 1_000_000_000;

fn stage() -> Stage {
    let mut stage = Stage::new(4, 64);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    stage.define(2, Returns::Static(1), &[("CPU", ONE), ("x", ONE)]);
    stage
}

/// A task that runs.
fn begun(stage: &mut Stage, template: u64) -> TaskId {
    let task = stage.submit(template, &[]);
    let (worker, _) = stage.claim(task);
    stage.step(Event::WorkerStarted(worker));
    task
}

/// It sleeps in a `get` without a time-out, and has for a second.
fn gets(stage: &mut Stage, task: TaskId, ids: &[ObjectId]) -> RequestId {
    let (worker, _) = stage.claim(task);
    for id in ids {
        stage.say(worker, Request::Hold(Held::Object(*id)));
    }
    let request = stage.get(worker, ids);
    sleeps(stage, task, request);
    request
}

fn sleeps(stage: &mut Stage, task: TaskId, request: RequestId) {
    stage.block(task);
    let (worker, _) = stage.claim(task);
    stage.say(worker, Request::Waits(request));
}

/// The chain that a call failed with.
fn chain_of(stage: &Stage, request: RequestId) -> Option<String> {
    match stage.reply_to(request)? {
        Reply::Failed(Failure::Deadlock { chain }) => Some(chain.to_string()),
        other => panic!("it is answered {other:?}"),
    }
}

#[test]
fn newest_call_of_a_ring_fails_and_names_it() {
    let mut stage = stage();
    let (one, other) = (begun(&mut stage, 1), begun(&mut stage, 1));
    let first = gets(&mut stage, one, &[other.item(0)]);
    stage.step(Event::Tick(SECOND_NS));
    assert!(stage.replies.is_empty(), "the other one runs");
    let second = gets(&mut stage, other, &[one.item(0)]);
    stage.step(Event::Tick(2 * SECOND_NS));
    let expected = format!(
        "f1 ({other}) waits in get for the result of f1 ({one}), which waits in get for the result \
         of f1 ({other})"
    );
    assert_eq!(chain_of(&stage, second), Some(expected));
    assert_eq!(stage.reply_to(first), None);
}

#[test]
fn call_that_only_leads_into_a_ring_is_not_the_one_that_fails() {
    let mut stage = stage();
    let [one, other, behind] = [1; 3].map(|template| begun(&mut stage, template));
    let calls = [
        gets(&mut stage, one, &[other.item(0)]),
        gets(&mut stage, other, &[one.item(0)]),
        gets(&mut stage, behind, &[one.item(0)]),
    ];
    stage.step(Event::Tick(2 * SECOND_NS));
    assert_eq!(stage.replies.len(), 1);
    assert!(chain_of(&stage, calls[2]).is_none());
}

#[test]
fn call_with_a_way_out_waits_until_that_is_gone() {
    let mut stage = stage();
    let [one, other, third] = [1; 3].map(|template| begun(&mut stage, template));
    gets(&mut stage, one, &[other.item(0), third.item(0)]);
    let call = gets(&mut stage, other, &[one.item(0)]);
    stage.step(Event::Tick(SECOND_NS));
    assert!(stage.replies.is_empty(), "the third could fail, and the first raise that");
    stage.finish_one(third);
    stage.step(Event::Tick(3 * SECOND_NS));
    assert!(chain_of(&stage, call).is_some());
}

#[test]
fn call_with_a_timeout_is_no_part_of_a_ring() {
    let mut stage = stage();
    let (one, other) = (begun(&mut stage, 1), begun(&mut stage, 1));
    gets(&mut stage, one, &[other.item(0)]);
    let (worker, _) = stage.claim(other);
    stage.say(worker, Request::Hold(Held::Object(one.item(0))));
    stage.get(worker, &[one.item(0)]);
    stage.block(other);
    for second in 1..10 {
        stage.step(Event::Tick(second * SECOND_NS));
    }
    assert!(stage.replies.is_empty());
}

#[test]
fn task_that_waits_for_one_that_needs_what_it_holds_is_a_ring() {
    let mut stage = stage();
    let holder = begun(&mut stage, 2);
    let queued = stage.submit(2, &[]);
    let dependent = stage.submit(1, &[queued.item(0)]);
    let (worker, _) = stage.claim(holder);
    stage.say(worker, Request::Hold(Held::Object(dependent.item(0))));
    let id = RequestId(stage.count());
    stage.say(
        worker,
        Request::Wait(
            id,
            [Waitable::Object(dependent.item(0))].into(),
            1,
            skate_core::event::Patience::Until,
        ),
    );
    sleeps(&mut stage, holder, id);
    stage.step(Event::Tick(SECOND_NS));
    let chain = chain_of(&stage, id).unwrap();
    assert!(chain.contains("waits in wait for f1"), "{chain}");
    assert!(chain.contains("waits for an argument, the result of f2"), "{chain}");
    assert!(chain.contains("waits for resources, which are held by f2"), "{chain}");
}

#[test]
fn task_that_waits_for_what_the_machine_has_not_got_is_only_warned_of() {
    let mut stage = stage();
    stage.define(3, Returns::Static(1), &[("gone", ONE)]);
    let one = begun(&mut stage, 1);
    let never = stage.submit(3, &[]);
    gets(&mut stage, one, &[never.item(0)]);
    stage.step(Event::Tick(SECOND_NS));
    assert!(stage.replies.is_empty());
}

fn call(stage: &mut Stage, client: ClientId, actor: ActorId) -> TaskId {
    let task = TaskId::new_call(client, stage.count());
    let submit = Submit {
        task,
        template: TemplateId(4),
        parent: None,
        name: None,
        args: Args::Inline(bytes()),
        waits: Box::default(),
        holds: Box::default(),
        actor: Some(actor),
    };
    stage.say(client, Request::Submit(submit));
    task
}

fn actor(stage: &mut Stage, lanes: &[u32], order: Order) -> ActorId {
    stage.define(3, Returns::Static(0), &[]);
    stage.define(4, Returns::Static(1), &[]);
    let constructor = stage.of_actor(3, None, &[]);
    let task = constructor.task;
    let actor = stage.create(constructor, 0, order, lanes);
    let (worker, _) = stage.claim(task);
    stage.step(Event::WorkerStarted(worker));
    stage.finish(task, skate_core::event::End::Returned(Vec::new()));
    actor
}

#[test]
fn actor_that_waits_for_a_call_of_its_own_is_a_ring() {
    let mut stage = stage();
    let actor = actor(&mut stage, &[1], Order::Submission);
    let outer = call(&mut stage, DRIVER, actor);
    let (worker, _) = stage.claim(outer);
    let inner = call(&mut stage, worker, actor);
    let request = stage.get(worker, &[inner.item(0)]);
    sleeps(&mut stage, outer, request);
    stage.step(Event::Tick(SECOND_NS));
    let chain = chain_of(&stage, request).unwrap();
    assert!(chain.contains("is a call of an actor, which is busy with f4"), "{chain}");
}

#[test]
fn actor_with_room_for_its_own_call_is_none() {
    let mut stage = stage();
    let actor = actor(&mut stage, &[2], Order::Readiness);
    let outer = call(&mut stage, DRIVER, actor);
    let (worker, _) = stage.claim(outer);
    let inner = call(&mut stage, worker, actor);
    let request = stage.get(worker, &[inner.item(0)]);
    sleeps(&mut stage, outer, request);
    stage.step(Event::Tick(SECOND_NS));
    assert_eq!(stage.reply_to(request), None);
}
