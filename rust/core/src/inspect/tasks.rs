//! Tasks: those in the table, and attempts that have ended lately.

use std::cmp::Reverse;
use std::sync::Arc;

use super::{Cell, Query, Rows, View, select};
use crate::event::{Returns, Template};
use crate::history::{Attempt, Fault};
use crate::id::{ActorId, ClientId, ObjectId, TaskId};
use crate::request::Open;
use crate::task::{Phase, Task};

/// One row. The node keeps both kinds, and either has what people ask for.
enum Row<'a> {
    Living(TaskId, &'a Task),
    /// With its place in the ring.
    Ended(&'a Attempt, usize),
}

impl<'a> Row<'a> {
    const fn id(&self) -> TaskId {
        match self {
            Self::Living(id, _) => *id,
            Self::Ended(row, _) => row.task,
        }
    }

    fn template(&self) -> &'a Arc<Template> {
        match self {
            Self::Living(_, task) => &task.template,
            Self::Ended(row, _) => &row.template,
        }
    }

    fn name(&self) -> Arc<str> {
        match self {
            Self::Living(_, task) => task.name(),
            Self::Ended(row, _) => Arc::clone(row.name.as_ref().unwrap_or(&row.template.name)),
        }
    }

    const fn actor(&self) -> Option<ActorId> {
        match self {
            Self::Living(_, task) => task.submit.actor,
            Self::Ended(row, _) => row.actor,
        }
    }

    const fn parent(&self) -> Option<TaskId> {
        match self {
            Self::Living(_, task) => task.submit.parent,
            Self::Ended(row, _) => row.parent,
        }
    }

    const fn attempt(&self) -> u32 {
        match self {
            Self::Living(_, task) => task.attempt,
            Self::Ended(row, _) => row.number,
        }
    }

    const fn worker(&self) -> Option<ClientId> {
        match self {
            Self::Living(_, Task { phase: Phase::Dispatched(worker, _), .. }) => Some(*worker),
            Self::Living(..) => None,
            Self::Ended(row, _) => row.worker,
        }
    }

    const fn published(&self) -> u64 {
        match self {
            Self::Living(_, task) => task.published,
            Self::Ended(row, _) => row.published,
        }
    }

    fn fault(&self) -> Option<&'a Fault> {
        match self {
            Self::Living(..) => None,
            Self::Ended(row, _) => row.fault.as_deref(),
        }
    }

    fn waits(&self) -> &'a [ObjectId] {
        match self {
            Self::Living(_, task) => &task.submit.waits,
            Self::Ended(row, _) => &row.waits,
        }
    }

    const fn submitted_ns(&self) -> u64 {
        match self {
            Self::Living(_, task) => task.submitted_ns,
            Self::Ended(row, _) => row.submitted_ns,
        }
    }

    fn began_ns(&self, view: &View<'_>) -> u64 {
        match self {
            Self::Ended(row, _) => row.began_ns,
            Self::Living(_, Task { phase: Phase::Dispatched(worker, ticket), .. })
                if view.is_running(*worker, *ticket) =>
            {
                let row = &view.node.workers[worker];
                row.sent_ns(*ticket).max(row.free_since_ns)
            }
            Self::Living(..) => 0,
        }
    }
}

fn kind(row: &Row<'_>) -> &'static str {
    match row.actor() {
        None => "NORMAL_TASK",
        Some(actor) if actor.0 == row.id() => "ACTOR_CREATION_TASK",
        Some(_) => "ACTOR_TASK",
    }
}

/// Ray's words.
fn state(view: &View<'_>, row: &Row<'_>) -> &'static str {
    match row {
        Row::Ended(Attempt { fault: Some(_), .. }, _) => "FAILED",
        Row::Ended(..) => "FINISHED",
        Row::Living(_, task) => task_state(view, task),
    }
}

pub(super) fn task_state(view: &View<'_>, task: &Task) -> &'static str {
    match task.phase {
        Phase::Waiting(_) => "PENDING_ARGS_AVAIL",
        Phase::Ready => "PENDING_NODE_ASSIGNMENT",
        Phase::Dispatched(worker, ticket) if view.is_running(worker, ticket) => "RUNNING",
        Phase::Dispatched(..) => "SUBMITTED_TO_WORKER",
    }
}

/// The call in which a running task sleeps, if its worker runs no other.
pub(super) fn sleeps_in(view: &View<'_>, worker: ClientId) -> Option<&'static str> {
    let row = view.node.workers.get(&worker)?;
    row.blocked?;
    let call = row.ledger.requests.values().map(|open| match open {
        Open::Get { .. } | Open::Fetch { .. } => "get",
        Open::Wait { .. } => "wait",
        Open::Next(_) => "next",
        Open::Length(_) => "len",
        Open::Allocate => "put",
    });
    call.max().or(Some("yield"))
}

const COLUMNS: &[(&str, fn(&View<'_>, &Row<'_>) -> Cell)] = &[
    ("task_id", |_, row| Cell::Task(row.id())),
    ("attempt_number", |_, row| Cell::int(row.attempt())),
    ("name", |_, row| Cell::Text(row.name())),
    ("state", |view, row| Cell::word(state(view, row))),
    ("actor_id", |_, row| Cell::option(row.actor(), Cell::Actor)),
    ("type", |_, row| Cell::word(kind(row))),
    ("func_or_class_name", |_, row| Cell::Text(Arc::clone(&row.template().name))),
    ("parent_task_id", |_, row| Cell::option(row.parent(), Cell::Task)),
    ("worker_id", |_, row| Cell::option(row.worker(), Cell::Client)),
    ("worker_pid", |view, row| row.worker().map_or(Cell::None, |worker| view.pid(worker))),
    ("error_type", |_, row| Cell::option(row.fault(), |fault| Cell::word(fault.0))),
    ("sleeps_in", |view, row| match row {
        Row::Living(_, Task { phase: Phase::Dispatched(worker, ticket), .. })
            if view.is_running(*worker, *ticket) =>
        {
            Cell::option(sleeps_in(view, *worker), Cell::word)
        }
        _ => Cell::None,
    }),
    ("required_resources", |_, row| Cell::amounts(&row.template().resources)),
    ("creation_time_ms", |_, row| Cell::time(row.submitted_ns())),
    ("start_time_ms", |view, row| Cell::time(row.began_ns(view))),
    ("end_time_ms", |_, row| match row {
        Row::Ended(row, _) => Cell::time(row.ended_ns),
        Row::Living(..) => Cell::None,
    }),
    ("error_message", |_, row| match row.fault() {
        Some((_, Some(text))) => Cell::Text(Arc::clone(text)),
        _ => Cell::None,
    }),
    ("num_returns", |_, row| match row.template().returns {
        Returns::Static(count) => Cell::int(count),
        Returns::Dynamic => Cell::word("dynamic"),
        Returns::Streaming => Cell::word("streaming"),
    }),
    ("num_yielded", |_, row| Cell::int(row.published())),
    ("used_bytes", |_, row| match row {
        Row::Ended(row, _) => Cell::int(row.used_bytes),
        Row::Living(..) => Cell::None,
    }),
    ("arguments", |_, row| Cell::List(row.waits().iter().map(|id| Cell::Object(*id)).collect())),
];

pub(super) fn rows(view: &View<'_>, query: &Query) -> Result<Rows, String> {
    let node = view.node;
    let living = node.tasks.iter().map(|(id, task)| Row::Living(id, task));
    let ended = node.history.attempts.iter().zip(0..).map(|(row, place)| Row::Ended(row, place));
    // Ids of one client count up.
    select(view, COLUMNS, query, living.chain(ended), |row| match row {
        Row::Living(id, _) => (false, id.0, Reverse(0)),
        Row::Ended(_, place) => (true, 0, Reverse(*place)),
    })
}
