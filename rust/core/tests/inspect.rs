//! What people see of a node: states, chains of waiting, what has ended.
#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

mod common;
#[allow(dead_code, reason = "the simulations use the rest")]
mod looking;

use common::{DRIVER, ONE, Stage, error, killed, value};
use looking::{all_of, column, look, look_at_all};
use skate_core::event::{Cancel, End, Event, Held, Request, Returns};
use skate_core::id::{ClientId, TaskId};
use skate_core::inspect::{Cell, Filter, Subject, Table};

/// One CPU; `f1` gives one value for one CPU.
fn stage() -> Stage {
    let mut stage = Stage::new(1, 4);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    stage
}

/// Its worker is up, and starts on it.
fn begin(stage: &mut Stage, task: TaskId) -> ClientId {
    let (worker, _) = stage.claim(task);
    stage.step(Event::WorkerStarted(worker));
    worker
}

fn words(stage: &Stage, table: Table, name: &str) -> Vec<String> {
    let cells = column(&look(&stage.node, table), name);
    let word = |cell: Cell| match cell {
        Cell::Word(word) => word.into_owned(),
        Cell::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    };
    cells.into_iter().map(word).collect()
}

fn reasons(stage: &Stage, subject: Subject) -> Vec<String> {
    words(stage, Table::Why(subject), "reason")
}

#[test]
fn a_task_goes_through_rays_states() {
    let mut stage = stage();
    let first = stage.submit(1, &[]);
    let _second = stage.submit(1, &[]);
    let _third = stage.submit(1, &[]);
    let _fourth = stage.submit(1, &[first.item(0)]);
    begin(&mut stage, first);
    let states = words(&stage, Table::Tasks, "state");
    let expected =
        ["RUNNING", "SUBMITTED_TO_WORKER", "PENDING_NODE_ASSIGNMENT", "PENDING_ARGS_AVAIL"];
    assert_eq!(states, expected);
    stage.finish_one(first);
    assert_eq!(words(&stage, Table::Tasks, "state")[3], "FINISHED");
}

#[test]
fn attempts_that_have_ended_come_last_and_the_latest_first() {
    let mut stage = stage();
    let (first, second, third) = (stage.submit(1, &[]), stage.submit(1, &[]), stage.submit(1, &[]));
    stage.finish_one(first);
    stage.finish(
        second,
        End::Raised { error: error(), holds: Box::default(), retry: false, yielded: 0 },
    );
    let rows = look(&stage.node, Table::Tasks);
    let ids = [third, second, first].map(Cell::Task);
    assert_eq!(column(&rows, "task_id"), ids);
    assert_eq!(words(&stage, Table::Tasks, "state")[1..], ["FAILED", "FINISHED"]);
    assert_eq!(words(&stage, Table::Tasks, "error_type")[1], "TASK_EXECUTION_EXCEPTION");
}

#[test]
fn cancelled_and_crashed_tasks_say_so() {
    let mut stage = stage();
    let (first, second) = (stage.submit(1, &[]), stage.submit(1, &[]));
    stage.cancel(second, false);
    let (worker, ticket) = stage.claim(first);
    stage.step(Event::WorkerDied(worker, killed(), vec![ticket]));
    let kinds = words(&stage, Table::Tasks, "error_type");
    assert_eq!(kinds, ["WORKER_DIED", "TASK_CANCELLED"]);
    assert!(words(&stage, Table::Tasks, "error_message")[0].contains("SIGKILL"));
}

#[test]
fn limit_and_filters_choose_and_total_counts_all() {
    let mut stage = stage().unchecked();
    let tasks: Vec<TaskId> = (0..20_000).map(|_| stage.submit(1, &[])).collect();
    let mut query = all_of(Table::Tasks);
    (query.limit, query.columns) = (3, vec!["task_id".into()]);
    let rows = stage.node.inspect(&query, &()).unwrap();
    assert_eq!((rows.total, rows.rows.len()), (20_000, 3));
    let oldest: Vec<Cell> = tasks[..3].iter().map(|id| Cell::Task(*id)).collect();
    assert_eq!(column(&rows, "task_id"), oldest);
    let value = looking::text("PENDING_NODE_ASSIGNMENT");
    query.filters = vec![Filter { column: "state".into(), is_equal: false, value }];
    let rows = stage.node.inspect(&query, &()).unwrap();
    assert_eq!(rows.total, 2, "one for the worker, one ahead");
    query.columns = vec!["state".into()];
    (query.filters, query.is_counted) = (Vec::new(), true);
    let rows = stage.node.inspect(&query, &()).unwrap();
    assert_eq!((rows.total, rows.rows.len()), (20_000, 2), "sent, and queued");
}

#[test]
fn question_for_what_is_not_there_names_what_is() {
    let mut query = all_of(Table::Groups);
    query.columns = vec!["colour".into()];
    let error = stage().node.inspect(&query, &()).unwrap_err();
    assert!(error.contains("\"colour\"") && error.contains("strategy"), "{error}");
}

#[test]
fn chain_goes_through_arguments_to_what_runs() {
    let mut stage = stage();
    let first = stage.submit(1, &[]);
    let second = stage.submit(1, &[first.item(0)]);
    begin(&mut stage, first);
    let chain = reasons(&stage, Subject::Object(second.item(0)));
    assert_eq!(chain, ["NOT_MADE", "ARGUMENT", "NOT_MADE", "RUNS"]);
}

#[test]
fn chain_names_resources_that_are_taken_and_that_will_never_be() {
    let mut stage = stage();
    stage.define(2, Returns::Static(1), &[("x", ONE)]);
    stage.define(3, Returns::Static(1), &[("x", 2 * ONE)]);
    let first = stage.submit(2, &[]);
    begin(&mut stage, first);
    let ahead = stage.submit(2, &[]);
    let waiting = stage.submit(2, &[]);
    let never = stage.submit(3, &[]);
    assert_eq!(reasons(&stage, Subject::Task(ahead)), ["BEHIND", "RUNS"]);
    assert_eq!(reasons(&stage, Subject::Task(waiting)), ["RESOURCES"]);
    assert_eq!(reasons(&stage, Subject::Task(never)), ["INFEASIBLE"]);
}

#[test]
fn chain_follows_a_task_that_sleeps_in_get() {
    let mut stage = stage();
    let outer = stage.submit(1, &[]);
    let worker = begin(&mut stage, outer);
    let inner = stage.submit_by(worker, Some(outer), 1, &[]);
    stage.get(worker, &[inner.item(0)]);
    stage.block(outer);
    let chain = reasons(&stage, Subject::Object(outer.item(0)));
    assert_eq!(chain[..3], ["NOT_MADE", "GET", "NOT_MADE"]);
    begin(&mut stage, inner);
    assert_eq!(reasons(&stage, Subject::Task(outer)).last().unwrap(), "RUNS");
    assert_eq!(words(&stage, Table::Tasks, "sleeps_in")[0], "get");
}

#[test]
fn two_tasks_that_wait_for_each_other_are_a_ring() {
    let mut stage = Stage::new(2, 4);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    let (one, other) = (stage.submit(1, &[]), stage.submit(1, &[]));
    let ((first, _), (second, _)) = (stage.claim(one), stage.claim(other));
    // Each has got the other's ref in a value.
    for (client, object) in [(first, other.item(0)), (second, one.item(0))] {
        stage.say(client, Request::Hold(skate_core::event::Held::Object(object)));
        stage.get(client, &[object]);
    }
    assert_eq!(reasons(&stage, Subject::Task(one)).last().unwrap(), "CYCLE");
}

#[test]
fn forced_cancel_and_every_table_at_every_step() {
    let mut stage = stage();
    let first = stage.submit(1, &[]);
    look_at_all(&stage.node);
    stage.claim(first);
    stage.say(DRIVER, Request::Cancel(first, Cancel { force: true, recursive: true }));
    look_at_all(&stage.node);
    let asked = look(&stage.node, Table::Why(Subject::Client(ClientId::DRIVER)));
    assert_eq!(asked.total, 1);
}

/// The shared cursor, which a dynamic generator has not, was counted from.
#[test]
fn unread_items_of_a_dynamic_generator_are_those_before_its_last_reader() {
    let mut stage = stage();
    stage.define(2, Returns::Dynamic, &[("CPU", ONE)]);
    let task = stage.submit(2, &[]);
    let (worker, ticket) = stage.claim(task);
    let item = |index| Request::Yielded(ticket, index, value(), Box::default(), 0);
    stage.say(worker, item(0));
    stage.say(DRIVER, Request::Hold(Held::Cursor(task, 1)));
    stage.say(DRIVER, Request::Release(Held::Object(task.whole())));
    stage.say(worker, item(1));
    let unread = column(&look(&stage.node, Table::Yields), "num_unread");
    let streams = column(&look(&stage.node, Table::Streams), "num_unread");
    assert_eq!(streams, [Cell::Int(1)]);
    assert!(unread.iter().all(|cell| *cell == Cell::Int(1)), "each was the only one: {unread:?}");
}
