//! The node's tables as rows, for people and programs that look.
//!
//! ```text
//!   Query ─▶ rows of one table ─▶ filters ─▶ the first `limit` in the table's order ─▶ columns ─▶ Rows
//!            (a column is a name and a function of a row: only what is asked for is made)
//! ```
//!
//! Invariants: looking changes nothing. A query visits each row of its table once, makes cells for the
//! filters only, and whole rows for those that it returns: a million queued tasks cost a walk through
//! the table. What only the runtime knows (which dispatch was claimed, what pid a worker has) it is
//! asked through [`Outside`].

#![allow(clippy::type_complexity, reason = "a column is a name and a function of a row")]

mod actors;
mod holders;
mod objects;
mod others;
mod tasks;
mod why;

pub(crate) use others::unread;

use std::borrow::Cow;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::id::{ActorId, ClientId, ObjectId, TaskId, Ticket};
use crate::node::Node;
use crate::worker::Life;

/// What of the node is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Table {
    /// Those that have not ended, oldest first; then attempts that have, latest first.
    Tasks,
    /// Values, the largest first.
    Objects,
    /// In the order of their creation, those that have gone last.
    Actors,
    /// Processes; the driver first.
    Workers,
    /// Placement groups, by name.
    Groups,
    /// Generators whose items somebody can read, or that run.
    Streams,
    /// The latest yields, in order.
    Yields,
    /// The latest spans that code has named, in order.
    Spans,
    /// How many of these and of attempts had to be forgotten.
    History,
    /// The chain of what that waits for.
    Why(Subject),
}

/// What may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// A process: the driver, or a worker.
    Client(ClientId),
    /// A task, or the call of an actor.
    Task(TaskId),
    /// A value.
    Object(ObjectId),
    /// The next item of a generator.
    Stream(TaskId),
    /// The item at a position of a dynamic generator.
    Cursor(TaskId, u64),
    /// An actor.
    Actor(ActorId),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Of which table.
    pub table: Table,
    /// Names of columns, in the order in which they are wanted; none: all of them.
    pub columns: Vec<String>,
    /// All of which must hold.
    pub filters: Vec<Filter>,
    /// At most so many rows.
    pub limit: u32,
    /// Whether rows that are equal in these columns are one, with their number as a last column.
    pub is_counted: bool,
}

/// A condition on one column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Its name.
    pub column: String,
    /// Equal to this, or different from it.
    pub is_equal: bool,
    /// To what.
    pub value: Cell,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Cells in that order.
    pub rows: Vec<Vec<Cell>>,
    /// How many rows there are that pass the filters.
    pub total: u64,
}

/// One value of one row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cell {
    /// There is none.
    None,
    /// True or false.
    Bool(bool),
    /// A number.
    Int(i64),
    /// A moment, by the clock of `Event::Tick`.
    Time(u64),
    /// A length of time.
    Span(u64),
    /// A word that is always the same one.
    Word(Cow<'static, str>),
    /// Text.
    Text(Arc<str>),
    /// The id of a task.
    Task(TaskId),
    /// The id of an object.
    Object(ObjectId),
    /// The id of an actor.
    Actor(ActorId),
    /// The id of a process.
    Client(ClientId),
    /// Resources, in units of 1/10000.
    Amounts(Vec<(Arc<str>, i64)>),
    /// Several.
    List(Vec<Cell>),
    /// Several with names.
    Map(Vec<(Cow<'static, str>, Cell)>),
}

impl Rows {
    /// Counts all moments from `origin_ns` on, that is by another clock.
    pub fn shift(&mut self, origin_ns: u64) {
        for cell in self.rows.iter_mut().flatten() {
            if let Cell::Time(at_ns) = cell {
                *at_ns = at_ns.saturating_add(origin_ns);
            }
        }
    }
}

impl Cell {
    const fn word(word: &'static str) -> Self {
        Self::Word(Cow::Borrowed(word))
    }

    fn int(number: impl TryInto<i64>) -> Self {
        Self::Int(number.try_into().unwrap_or(i64::MAX))
    }

    /// A moment; 0 is none.
    const fn time(at_ns: u64) -> Self {
        if at_ns == 0 { Self::None } else { Self::Time(at_ns) }
    }

    fn option<T>(value: Option<T>, make: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::None, make)
    }

    fn amounts(resources: &[(Arc<str>, u64)]) -> Self {
        // Passes of groups are no resources of anybody.
        let is_shown = |(name, _): &&(Arc<str>, u64)| !name.starts_with(crate::group::PASS);
        let rows = resources.iter().filter(is_shown);
        Self::Amounts(rows.map(|(name, units)| (Arc::clone(name), units.cast_signed())).collect())
    }

    fn as_text(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether a filter takes both for the same.
    fn equals(&self, other: &Self) -> bool {
        match (self.as_text(), other.as_text()) {
            (Some(one), Some(other)) => one == other,
            _ => self == other,
        }
    }
}

/// What the runtime knows, and the node does not.
pub trait Outside {
    /// Whether the worker has claimed that dispatch.
    fn has_started(&self, worker: ClientId, ticket: Ticket) -> bool;
    /// The pid of a process that is, or was lately; 0 if that is not known.
    fn pid(&self, client: ClientId) -> u32;
    /// Whether there is a runtime that knows.
    fn is_known(&self) -> bool {
        true
    }
}

/// Nothing is known: what is first in a worker's ring is believed to run.
impl Outside for () {
    fn has_started(&self, _worker: ClientId, _ticket: Ticket) -> bool {
        false
    }
    fn pid(&self, _client: ClientId) -> u32 {
        0
    }
    fn is_known(&self) -> bool {
        false
    }
}

/// The node and what is around it, while somebody looks.
#[derive(Clone, Copy)]
struct View<'a> {
    node: &'a Node,
    outside: &'a dyn Outside,
}

impl View<'_> {
    fn pid(&self, client: ClientId) -> Cell {
        match self.outside.pid(client) {
            0 => Cell::None,
            pid => Cell::int(pid),
        }
    }

    /// Whether a dispatch is being executed, as far as anybody knows.
    fn is_running(&self, worker: ClientId, ticket: Ticket) -> bool {
        if self.outside.is_known() {
            return self.outside.has_started(worker, ticket);
        }
        let row = self.node.workers.get(&worker).filter(|row| row.life != Life::Starting);
        row.and_then(|row| row.queue.front()).is_some_and(|front| front.ticket == ticket)
    }
}

/// One column of a table with rows of the type `R`.
type Column<R> = (&'static str, fn(&View<'_>, &R) -> Cell);

/// Rows kept while more are looked at, beyond those wanted.
const SLACK: usize = 4096;

/// The first rows, in the order of `key`, that pass the filters.
fn select<R, K: Ord>(
    view: &View<'_>,
    columns: &[Column<R>],
    query: &Query,
    rows: impl Iterator<Item = R>,
    key: impl Fn(&R) -> K,
) -> Result<Rows, String> {
    let find = |name: &String| {
        columns.iter().find(|(column, _)| column == name).copied().ok_or_else(|| {
            let known: Vec<_> = columns.iter().map(|(column, _)| *column).collect();
            format!("there is no column {name:?}; there are {}", known.join(", "))
        })
    };
    let filters: Vec<_> = query
        .filters
        .iter()
        .map(|filter| find(&filter.column).map(|(_, cell)| (cell, filter)))
        .collect::<Result<_, _>>()?;
    let shown: Vec<_> = if query.columns.is_empty() {
        columns.to_vec()
    } else {
        query.columns.iter().map(find).collect::<Result<_, _>>()?
    };
    let limit = query.limit as usize;
    let mut total = 0;
    let mut counts: FxHashMap<Vec<Cell>, u64> = FxHashMap::default();
    let mut names: Vec<String> = shown.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut first: Vec<(K, R)> = Vec::new();
    for row in rows {
        let passes = |(cell, filter): &(fn(&View<'_>, &R) -> Cell, &Filter)| {
            cell(view, &row).equals(&filter.value) == filter.is_equal
        };
        if !filters.iter().all(passes) {
            continue;
        }
        total += 1;
        if query.is_counted {
            *counts.entry(shown.iter().map(|(_, cell)| cell(view, &row)).collect()).or_default() +=
                1;
            continue;
        }
        first.push((key(&row), row));
        if first.len() >= limit.saturating_mul(2).saturating_add(SLACK) {
            first.select_nth_unstable_by(limit, |one, other| one.0.cmp(&other.0));
            first.truncate(limit);
        }
    }
    if query.is_counted {
        names.push("count".to_owned());
        let rows = counts.into_iter().map(|(mut cells, count)| {
            cells.push(Cell::int(count));
            cells
        });
        return Ok(Rows { columns: names, rows: rows.collect(), total });
    }
    first.sort_by(|one, other| one.0.cmp(&other.0));
    first.truncate(limit);
    let cells = |(_, row): &(K, R)| shown.iter().map(|(_, cell)| cell(view, row)).collect();
    Ok(Rows { columns: names, rows: first.iter().map(cells).collect(), total })
}

impl Node {
    /// Answers a question about the tables; an error says what is wrong with the question.
    pub fn inspect(&self, query: &Query, outside: &dyn Outside) -> Result<Rows, String> {
        let view = View { node: self, outside };
        match &query.table {
            Table::Tasks => tasks::rows(&view, query),
            Table::Objects => objects::rows(&view, query),
            Table::Actors => actors::rows(&view, query),
            Table::Workers => others::workers(&view, query),
            Table::Groups => others::groups(&view, query),
            Table::Streams => others::streams(&view, query),
            Table::Yields => others::yields(&view, query),
            Table::Spans => others::spans(&view, query),
            Table::History => others::history(&view, query),
            Table::Why(subject) => why::rows(&view, query, *subject),
        }
    }
}
