//! What must cost the same however many there are.
//!
//! Nothing here asserts a time: what is linear takes a second, what is quadratic would take minutes
//! (in a release build, which plays more of it). `cargo test --release -p skate-core --test scale -- --nocapture` prints the figures.

mod common;

use std::sync::Arc;
use std::time::Instant;

use common::{DRIVER, ONE, Stage, value};
use skate_core::action::Reply;
use skate_core::event::{End, Held, Outcome, Request, Returns, Waitable};
use skate_core::group::GroupSpec;
use skate_core::id::{ObjectId, RequestId, TaskId};

const MANY: usize = if cfg!(debug_assertions) { 10_000 } else { 100_000 };

fn stage() -> Stage {
    let mut stage = Stage::new(1, 1).unchecked();
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    stage.define(2, Returns::Streaming, &[("CPU", ONE)]);
    stage.define(3, Returns::Dynamic, &[("CPU", ONE)]);
    stage
}

fn timed<T>(what: &str, count: usize, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = work();
    eprintln!("{what}: {} ns each", began.elapsed().as_nanos() / count as u128);
    result
}

fn refs(tasks: &[TaskId]) -> Vec<ObjectId> {
    tasks.iter().map(|task| task.item(0)).collect()
}

#[test]
fn tasks_in_the_queue_can_be_cancelled_one_by_one() {
    let mut stage = stage();
    let running = stage.submit(1, &[]);
    stage.claim(running);
    let tasks: Vec<TaskId> =
        timed("queue", 10 * MANY, || (0..10 * MANY).map(|_| stage.submit(1, &[])).collect());
    timed("cancel queued", tasks.len(), || {
        // From both ends and the middle.
        let (first, second) = tasks.split_at(tasks.len() / 2);
        for (a, b) in first.iter().zip(second) {
            stage.cancel(*b, false);
            stage.cancel(*a, false);
        }
    });
    assert_eq!(stage.node.statistics().tasks, 1);
    assert!(!stage.node.has_backlog());
}

#[test]
fn children_are_cancelled_with_their_parent() {
    let mut stage = stage();
    let root = stage.submit(1, &[]);
    let (worker, _) = stage.claim(root);
    timed("chain of children", MANY, || {
        let mut parent = root;
        for _ in 0..MANY {
            parent = stage.submit_by(worker, Some(parent), 1, &[]);
        }
    });
    timed("cancel the chain", MANY, || stage.cancel(root, true));
    assert_eq!(stage.node.statistics().tasks, 1, "the root is interrupted");
}

#[test]
fn get_and_wait_of_many_cost_one_look_at_each() {
    let mut stage = stage();
    let tasks: Vec<TaskId> = (0..MANY).map(|_| stage.submit(1, &[])).collect();
    let stream = stage.submit(2, &[]);
    let ids = refs(&tasks);
    let mut on: Vec<Waitable> = ids.iter().map(|id| Waitable::Object(*id)).collect();
    on.insert(0, Waitable::Stream(stream));
    let (get, wait) = timed("get and wait, asked", MANY, || {
        let get = stage.get(DRIVER, &ids);
        (get, stage.wait(DRIVER, &on, MANY as u32))
    });
    timed("get and wait, answered", MANY, || finish_all(&mut stage, tasks[0], MANY));
    assert!(matches!(stage.reply_to(get), Some(Reply::Values { .. })));
    assert!(matches!(stage.reply_to(wait), Some(Reply::Ready(places)) if places.len() == MANY));
}

/// Finishes so many tasks, in the order in which they are sent out.
fn finish_all(stage: &mut Stage, first: TaskId, count: usize) {
    let mut sent = std::mem::take(&mut stage.runs);
    assert_eq!(sent[0].1.task, first);
    for place in 0..count {
        let (worker, run) = sent[place].clone();
        let end = End::Returned(vec![(value(), Box::default())]);
        let outcome = Outcome { end, began_ns: 0, ran_ns: 1_000, unhandled: None };
        stage.say(worker, Request::Finished(run.ticket, outcome));
        sent.append(&mut stage.runs);
    }
}

/// A `get` that times out beside many tasks that wait for the same.
#[test]
fn polling_what_many_wait_for_costs_the_same_each_time() {
    let mut stage = stage();
    let source = stage.submit(1, &[]);
    let heirs: Vec<TaskId> = timed("dependents", MANY, || {
        (0..MANY).map(|_| stage.submit(1, &[source.item(0)])).collect()
    });
    timed("get that times out", MANY, || {
        for _ in 0..MANY {
            let get = stage.get(DRIVER, &[source.item(0)]);
            stage.say(DRIVER, Request::Forget(get));
        }
    });
    timed("cancel of a dependent", MANY - 1, || {
        for heir in &heirs[1..] {
            stage.cancel(*heir, false);
        }
    });
    stage.finish_one(source);
    assert!(stage.run_of(heirs[0]).is_some());
}

#[test]
fn many_readers_of_one_stream_are_served_one_item_each() {
    let mut stage = stage();
    let stream = stage.submit(2, &[]);
    let nexts: Vec<RequestId> = (0..MANY)
        .map(|_| {
            let id = RequestId(stage.count());
            stage.say(DRIVER, Request::Next(id, stream, None));
            id
        })
        .collect();
    let (worker, ticket) = stage.claim(stream);
    timed("item to a waiting reader", MANY, || {
        for index in 0..MANY as u64 {
            stage.say(worker, Request::Yielded(ticket, index, value(), Box::default(), 0));
        }
    });
    let served = stage.replies.iter().map(|(_, id, _)| *id);
    assert!(served.eq(nexts), "first come, first served");
}

#[test]
fn many_cursors_at_the_end_of_a_generator_wait_for_one_item() {
    let mut stage = stage();
    let task = stage.submit(3, &[]);
    let (worker, ticket) = stage.claim(task);
    stage.say(worker, Request::Yielded(ticket, 0, value(), Box::default(), 0));
    timed("reader with its own cursor", MANY, || {
        for _ in 0..MANY {
            stage.say(DRIVER, Request::Hold(Held::Cursor(task, 1)));
            let id = RequestId(stage.count());
            stage.say(DRIVER, Request::Next(id, task, Some(1)));
        }
    });
    timed("item to all", MANY, || {
        stage.say(worker, Request::Yielded(ticket, 1, value(), Box::default(), 0));
    });
    assert_eq!(stage.replies.len(), MANY);
}

/// Each look at what a worker waits for went through all open requests of everybody.
#[test]
fn sleeping_does_not_look_at_the_requests_of_others() {
    let mut stage = stage();
    let parent = stage.submit(1, &[]);
    let (worker, ticket) = stage.claim(parent);
    let queued = stage.submit(1, &[]);
    for _ in 0..MANY {
        stage.get(DRIVER, &[queued.item(0)]);
    }
    timed("sleep and go on", MANY, || {
        for _ in 0..MANY {
            stage.say(worker, Request::Blocked(ticket));
            stage.say(worker, Request::Resumed(ticket));
        }
    });
}

/// Each group has resources of its own, and so a class of tasks that asks for them.
#[test]
fn groups_come_and_go_at_the_same_cost() {
    let mut stage = stage();
    timed("group with a task", MANY, || {
        for counter in 0..MANY {
            let ready = TaskId::new(DRIVER, (10 * MANY + counter) as u64).item(0);
            let key: Arc<str> = format!("{counter:08}").into();
            let bundles = [[("CPU".into(), ONE)].into()].into();
            let spec = GroupSpec {
                ready,
                key: key.clone(),
                name: "".into(),
                strategy: "PACK".into(),
                bundles,
            };
            stage.say(DRIVER, Request::Reserve(spec.into()));
            let asked = format!("CPU_group_{key}");
            stage.define(10 + counter as u64, Returns::Static(1), &[(&*asked, ONE)]);
            let task = stage.submit(10 + counter as u64, &[]);
            stage.finish_one(task);
            stage.release(Held::Object(task.item(0)));
            stage.say(DRIVER, Request::RemoveGroup(key));
            stage.release(Held::Object(ready));
            stage.runs.clear();
        }
    });
    assert_eq!(stage.node.statistics().tasks, 0);
}
