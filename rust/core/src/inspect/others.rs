//! Processes, placement groups, streams, and what was yielded lately.

use std::borrow::Cow;
use std::sync::Arc;

use super::tasks::sleeps_in;
use super::{Cell, Query, Rows, View, select};
use crate::event::Span;
use crate::group::{Group, GroupState};
use crate::history::Yield;
use crate::id::{ClientId, TaskId};
use crate::ledger::Ledger;
use crate::stream::Stream;
use crate::task::Phase;
use crate::worker::{Life, Worker};

/// Items of a stream that some reader has still to pass; None if nobody can read.
pub(crate) fn unread(stream: &Stream) -> Option<u64> {
    let least = stream.least_position()?;
    Some(if stream.is_dynamic {
        stream.published.saturating_sub(least)
    } else {
        stream.in_window()
    })
}

/// A process; the driver has no row of a worker.
struct Process<'a> {
    client: ClientId,
    worker: Option<&'a Worker>,
    ledger: &'a Ledger,
}

fn worker_state(view: &View<'_>, row: &Process<'_>) -> &'static str {
    let Some(worker) = row.worker else { return "DRIVER" };
    match worker.life {
        Life::Starting => "STARTING",
        Life::Leaving => "LEAVING",
        Life::Killed | Life::Condemned => "DYING",
        Life::Up if worker.blocked.is_some() => "BLOCKED",
        Life::Up if worker.queue.iter().any(|one| view.is_running(row.client, one.ticket)) => {
            "RUNNING"
        }
        Life::Up => "IDLE",
    }
}

fn running<'a>(view: &View<'a>, row: &Process<'a>) -> impl Iterator<Item = TaskId> {
    let (view, client) = (*view, row.client);
    let queue = row.worker.into_iter().flat_map(|worker| worker.queue.iter());
    queue.filter(move |one| view.is_running(client, one.ticket)).map(|one| one.task)
}

const WORKERS: &[(&str, fn(&View<'_>, &Process<'_>) -> Cell)] = &[
    ("worker_id", |_, row| Cell::Client(row.client)),
    ("worker_type", |_, row| Cell::word(if row.worker.is_some() { "WORKER" } else { "DRIVER" })),
    ("state", |view, row| Cell::word(worker_state(view, row))),
    ("pid", |view, row| view.pid(row.client)),
    ("is_alive", |_, row| Cell::Bool(row.worker.is_none_or(Worker::is_staying))),
    ("task_name", |view, row| {
        let name = running(view, row).find_map(|task| view.node.tasks.get(&task));
        Cell::option(name, |task| Cell::Text(task.name()))
    }),
    ("actor_id", |_, row| Cell::option(row.worker.and_then(|worker| worker.actor), Cell::Actor)),
    ("num_running", |view, row| Cell::int(running(view, row).count())),
    ("num_queued", |view, row| {
        let queue = row.worker.map_or(0, |worker| worker.queue.len());
        Cell::int(queue - running(view, row).count())
    }),
    ("sleeps_in", |view, row| Cell::option(sleeps_in(view, row.client), Cell::word)),
    ("resources", |view, row| {
        let class = row.worker.and_then(|worker| worker.grant);
        let task = row.worker.and_then(|worker| worker.queue.front());
        let template = match row.worker.and_then(|worker| worker.actor) {
            Some(actor) => view.node.actors.get(&actor).map(|row| &row.template),
            None => task.and_then(|one| view.node.tasks.get(&one.task)).map(|row| &row.template),
        };
        Cell::option(template.filter(|_| class.is_some()), |row| Cell::amounts(&row.resources))
    }),
    ("num_handles", |_, row| Cell::int(row.ledger.handles.iter().count())),
    ("num_requests", |_, row| Cell::int(row.ledger.requests.len())),
];

pub(super) fn workers(view: &View<'_>, query: &Query) -> Result<Rows, String> {
    let node = view.node;
    let rows = node.clients().map(|(client, ledger)| Process {
        client,
        worker: node.workers.get(&client),
        ledger,
    });
    select(view, WORKERS, query, rows, |row| row.client)
}

const GROUPS: &[(&str, fn(&View<'_>, &&Group) -> Cell)] = &[
    ("placement_group_id", |_, row| Cell::Text(Arc::clone(&row.spec.key))),
    ("name", |_, row| Cell::Text(Arc::clone(&row.spec.name))),
    ("state", |_, row| {
        Cell::word(match row.state {
            GroupState::Waiting => "PENDING",
            GroupState::Placed => "CREATED",
            GroupState::Removed => "REMOVED",
        })
    }),
    ("strategy", |_, row| Cell::Text(Arc::clone(&row.spec.strategy))),
    ("bundles", |_, row| {
        Cell::List(row.spec.bundles.iter().map(|bundle| Cell::amounts(bundle)).collect())
    }),
];

pub(super) fn groups(view: &View<'_>, query: &Query) -> Result<Rows, String> {
    let rows = view.node.groups.values();
    select(view, GROUPS, query, rows, |row| Arc::clone(&row.spec.key))
}

struct Items<'a> {
    task: TaskId,
    stream: &'a Stream,
}

fn stream_state(view: &View<'_>, row: &Items<'_>) -> &'static str {
    match view.node.tasks.get(&row.task) {
        _ if row.stream.is_closed => "CLOSED",
        None => "ENDED",
        Some(task) => match task.phase {
            Phase::Dispatched(worker, _) if sleeps_in(view, worker) == Some("yield") => "PAUSED",
            Phase::Dispatched(worker, ticket) if view.is_running(worker, ticket) => "RUNNING",
            _ => "PENDING",
        },
    }
}

const STREAMS: &[(&str, fn(&View<'_>, &Items<'_>) -> Cell)] = &[
    ("task_id", |_, row| Cell::Task(row.task)),
    ("name", |view, row| {
        let living = view.node.tasks.get(&row.task).map(crate::task::Task::name);
        let attempts = view.node.history.attempts.iter().rev();
        let name = living.or_else(|| {
            let attempt = attempts.take(1_000).find(|one| one.task == row.task)?;
            Some(Arc::clone(attempt.name.as_ref().unwrap_or(&attempt.template.name)))
        });
        Cell::option(name, Cell::Text)
    }),
    ("mode", |_, row| Cell::word(if row.stream.is_dynamic { "dynamic" } else { "streaming" })),
    ("state", |view, row| Cell::word(stream_state(view, row))),
    ("num_yielded", |_, row| Cell::int(row.stream.published)),
    ("num_unread", |_, row| Cell::int(unread(row.stream).unwrap_or(0))),
    ("unread_bytes", |_, row| {
        let consumed = row.stream.consumed_bytes();
        Cell::int(row.stream.published_bytes.saturating_sub(consumed))
    }),
    ("window", |view, row| {
        let task = view.node.tasks.get(&row.task);
        Cell::option(task.and_then(|task| task.template.window), Cell::int)
    }),
    ("window_bytes", |view, row| {
        let task = view.node.tasks.get(&row.task);
        Cell::option(task.and_then(|task| task.template.window_bytes), Cell::int)
    }),
    ("num_readers_waiting", |_, row| {
        Cell::int(row.stream.nexts.len() + row.stream.own_nexts.len() + row.stream.watchers.len())
    }),
    ("num_handles", |_, row| {
        Cell::int(row.stream.handles + row.stream.cursors.values().sum::<u32>())
    }),
];

pub(super) fn streams(view: &View<'_>, query: &Query) -> Result<Rows, String> {
    let rows = view.node.streams.iter().map(|(task, stream)| Items { task: *task, stream });
    select(view, STREAMS, query, rows, |row| row.task)
}

const YIELDS: &[(&str, fn(&View<'_>, &(usize, Yield)) -> Cell)] = &[
    ("task_id", |_, row| Cell::Task(row.1.item.task)),
    ("object_id", |_, row| Cell::Object(row.1.item)),
    ("time_ms", |_, row| Cell::time(row.1.at_ns)),
    ("object_size", |_, row| Cell::int(row.1.size)),
    ("used_bytes", |_, row| Cell::int(row.1.used_bytes)),
    ("num_unread", |_, row| Cell::int(row.1.unread)),
];

pub(super) fn yields(view: &View<'_>, query: &Query) -> Result<Rows, String> {
    let rows = view.node.history.yields.iter().copied().enumerate();
    select(view, YIELDS, query, rows, |row| row.0)
}

const SPANS: &[(&str, fn(&View<'_>, &(usize, ClientId, &Span)) -> Cell)] = &[
    ("name", |_, row| Cell::Text(Arc::clone(&row.2.name))),
    ("task_id", |_, row| Cell::option(row.2.task, Cell::Task)),
    ("pid", |view, row| view.pid(row.1)),
    ("start_time_ms", |_, row| Cell::time(row.2.began_ns)),
    ("end_time_ms", |_, row| Cell::time(row.2.ended_ns)),
    ("extra", |_, row| Cell::Text(Arc::clone(&row.2.extra))),
];

pub(super) fn spans(view: &View<'_>, query: &Query) -> Result<Rows, String> {
    let rows = view.node.history.spans.iter().enumerate();
    let rows = rows.map(|(place, (client, span))| (place, *client, span));
    select(view, SPANS, query, rows, |row| row.0)
}

const HISTORY: &[(&str, fn(&View<'_>, &()) -> Cell)] = &[
    ("now_ms", |view, ()| Cell::time(view.node.now_ns)),
    ("num_attempts", |view, ()| Cell::int(view.node.history.attempts.len())),
    ("num_yields", |view, ()| Cell::int(view.node.history.yields.len())),
    ("num_attempts_forgotten", |view, ()| Cell::int(view.node.history.forgotten_attempts)),
    ("num_spans_forgotten", |view, ()| Cell::int(view.node.history.forgotten_spans)),
    ("num_yields_forgotten", |view, ()| Cell::int(view.node.history.forgotten_yields)),
    ("resources", |view, ()| {
        let rows = view.node.resources.table();
        let row = |(name, total, free): (Arc<str>, i64, i64)| {
            let pair = [("total", total), ("available", free.max(0))];
            let pair = pair.map(|(name, units)| (Arc::from(name), units));
            (Cow::Owned(name.to_string()), Cell::Amounts(pair.into()))
        };
        Cell::Map(rows.into_iter().map(row).collect())
    }),
];

pub(super) fn history(view: &View<'_>, query: &Query) -> Result<Rows, String> {
    select(view, HISTORY, query, std::iter::once(()), |()| ())
}
