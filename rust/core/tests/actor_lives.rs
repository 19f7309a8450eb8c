//! Stories of actors' lives that once ended wrongly.

#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

mod common;

use common::{DRIVER, Stage, bytes, error, killed};
use skate_core::event::{
    AfterKill, Args, Creation, End, Event, Held, Order, Request, Returns, Submit,
};
use skate_core::id::{ActorId, ObjectId, TaskId, TemplateId};

const CLASS: u64 = 1;
const METHOD: u64 = 2;

/// A class without resources and a method that returns one value.
fn stage() -> Stage {
    let mut stage = Stage::new(1, 4);
    stage.define(CLASS, Returns::Static(0), &[]);
    stage.define(METHOD, Returns::Static(1), &[]);
    stage
}

fn submit(stage: &mut Stage, template: u64, actor: Option<ActorId>, waits: &[ObjectId]) -> Submit {
    let task = TaskId::new(DRIVER, stage.count());
    Submit {
        task,
        template: TemplateId(template),
        parent: None,
        name: None,
        args: Args::Inline(bytes()),
        waits: waits.into(),
        holds: Box::default(),
        actor: Some(actor.unwrap_or(ActorId(task))),
    }
}

fn create(stage: &mut Stage, max_restarts: i32, waits: &[ObjectId]) -> ActorId {
    let submit = submit(stage, CLASS, None, waits);
    let actor = ActorId(submit.task);
    stage.say(
        DRIVER,
        Request::Create(Box::new(Creation {
            submit,
            name: None,
            placing: Box::default(),
            max_restarts,
            is_detached: false,
            order: Order::Submission,
            lanes: [1].into(),
            body: bytes(),
        })),
    );
    actor
}

fn call(stage: &mut Stage, actor: ActorId) -> TaskId {
    let submit = submit(stage, METHOD, Some(actor), &[]);
    let task = submit.task;
    stage.say(DRIVER, Request::Submit(submit));
    task
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
