//! Whether a client may give a value, or end a task so.
//!
//! Invariant: what passes here can be sealed: its bytes are where this client was let write, and nobody
//! else writes there.

use crate::event::{End, Held, Returns};
use crate::id::{ClientId, TaskId};
use crate::node::Node;
use crate::value::Value;

impl Node {
    /// Whether a client may give that value: its block is inside a lease of this client, and it is of a
    /// kind that clients make.
    pub(crate) fn is_sound(&self, client: ClientId, id: TaskId, value: &Value) -> bool {
        let is_made_by_clients = match value {
            Value::Data(_) | Value::Raised(_) | Value::Failed(_) => true,
            Value::Inherited(_) => false,
            Value::Stream(task) => *task == id,
        };
        is_made_by_clients
            && value.extent().is_none_or(|extent| {
                let ledger = self.ledger_of(client);
                let lease = Held::DiskLease(extent.offset);
                matches!(value, Value::Data(_))
                    && ledger.is_some_and(|ledger| ledger.handles.contains(lease))
                    && self.disk.may_seal(extent)
            })
            && value.block().is_none_or(|block| self.store.is_leased(client, block))
    }

    pub(crate) fn is_sound_end(&self, client: ClientId, id: TaskId, end: &End) -> bool {
        let task = &self.tasks[&id];
        match end {
            End::Returned(values) => {
                let count = match task.template.returns {
                    Returns::Static(count) => count as usize,
                    Returns::Dynamic | Returns::Streaming => return false,
                };
                values.len() == count
                    && values.iter().all(|(value, _)| self.is_sound(client, id, value))
            }
            End::Exhausted(yielded, value, _) => {
                let is_complete = match task.template.returns {
                    // A replay may be shorter; `finish` says so.
                    Returns::Static(count) => {
                        task.published == u64::from(count) || *yielded < task.published
                    }
                    // Items that nobody could read were not sent.
                    Returns::Dynamic | Returns::Streaming => {
                        *yielded <= task.published || self.streams[&id].least_position().is_none()
                    }
                };
                is_complete && self.is_sound(client, id, value)
            }
            End::Raised { error, .. } => error.is_error() && self.is_sound(client, id, error),
            End::Cancelled(_) => true,
            End::Left(_) => task.submit.actor.is_some(),
        }
    }
}
