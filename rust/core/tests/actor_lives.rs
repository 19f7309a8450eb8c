//! Stories of actors' lives that once ended wrongly.

#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

mod common;

use common::{DRIVER, ONE, Stage, error, killed};
use skate_core::action::{Action, Reply};
use skate_core::event::{AfterKill, End, Event, Held, Order, Request, Returns, Submit, Within};
use skate_core::group::GroupSpec;
use skate_core::id::{ActorId, ObjectId, RequestId, TaskId, TemplateId};
use skate_core::node::Config;
use skate_core::value::{Failure, Payload, Trouble, Value};

const CLASS: u64 = 1;
const METHOD: u64 = 2;
/// Bytes of a store that one value fills.
const STORE: u64 = 6400;
/// Values are not written to disk before.
const GRACE_NS: u64 = 2_000_000;

/// A class without resources and a method that returns one value.
fn stage() -> Stage {
    let mut stage = Stage::new(1, 4);
    stage.define(CLASS, Returns::Static(0), &[]);
    stage.define(METHOD, Returns::Static(1), &[]);
    stage
}

fn create(stage: &mut Stage, max_restarts: i32, waits: &[ObjectId]) -> ActorId {
    let submit = stage.of_actor(CLASS, None, waits);
    stage.create(submit, max_restarts, Order::Submission, &[1])
}

fn call(stage: &mut Stage, actor: ActorId) -> TaskId {
    let submit = stage.of_actor(METHOD, Some(actor), &[]);
    let task = submit.task;
    stage.say(DRIVER, Request::Submit(submit));
    task
}

/// Who made one with the id of a living one took its place.
#[test]
fn an_actor_is_made_once() {
    let mut stage = stage();
    let actor = create(&mut stage, 0, &[]);
    stage.finish(actor.0, End::Returned(Vec::new()));
    let again = Submit { task: actor.0, ..stage.of_actor(CLASS, Some(actor), &[]) };
    stage.create(again, 0, Order::Submission, &[1]);
    assert_eq!(stage.run_of(actor.0).map(|(_, ticket)| ticket.0), Some(0), "one constructor");
    let call = call(&mut stage, actor);
    assert_eq!(stage.run_of(call).unwrap().0, stage.spawned[0]);
}

/// The node kept the constructor in its table for ever when it had raised.
#[test]
fn constructor_that_raised_leaves_the_table() {
    let mut stage = stage();
    let actor = create(&mut stage, 0, &[]);
    let end = End::Raised { error: error(), holds: Box::default(), retry: false, yielded: 0 };
    stage.finish(actor.0, end);
    assert_eq!(stage.node.statistics().tasks, 0);
}

/// Calls went on to a process that was about to be killed, where those without retries were lost.
#[test]
fn calls_after_a_kill_wait_for_the_next_life() {
    let mut stage = stage();
    let actor = create(&mut stage, 1, &[]);
    stage.finish(actor.0, End::Returned(Vec::new()));
    stage.say(DRIVER, Request::Kill(actor, AfterKill::MayRestart));
    let late = call(&mut stage, actor);
    assert_eq!(stage.run_of(late), None);
    let first = stage.spawned[0];
    stage.step(Event::WorkerDied(first, killed(), Vec::new()));
    stage.finish(actor.0, End::Returned(Vec::new()));
    assert_eq!(stage.run_of(late).unwrap().0, stage.spawned[1]);
}

/// Taken back in the order of their submission, a call could begin whose predecessor had just been
/// taken: its process goes on with the next while the node is at it.
#[test]
fn calls_of_a_killed_actor_are_taken_back_from_the_last_on() {
    let mut stage = stage();
    let actor = create(&mut stage, 0, &[]);
    stage.finish(actor.0, End::Returned(Vec::new()));
    let calls: Vec<TaskId> = (0..3).map(|_| call(&mut stage, actor)).collect();
    let gets: Vec<RequestId> =
        calls.iter().map(|call| stage.get(DRIVER, &[call.item(0)])).collect();
    assert!(calls.iter().all(|call| stage.run_of(*call).is_some()));
    stage.say(DRIVER, Request::Kill(actor, AfterKill::Dead));
    let answered: Vec<RequestId> =
        stage.replies.iter().map(|(_, id, _)| *id).filter(|id| gets.contains(id)).collect();
    assert_eq!(answered, gets.into_iter().rev().collect::<Vec<_>>());
}

/// A call whose argument, a generator of the group, ended with the group was sent to an actor that ended
/// with it as well, and taken back in the same step: a process that was quick enough began it.
#[test]
fn nothing_is_sent_to_an_actor_that_ends_with_its_group() {
    let mut stage = stage();
    let ready = TaskId::new(DRIVER, 10_000).item(0);
    let bundles = [[("CPU".into(), ONE)].into()].into();
    let (name, key) = ("".into(), "k1".into());
    let spec = GroupSpec { ready, key, name, strategy: "PACK".into(), bundles };
    stage.say(DRIVER, Request::Reserve(spec.into()));
    for (template, returns) in [(CLASS, Returns::Static(0)), (3, Returns::Dynamic)] {
        stage.say(DRIVER, Request::Undefine(TemplateId(template)));
        stage.define(template, returns, &[("CPU_group_k1", ONE)]);
    }
    let actor = create(&mut stage, 0, &[]);
    stage.finish(actor.0, End::Returned(Vec::new()));
    let queued = stage.submit(3, &[]);
    let submit = stage.of_actor(METHOD, Some(actor), &[queued.whole()]);
    let call = submit.task;
    stage.say(DRIVER, Request::Submit(submit));
    stage.say(DRIVER, Request::RemoveGroup("k1".into()));
    assert_eq!(stage.run_of(call), None);
    let get = stage.get(DRIVER, &[call.item(0)]);
    assert!(matches!(stage.reply_to(get), Some(Reply::Error { .. })));
}

/// The arguments of a constructor stayed in the store as long as the actor lived, although it could
/// not be started again.
#[test]
fn actor_that_is_not_started_again_lets_go_of_its_arguments() {
    let mut stage = stage();
    stage.define(3, Returns::Static(1), &[]);
    let made = stage.submit(3, &[]);
    stage.finish_one(made);
    for (max_restarts, left) in [(0, 0), (1, 1)] {
        let argument = stage.submit(3, &[]);
        stage.finish_one(argument);
        let actor = create(&mut stage, max_restarts, &[argument.item(0)]);
        stage.finish(actor.0, End::Returned(Vec::new()));
        let before = stage.node.statistics().objects;
        stage.release(Held::Object(argument.item(0)));
        assert_eq!(stage.node.statistics().objects, before - 1 + left);
    }
}

/// Each actor waited for a fork, beside workers that had nothing to do.
#[test]
fn actor_takes_an_unused_worker_and_the_pool_gets_another() {
    let mut stage = Stage::with_pool(1, 4, 1);
    stage.define(CLASS, Returns::Static(0), &[]);
    let first = stage.spawned[0];
    let actor = create(&mut stage, 0, &[]);
    assert_eq!(stage.run_of(actor.0).unwrap().0, first);
    assert_eq!(stage.spawned.len(), 2, "the pool has a worker again");
    assert_eq!(stage.node.statistics().workers_idle, 1);
}

/// What a task left in its process is no actor's business.
#[test]
fn actor_never_takes_a_worker_that_has_run_a_task() {
    let mut stage = Stage::with_pool(1, 4, 1);
    stage.define(CLASS, Returns::Static(0), &[]);
    stage.define(METHOD, Returns::Static(1), &[]);
    let task = stage.submit(METHOD, &[]);
    let (used, _) = stage.run_of(task).unwrap();
    stage.finish_one(task);
    let actor = create(&mut stage, 0, &[]);
    assert_ne!(stage.run_of(actor.0).unwrap().0, used);
}

/// Asks for all the room of a store of one value.
fn allocate(stage: &mut Stage) -> RequestId {
    let id = RequestId(stage.count());
    stage.say(DRIVER, Request::Allocate(id, STORE, Within::Memory));
    id
}

/// A value that was written to disk and cannot be read back.
fn lose(stage: &mut Stage, object: ObjectId) -> Failure {
    allocate(stage);
    stage.step(Event::Tick(GRACE_NS));
    let writes = stage.actions.drain(..).find_map(|action| match action {
        Action::Write(number, pieces) => Some((number, vec![0; pieces.len()].into())),
        _ => None,
    });
    let (number, checksums) = writes.unwrap();
    stage.step(Event::Written(number, checksums, None));
    stage.release(Held::Lease(0));
    let id = RequestId(stage.count());
    stage.say(DRIVER, Request::Get(id, [object].into()));
    let trouble = Trouble::Truncated { found: 0, len: STORE };
    stage.step(Event::Read(object, Err(trouble.clone())));
    Failure::Lost { object, trouble }
}

/// What a call has failed with.
fn failure_of(stage: &mut Stage, call: TaskId) -> Failure {
    let id = stage.get(DRIVER, &[call.item(0)]);
    let Some(Reply::Error { value, .. }) = stage.reply_to(id) else { panic!("{call:?} is open") };
    value.failure().unwrap().clone()
}

/// What can only be made once, and is lost, ends the actor: its calls say what is missing, and no process is
/// started that could never be given it.
#[test]
fn actor_cannot_start_again_without_what_its_constructor_got() {
    let mut stage = Stage::of(&Config {
        resources: Vec::new(),
        capacity: STORE,
        spill: Ok(1 << 20),
        oom_retries: -1,
        prestart: 0,
        max_workers: 4,
    });
    stage.define(CLASS, Returns::Static(0), &[]);
    stage.define(METHOD, Returns::Static(1), &[]);
    let lease = allocate(&mut stage);
    let Some(Reply::Lease(span)) = stage.reply_to(lease).cloned() else { panic!("no room") };
    let value = Value::Data(Payload::Block(span));
    let argument = TaskId::new(DRIVER, stage.count()).item(0);
    stage.say(DRIVER, Request::Put(argument, value, Box::default()));
    stage.release(Held::Lease(span.offset));

    let actor = create(&mut stage, -1, &[argument]);
    stage.finish(actor.0, End::Returned(Vec::new()));
    let (begun, sent) = (call(&mut stage, actor), call(&mut stage, actor));
    let (worker, ticket) = stage.claim(begun);
    let lost = lose(&mut stage, argument);
    stage.step(Event::WorkerDied(worker, killed(), vec![ticket]));

    let late = call(&mut stage, actor);
    assert!(matches!(failure_of(&mut stage, begun), Failure::ActorUnavailable { .. }));
    assert_eq!(failure_of(&mut stage, sent), lost);
    assert_eq!(failure_of(&mut stage, late), lost);
    assert_eq!((stage.spawned.len(), stage.node.statistics().tasks), (1, 0));
}
