//! Objects: where their bytes are, and who keeps them.

use std::cmp::Reverse;

use super::holders::{self, Holders};
use super::{Cell, Query, Rows, View, select};
use crate::id::ObjectId;
use crate::object::Object;
use crate::value::{Payload, Value};

struct Row<'a> {
    id: ObjectId,
    object: &'a Object,
}

impl Row<'_> {
    fn size(&self) -> u64 {
        self.object.value().map_or(0, Value::size)
    }
}

fn state(row: &Row<'_>) -> &'static str {
    match row.object.value() {
        None => "PENDING",
        Some(value) if value.is_error() => "ERROR",
        Some(_) => "READY",
    }
}

fn place(row: &Row<'_>) -> Cell {
    let Some(value) = row.object.value() else { return Cell::None };
    match value.payload() {
        None | Some(Payload::Inline(_)) => Cell::word("INLINE"),
        Some(Payload::Block(_)) => Cell::word("STORE"),
        Some(Payload::Spilled(_)) => Cell::word("DISK"),
    }
}

/// The task that makes it, or made it lately; None for a `put`.
fn made_by(view: &View<'_>, row: &Row<'_>) -> Cell {
    let task = row.id.task;
    if let Some(task) = view.node.tasks.get(&task) {
        return Cell::Text(task.name());
    }
    let attempts = view.node.history.attempts.iter().rev();
    let attempt = attempts.take(1_000).find(|attempt| attempt.task == task);
    Cell::option(attempt, |row| {
        Cell::Text(std::sync::Arc::clone(row.name.as_ref().unwrap_or(&row.template.name)))
    })
}

const COLUMNS: &[(&str, fn(&View<'_>, &Row<'_>) -> Cell)] = &[
    ("object_id", |_, row| Cell::Object(row.id)),
    ("state", |_, row| Cell::word(state(row))),
    ("object_size", |_, row| Cell::int(row.size())),
    ("place", |_, row| place(row)),
    ("task_id", |_, row| Cell::Task(row.id.task)),
    ("index", |_, row| Cell::int(row.id.index)),
    ("num_holders", |_, row| Cell::int(row.object.count)),
    ("pinned_by", |view, row| {
        let pins = holders::pins(view, row.id);
        Cell::List(pins.into_iter().map(|(client, _)| view.pid(client)).collect())
    }),
    ("made_by", made_by),
    // Filled for all rows together.
    (HELD_BY, |_, _| Cell::None),
];

const HELD_BY: &str = "held_by";

pub(super) fn rows(view: &View<'_>, query: &Query) -> Result<Rows, String> {
    let all = view.node.objects.iter().map(|(id, object)| Row { id, object });
    let key = |row: &Row<'_>| (Reverse(row.size()), row.id);
    let mut rows = select(view, COLUMNS, query, all, key)?;
    if let Some(place) = rows.columns.iter().position(|name| name == HELD_BY) {
        fill_holders(view, query, &mut rows, place)?;
    }
    Ok(rows)
}

fn fill_holders(
    view: &View<'_>,
    query: &Query,
    rows: &mut Rows,
    place: usize,
) -> Result<(), String> {
    let Some(of) = rows.columns.iter().position(|name| name == "object_id") else {
        return Err(format!("{HELD_BY:?} is shown beside \"object_id\": ask for both"));
    };
    if query.filters.iter().any(|filter| filter.column == HELD_BY) {
        return Err(format!("rows cannot be chosen by {HELD_BY:?}"));
    }
    let id = |row: &Vec<Cell>| match row[of] {
        Cell::Object(id) => id,
        _ => unreachable!("the column has ids of objects"),
    };
    let mut holders: Holders = holders::of(view, rows.rows.iter().map(id));
    for row in &mut rows.rows {
        row[place] = holders.remove(&id(row)).unwrap_or_default().into_cell();
    }
    Ok(())
}
