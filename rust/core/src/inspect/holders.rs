//! Who keeps an object: every keeper that its count counts, by kind.
//!
//! Invariant: what is in a ledger is found there by its key. Tasks and containing values know what they
//! keep and not the other way round, so for these the tables are walked once, for all objects that
//! are asked for together.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use super::{Cell, View};
use crate::event::{Args, Held};
use crate::id::{ClientId, ObjectId};
use crate::request::Open;

/// Keepers of one object that are named; the others are counted.
const MOST: usize = 100;

/// Keepers of some objects.
pub(super) type Holders = FxHashMap<ObjectId, Keepers>;

/// Keepers of one object.
#[derive(Default)]
pub(super) struct Keepers {
    named: Vec<Cell>,
    others: u64,
}

impl Keepers {
    fn push(&mut self, kind: &'static str, by: Cell, pid: Cell, count: u32) {
        if self.named.len() < MOST {
            self.named.push(holder(kind, by, pid, u64::from(count)));
        } else {
            self.others += u64::from(count);
        }
    }

    pub(super) fn into_cell(mut self) -> Cell {
        if self.others > 0 {
            self.named.push(holder("OTHERS", Cell::None, Cell::None, self.others));
        }
        Cell::List(self.named)
    }
}

fn holder(kind: &'static str, by: Cell, pid: Cell, count: u64) -> Cell {
    let fields =
        [("kind", Cell::word(kind)), ("by", by), ("pid", pid), ("count", Cell::int(count))];
    Cell::Map(fields.into_iter().map(|(name, cell)| (Cow::Borrowed(name), cell)).collect())
}

/// The processes that read an object's bytes in place, each with the number of its views.
pub(super) fn pins(view: &View<'_>, id: ObjectId) -> Vec<(ClientId, u32)> {
    let clients = view.node.clients();
    let pins = clients.filter_map(|(client, ledger)| {
        Some((client, ledger.handles.count(Held::Pin(id)))).filter(|(_, count)| *count > 0)
    });
    let mut pins: Vec<_> = pins.collect();
    pins.sort_unstable();
    pins
}

/// All keepers of these.
pub(super) fn of(view: &View<'_>, ids: impl Iterator<Item = ObjectId>) -> Holders {
    let node = view.node;
    let mut holders: Holders = ids.map(|id| (id, Keepers::default())).collect();
    for (client, ledger) in node.clients() {
        for (id, rows) in &mut holders {
            let kinds = [("REF", Held::Object(*id)), ("VIEW", Held::Pin(*id))];
            for (kind, held) in kinds {
                let count = ledger.handles.count(held);
                if count > 0 {
                    rows.push(kind, Cell::Client(client), view.pid(client), count);
                }
            }
        }
        for open in ledger.requests.values() {
            if let Open::Get { ids, .. } | Open::Fetch { ids, .. } = open {
                for id in ids {
                    if let Some(rows) = holders.get_mut(id) {
                        rows.push("GET", Cell::Client(client), view.pid(client), 1);
                    }
                }
            }
        }
    }
    for (id, rows) in &mut holders {
        if let Some(stream) = node.streams.get(&id.task)
            && id.index > 0
            && u64::from(id.index) > stream.kept_from
            && stream.least_position().is_some()
        {
            rows.push("UNREAD", Cell::Task(id.task), Cell::None, 1);
        }
    }
    for (task, row) in node.tasks.iter() {
        let stored = match row.submit.args {
            Args::Stored(object) => Some(object),
            Args::Inline(_) => None,
        };
        let nested = row.submit.holds.iter().filter_map(|held| match held {
            Held::Object(id) | Held::Pin(id) => Some(*id),
            _ => None,
        });
        for id in row.submit.waits.iter().copied().chain(stored).chain(nested) {
            if let Some(rows) = holders.get_mut(&id) {
                rows.push("ARGUMENT", Cell::Task(task), Cell::None, 1);
            }
        }
    }
    for (outer, row) in node.objects.iter() {
        for held in row.contains() {
            if let Held::Object(id) = held
                && let Some(rows) = holders.get_mut(id)
            {
                rows.push("CONTAINED", Cell::Object(outer), Cell::None, 1);
            }
        }
    }
    holders
}
