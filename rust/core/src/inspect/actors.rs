//! Actors: the living, the dead whom somebody holds, and those that have gone lately.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Cell, Query, Rows, View, select};
use crate::actor::{Actor, Epitaph, Stage};
use crate::id::ActorId;

struct Row<'a> {
    id: ActorId,
    actor: &'a Actor,
    is_gone: bool,
}

/// Ray's words.
pub(super) fn state(view: &View<'_>, id: ActorId, actor: &Actor) -> &'static str {
    let waits = || {
        let task = view.node.tasks.get(&id.0);
        task.is_some_and(|task| matches!(task.phase, crate::task::Phase::Waiting(_)))
    };
    match actor.stage {
        Stage::Pending | Stage::Starting if actor.restarts > 0 => "RESTARTING",
        Stage::Pending if waits() => "DEPENDENCIES_UNREADY",
        Stage::Pending | Stage::Starting => "PENDING_CREATION",
        Stage::Alive => "ALIVE",
        Stage::Dead => "DEAD",
    }
}

/// Why it is dead, in words.
pub(super) fn death_cause(actor: &Actor) -> Cell {
    match &actor.epitaph {
        Some(Epitaph::Ended(end)) => Cell::Text(end.cause.to_string().into()),
        Some(Epitaph::Raised(..)) => Cell::word("its constructor raised an exception"),
        None if actor.stage == Stage::Dead => Cell::word("its constructor raised an exception"),
        None => Cell::None,
    }
}

/// Calls that wait, and calls in its process.
pub(super) fn calls(actor: &Actor) -> (u64, u64) {
    let all: u64 = actor.calls.values().sum();
    let under_way: u64 = actor.lanes.iter().map(|lane| u64::from(lane.under_way)).sum();
    (all.saturating_sub(under_way), under_way)
}

const COLUMNS: &[(&str, fn(&View<'_>, &Row<'_>) -> Cell)] = &[
    ("actor_id", |_, row| Cell::Actor(row.id)),
    ("class_name", |_, row| Cell::Text(Arc::clone(&row.actor.template.name))),
    ("state", |view, row| Cell::word(state(view, row.id, row.actor))),
    ("name", |_, row| {
        let name = row.actor.name();
        name.map_or_else(|| Cell::word(""), |name| Cell::Text(Arc::clone(&name.name)))
    }),
    ("ray_namespace", |_, row| {
        let name = row.actor.name();
        name.map_or_else(|| Cell::word(""), |name| Cell::Text(Arc::clone(&name.namespace)))
    }),
    ("pid", |view, row| row.actor.worker.map_or(Cell::None, |worker| view.pid(worker))),
    ("worker_id", |_, row| Cell::option(row.actor.worker, Cell::Client)),
    ("is_detached", |_, row| Cell::Bool(row.actor.creation.is_detached)),
    ("num_restarts", |_, row| Cell::int(row.actor.restarts)),
    ("num_pending_calls", |_, row| Cell::int(calls(row.actor).0)),
    ("num_calls_under_way", |_, row| Cell::int(calls(row.actor).1)),
    ("num_handles", |_, row| Cell::int(row.actor.handles)),
    ("death_cause", |_, row| death_cause(row.actor)),
    ("required_resources", |_, row| Cell::amounts(&row.actor.template.resources)),
    ("concurrency", |_, row| {
        let lanes = row.actor.lanes.iter().map(|lane| Cell::int(lane.limit()));
        Cell::Map(vec![(Cow::Borrowed("at_once"), Cell::List(lanes.collect()))])
    }),
];

pub(super) fn rows(view: &View<'_>, query: &Query) -> Result<Rows, String> {
    let node = view.node;
    let there = node.actors.iter().map(|(id, actor)| Row { id: *id, actor, is_gone: false });
    let gone = node.history.actors.iter();
    let gone = gone.map(|row| Row { id: row.actor, actor: &row.row, is_gone: true });
    select(view, COLUMNS, query, there.chain(gone), |row| (row.is_gone, row.id))
}
