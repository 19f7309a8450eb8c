//! Functions that come and go: what is left of them, and that nothing goes too early.

#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

mod common;

use std::sync::Arc;

use common::{DRIVER, ONE, Stage, bytes, killed};
use skate_core::action::{Action, Reply};
use skate_core::event::{End, Event, Held, OnDrop, Order, Request, Returns, Template};
use skate_core::group::GroupSpec;
use skate_core::id::{ActorId, ClientId, FunctionId, TaskId, TemplateId};
use skate_core::value::{Failure, Value};

fn undefine(stage: &mut Stage, number: u64) {
    stage.say(DRIVER, Request::Undefine(TemplateId(number)));
}

/// Those that the runtime was told of, oldest first.
fn undefined(stage: &Stage) -> Vec<u64> {
    let found = stage.actions.iter().filter_map(|action| match action {
        Action::Undefine(id) => Some(id.0),
        _ => None,
    });
    found.collect()
}

fn templates(stage: &Stage) -> u64 {
    stage.node.statistics().templates
}

/// Each function that a program made stayed for the rest of the session, and so did what it asked for.
#[test]
fn functions_without_end_leave_nothing() {
    let mut stage = Stage::new(1, 4);
    for number in 1..=1_000 {
        stage.define(number, Returns::Static(1), &[("CPU", ONE), ("x", number)]);
        let task = stage.submit(number, &[]);
        stage.finish_one(task);
        stage.release(Held::Object(task.item(0)));
        undefine(&mut stage, number);
        assert_eq!(templates(&stage), 0);
    }
    assert_eq!(undefined(&stage), (1..=1_000).collect::<Vec<_>>());
}

#[test]
fn a_template_stays_while_its_task_does() {
    let mut stage = Stage::new(1, 4);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    let tasks = [stage.submit(1, &[]), stage.submit(1, &[])];
    undefine(&mut stage, 1);
    stage.finish_one(tasks[0]);
    assert_eq!((templates(&stage), undefined(&stage)), (1, vec![]));
    stage.finish_one(tasks[1]);
    assert_eq!((templates(&stage), undefined(&stage)), (0, vec![1]));
}

/// Its worker dies, and it is run again.
#[test]
fn a_template_stays_while_its_task_may_be_run_again() {
    let mut stage = Stage::new(1, 4);
    stage.define_retried(1, Returns::Static(1), &[("CPU", ONE)], 1);
    let task = stage.submit(1, &[]);
    undefine(&mut stage, 1);
    let (worker, ticket) = stage.claim(task);
    stage.step(Event::WorkerDied(worker, killed(), vec![ticket]));
    assert_eq!(stage.runs.len(), 2, "it was sent again");
    assert_eq!(undefined(&stage), vec![]);
    stage.finish_one(task);
    assert_eq!(undefined(&stage), vec![1]);
}

/// A restart needs the class, whose constructor has ended.
#[test]
fn the_template_of_a_class_stays_while_an_actor_does() {
    let mut stage = Stage::new(1, 4);
    stage.define(1, Returns::Static(0), &[]);
    let constructor = stage.of_actor(1, None, &[]);
    let task = constructor.task;
    stage.create(constructor, 1, Order::Submission, &[1]);
    undefine(&mut stage, 1);
    stage.finish(task, End::Returned(Vec::new()));
    let worker = stage.spawned[0];
    stage.step(Event::WorkerDied(worker, killed(), Vec::new()));
    stage.finish(task, End::Returned(Vec::new()));
    assert_eq!(undefined(&stage), vec![]);
    stage.release(Held::Actor(ActorId(task)));
    let worker = stage.run_of(task).unwrap().0;
    stage.step(Event::WorkerDied(worker, killed(), Vec::new()));
    assert_eq!(undefined(&stage), vec![1]);
}

fn template(function: u128) -> Arc<Template> {
    Arc::new(Template {
        name: "f".into(),
        function: FunctionId(function),
        resources: [("CPU".into(), ONE)].into(),
        returns: Returns::Static(1),
        max_retries: 0,
        window: None,
        window_bytes: None,
        on_drop: OnDrop::RunOn,
        lane: 0,
        body: bytes(),
    })
}

/// A worker that has begun a task of the driver.
fn with_worker(stage: &mut Stage) -> ClientId {
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    let task = stage.submit(1, &[]);
    stage.claim(task).0
}

#[test]
fn what_a_worker_defined_goes_with_it() {
    let mut stage = Stage::new(1, 4);
    let worker = with_worker(&mut stage);
    for count in 1..=3 {
        let id = TemplateId(TaskId::new(worker, count).0);
        stage.say(worker, Request::Define(id, template(u128::from(count)), None));
    }
    let id = TaskId::new(worker, 2).0;
    let used = stage.submit_by(worker, None, id, &[]);
    assert_eq!(templates(&stage), 4);
    stage.step(Event::WorkerDied(worker, killed(), Vec::new()));
    assert_eq!(templates(&stage), 2, "the driver's, and that of the task which it left");
    let (other, ticket) = stage.run_of(used).unwrap();
    stage.step(Event::WorkerDied(other, killed(), vec![ticket]));
    assert_eq!(templates(&stage), 1);
}

/// Each of these ends the worker that says it, and nothing else.
#[test]
fn nobody_takes_back_what_is_not_his() {
    let own = |worker, count| TemplateId(TaskId::new(worker, count).0);
    let lies: [fn(ClientId, TemplateId) -> Vec<Request>; 5] = [
        |_, _| vec![Request::Undefine(TemplateId(1))],
        |_, id| vec![Request::Undefine(id)],
        |_, id| {
            let define = Request::Define(id, template(1), None);
            vec![define, Request::Undefine(id), Request::Undefine(id)]
        },
        |_, id| {
            let define = Request::Define(id, template(1), None);
            vec![define.clone(), define]
        },
        |_, _| vec![Request::Define(TemplateId(9), template(1), None)],
    ];
    for lie in lies {
        let mut stage = Stage::new(1, 4);
        let worker = with_worker(&mut stage);
        for request in lie(worker, own(worker, 1)) {
            stage.say(worker, request);
        }
        let is_killed = |action: &Action| matches!(action, Action::Kill(id, _) if *id == worker);
        assert!(stage.actions.iter().any(is_killed));
        stage.step(Event::WorkerDied(worker, killed(), Vec::new()));
        assert_eq!(templates(&stage), 1, "that of the driver");
    }
}

/// A task with a template that its client has taken back.
#[test]
fn what_was_taken_back_makes_no_task() {
    let mut stage = Stage::new(1, 4);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    let before = stage.submit(1, &[]);
    undefine(&mut stage, 1);
    stage.submit(1, &[]);
    assert_eq!(stage.node.statistics().tasks, 1);
    stage.finish_one(before);
}

fn group(stage: &mut Stage, key: &str) -> TaskId {
    let task = TaskId::new(DRIVER, stage.count());
    let bundles = [[("CPU".into(), ONE)].into()].into();
    let (name, strategy) = ("".into(), "PACK".into());
    let spec = GroupSpec { ready: task.item(0), key: key.into(), name, strategy, bundles };
    stage.say(DRIVER, Request::Reserve(spec.into()));
    task
}

/// What asked for a group for the first time when it was removed waited for ever.
#[test]
fn a_removed_group_is_known_for_ever() {
    let mut stage = Stage::new(1, 4);
    for number in 1..=1_500 {
        let key = format!("{number:08}");
        let task = group(&mut stage, &key);
        stage.say(DRIVER, Request::RemoveGroup(key.as_str().into()));
        stage.release(Held::Object(task.item(0)));
    }
    for (number, key) in [(1, "00000001"), (2, "00001500")] {
        let (of_group, pass) = (format!("CPU_group_{key}"), format!("bundle_group_0_{key}"));
        stage.define(number, Returns::Static(1), &[(&of_group, ONE), (&pass, 1)]);
        let task = stage.submit(number, &[]);
        let get = stage.get(DRIVER, &[task.item(0)]);
        let Some(Reply::Error { value: error, .. }) = stage.reply_to(get) else {
            panic!("no error")
        };
        let Value::Failed(failure) = error else { panic!("{error:?}") };
        assert!(matches!(**failure, Failure::GroupRemoved { .. }), "{failure:?}");
    }
}
