//! What one client holds, and what it has asked.
//!
//! Invariant: all that goes with a client's process stands here, so its death is settled by going
//! through this once.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use rustc_hash::FxHashMap;

use crate::event::Held;
use crate::id::{ClientId, ObjectId, RequestId};
use crate::lend::Lent;
use crate::node::Node;
use crate::request::Open;
use crate::shrink::Shrink as _;
use crate::table::Table;

/// One client's account with the node.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) handles: Handles,
    /// What it has asked and was not answered.
    pub(crate) requests: FxHashMap<RequestId, Open>,
    /// What its requests took from shared cursors and has not reached their callers, in the order of
    /// the requests.
    pub(crate) lent: BTreeMap<RequestId, Lent>,
}

/// How often a client holds what.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    /// Refs, of which there are as many as there are objects.
    refs: Table<ObjectId, NonZeroU32>,
    others: FxHashMap<Held, u32>,
}

impl Handles {
    pub(crate) fn contains(&self, held: Held) -> bool {
        match held {
            Held::Object(id) => self.refs.contains_key(&id),
            other => self.others.contains_key(&other),
        }
    }

    /// How often; 0 if it is not held.
    pub(crate) fn count(&self, held: Held) -> u32 {
        match held {
            Held::Object(id) => self.refs.get(&id).map_or(0, |count| count.get()),
            other => self.others.get(&other).copied().unwrap_or(0),
        }
    }

    fn add(&mut self, held: Held) {
        match held {
            Held::Object(id) => match self.refs.get_mut(&id) {
                Some(count) => *count = count.saturating_add(1),
                None => _ = self.refs.insert(id, NonZeroU32::MIN),
            },
            other => *self.others.entry(other).or_default() += 1,
        }
    }

    /// One less; false if there is none.
    fn subtract(&mut self, held: Held) -> bool {
        if let Held::Object(id) = held {
            let Some(count) = self.refs.get_mut(&id) else { return false };
            match NonZeroU32::new(count.get() - 1) {
                Some(less) => *count = less,
                None => _ = self.refs.remove(&id),
            }
            return true;
        }
        let Some(count) = self.others.get_mut(&held) else { return false };
        *count -= 1;
        if *count == 0 {
            self.others.remove(&held);
            self.others.shrink();
        }
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Held, u32)> {
        let refs = self.refs.iter().map(|(id, count)| (Held::Object(id), count.get()));
        refs.chain(self.others.iter().map(|(held, count)| (*held, *count)))
    }
}

impl Node {
    /// The ledger of a client that is there.
    pub(crate) fn ledger(&mut self, client: ClientId) -> &mut Ledger {
        if client == ClientId::DRIVER {
            return &mut self.driver;
        }
        &mut self.worker(client).ledger
    }

    /// The ledger of a client that may be gone.
    pub(crate) fn ledger_of(&self, client: ClientId) -> Option<&Ledger> {
        if client == ClientId::DRIVER {
            return Some(&self.driver);
        }
        self.workers.get(&client).map(|row| &row.ledger)
    }

    /// A request that cannot be answered at once.
    pub(crate) fn open(&mut self, client: ClientId, id: RequestId, open: Open) {
        self.worker_requests += usize::from(client != ClientId::DRIVER);
        self.ledger(client).requests.insert(id, open);
    }

    /// It is to be answered, or was given up. None if it is not open.
    pub(crate) fn close(&mut self, client: ClientId, id: RequestId) -> Option<Open> {
        let open = self.ledger(client).requests.remove(&id)?;
        self.worker_requests -= usize::from(client != ClientId::DRIVER);
        Some(open)
    }

    /// A request that is not answered.
    pub(crate) fn open_mut(&mut self, client: ClientId, id: RequestId) -> Option<&mut Open> {
        let ledger = if client == ClientId::DRIVER {
            &mut self.driver
        } else {
            &mut self.workers.get_mut(&client)?.ledger
        };
        ledger.requests.get_mut(&id)
    }

    pub(crate) fn is_open(&self, client: ClientId, id: RequestId) -> bool {
        self.ledger_of(client).is_some_and(|ledger| ledger.requests.contains_key(&id))
    }

    /// One more handle of a client, written into its ledger.
    pub(crate) fn hand_out(&mut self, client: ClientId, held: Held) {
        self.keep(held);
        self.enter(client, held);
    }

    /// Writes a handle, whose count is settled elsewhere, into a ledger.
    pub(crate) fn enter(&mut self, client: ClientId, held: Held) {
        self.ledger(client).handles.add(held);
    }

    /// Strikes a handle from a ledger; false if it is not there.
    pub(crate) fn strike(&mut self, client: ClientId, held: Held) -> bool {
        self.ledger(client).handles.subtract(held)
    }

    pub(crate) fn holds(&mut self, client: ClientId, held: Held) -> bool {
        self.ledger(client).handles.contains(held)
    }
}
