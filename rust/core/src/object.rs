//! One immutable value, present or still to come, and who waits for it.
//!
//! ```text
//!   submit ─▶ Pending ──seal──▶ Sealed ──count 0──▶ ∅
//!                 └──count 0──▶ ∅          put, yield ─▶ Sealed at once
//!
//!   the bytes of a sealed one:   in the row ┊ in a block ◀──spill, read──▶ in the spill file (spill.rs)
//! ```
//!
//! Invariants: an object is in the table exactly while its count is above 0 (between two steps).
//! Once sealed its value never changes, wherever its bytes are; only if they cannot be read back from the
//! spill file does it become the error that says so. Only a pending object has waiters. Who gives up waiting stays
//! on the list until half of it is such, so that each costs the same however many wait.

use std::sync::Arc;

use crate::event::Held;
use crate::fate::Fate;
use crate::id::{ClientId, RequestId, TaskId};
use crate::value::Value;

/// Who waits for a pending object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A task, as an argument.
    Task(TaskId),
    /// An open `Get` or `Wait`.
    Request(ClientId, RequestId),
}

/// One object.
#[derive(Debug, Default)]
pub(crate) struct Object {
    /// None while pending.
    pub(crate) value: Option<Value>,
    /// Handles, pins, tasks, containing objects, streams and open requests that keep it.
    pub(crate) count: u32,
    /// What the value contains.
    pub(crate) contains: Box<[Held]>,
    pub(crate) waiters: Vec<Waiter>,
    /// Of the error that it holds.
    pub(crate) fate: Option<Arc<Fate>>,
    /// Of the waiters, at most so many are gone: their task or request is in no table.
    pub(crate) gone: u32,
}
