//! Questions about the node's tables and their answers, as JSON.
//!
//! ```text
//!   {"table": "tasks", "columns": ["name"], "filters": [["state", "=", "RUNNING"]], "limit": 100}
//!   {"table": "why", "subject": "<hex>", "is_stream": false}
//!   ─▶ {"columns": ["name"], "rows": [["f"]], "total": 1}        ids as hex, times as ms since 1970
//! ```
//!
//! Invariant: the same text is asked in this process, in a worker and through the socket of
//! listener.rs, and gives the same answer.

pub(crate) mod listener;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use skate_core::id::{ActorId, ClientId, ObjectId, TaskId};
use skate_core::inspect::{Cell, Filter, Query, Rows, Subject, Table};

use crate::actor_ref::actor_bytes;
use crate::object_ref::{hex, object_bytes, task_bytes};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    table: String,
    #[serde(default)]
    columns: Vec<String>,
    #[serde(default)]
    filters: Vec<(String, String, Json)>,
    #[serde(default = "no_limit")]
    limit: u32,
    #[serde(default)]
    is_counted: bool,
    #[serde(default)]
    subject: Option<String>,
    /// The subject is the generator of that task: at the cursor of all its holders,
    #[serde(default)]
    is_stream: bool,
    /// or at a position of its own.
    #[serde(default)]
    position: Option<u64>,
}

const fn no_limit() -> u32 {
    u32::MAX
}

/// What a question asks for; an error says what is wrong with it.
pub(crate) fn query(question: &str, nonce: u64) -> Result<Query, String> {
    let asked: Question =
        serde_json::from_str(question).map_err(|error| format!("no question: {error}"))?;
    let table = match &*asked.table {
        "tasks" => Table::Tasks,
        "objects" => Table::Objects,
        "actors" => Table::Actors,
        "workers" => Table::Workers,
        "placement_groups" => Table::Groups,
        "streams" => Table::Streams,
        "yields" => Table::Yields,
        "spans" => Table::Spans,
        "history" => Table::History,
        "why" => Table::Why(subject(&asked, nonce)?),
        other => return Err(format!("there is no table {other:?}")),
    };
    let filter = |(column, operator, value): (String, String, Json)| {
        let is_equal = match &*operator {
            "=" => true,
            "!=" => false,
            other => return Err(format!("the operator is {other:?}, but must be \"=\" or \"!=\"")),
        };
        Ok(Filter { column, is_equal, value: cell(&value, nonce)? })
    };
    let filters = asked.filters.into_iter().map(filter).collect::<Result<_, _>>()?;
    let Question { columns, limit, is_counted, .. } = asked;
    Ok(Query { table, columns, filters, limit, is_counted })
}

fn subject(asked: &Question, nonce: u64) -> Result<Subject, String> {
    let text = asked.subject.as_deref().unwrap_or_default();
    match id(text, nonce) {
        _ if text == "driver" => Ok(Subject::Client(ClientId::DRIVER)),
        Some(Cell::Task(task)) if asked.is_stream => Ok(match asked.position {
            Some(at) => Subject::Cursor(task, at),
            None => Subject::Stream(task),
        }),
        Some(Cell::Task(task)) => Ok(Subject::Task(task)),
        Some(Cell::Object(object)) => Ok(Subject::Object(object)),
        Some(Cell::Actor(actor)) => Ok(Subject::Actor(actor)),
        Some(Cell::Client(client)) => Ok(Subject::Client(client)),
        _ => Err(format!(
            "{text:?} is no id of this session: expected that of an object (56 hex digits), a task \
             (48), an actor (32) or a worker (56)"
        )),
    }
}

/// A value that a filter compares with.
fn cell(value: &Json, nonce: u64) -> Result<Cell, String> {
    match value {
        Json::Null => Ok(Cell::None),
        Json::Bool(value) => Ok(Cell::Bool(*value)),
        Json::Number(number) => number
            .as_i64()
            .map(Cell::Int)
            .ok_or_else(|| format!("{number} is no whole number: such columns cannot be compared")),
        Json::String(text) => {
            Ok(id(text, nonce).unwrap_or_else(|| Cell::Text(text.as_str().into())))
        }
        other => Err(format!("{other} cannot be compared with")),
    }
}

/// The id that a text is, if it is one of this session.
fn id(text: &str, nonce: u64) -> Option<Cell> {
    let part = |at: usize| u64::from_str_radix(text.get(at * 2..at * 2 + 16)?, 16).ok();
    let id = match text.len() {
        32 => Cell::Actor(ActorId(TaskId(part(0)?))),
        48 => Cell::Task(TaskId(part(12)?)),
        56 => {
            let client = u32::from_str_radix(text.get(16..24)?, 16).ok()?;
            let index = u32::from_str_radix(text.get(48..)?, 16).ok()?.swap_bytes();
            let object = Cell::Object(ObjectId { task: TaskId(part(12)?), index });
            let worker = Cell::Client(ClientId(client));
            if shown(&worker, nonce) == text { worker } else { object }
        }
        _ => return None,
    };
    (shown(&id, nonce) == text).then_some(id)
}

/// An answer as text.
pub(crate) fn text(rows: &Rows, nonce: u64) -> String {
    let row = |row: &Vec<Cell>| row.iter().map(|cell| shown(cell, nonce)).collect();
    let rows_shown: Vec<Json> = rows.rows.iter().map(row).collect();
    json!({"columns": rows.columns, "rows": rows_shown, "total": rows.total}).to_string()
}

/// Bytes of a worker's id; what the session and the process do not fill is `ff`.
const WORKER: usize = 28;

/// A cell as JSON; moments are in ns since 1970.
fn shown(cell: &Cell, nonce: u64) -> Json {
    let each = |cell| shown(cell, nonce);
    match cell {
        Cell::None => Json::Null,
        Cell::Bool(value) => json!(value),
        Cell::Int(number) => json!(number),
        Cell::Time(at_ns) => json!(*at_ns as f64 / 1e6),
        Cell::Span(ns) => json!(*ns as f64 / 1e9),
        Cell::Word(word) => json!(word),
        Cell::Text(text) => json!(text),
        Cell::Task(task) => json!(hex(&task_bytes(nonce, *task))),
        Cell::Object(object) => json!(hex(&object_bytes(nonce, *object))),
        Cell::Actor(actor) => json!(hex(&actor_bytes(nonce, *actor))),
        Cell::Client(client) => {
            let mut bytes = [0xff; WORKER];
            bytes[..8].copy_from_slice(&nonce.to_be_bytes());
            bytes[8..12].copy_from_slice(&client.0.to_be_bytes());
            json!(hex(&bytes))
        }
        Cell::Amounts(amounts) => {
            let rows = amounts.iter();
            Json::Object(
                rows.map(|(name, units)| (name.to_string(), json!(*units as f64 / 1e4))).collect(),
            )
        }
        Cell::List(cells) => Json::Array(cells.iter().map(each).collect()),
        Cell::Map(cells) => {
            let rows = cells.iter().map(|(name, cell)| (name.to_string(), each(cell)));
            Json::Object(rows.collect())
        }
    }
}
