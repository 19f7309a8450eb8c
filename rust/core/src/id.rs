//! Names of things. Every id is made locally by the client that needs it, without asking anyone.
//!
//! ```text
//!   ClientId   one process that speaks to the node; 0 is the driver, workers count up from 1
//!   TaskId     (client, counter) in one word: 24 bits of client, 40 bits of counter
//!   ObjectId   (task, index): index 0 is the task as a whole, index i+1 its i-th return or yield
//!   ActorId    the task that makes the actor
//! ```
//!
//! Invariant: ids are never used twice within a session. A `put` takes a fresh `TaskId` as its
//! origin, so producer and consumer of a stream agree on an item's id without a message.

use serde::{Deserialize, Serialize};

/// One process that speaks to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClientId(pub u32);

impl ClientId {
    /// The process that hosts the node.
    pub const DRIVER: Self = Self(0);
    /// Ids above this do not fit into a [`TaskId`].
    pub const MAX: Self = Self((1 << 24) - 1);
}

/// One task, or one `put`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId(pub u64);

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl TaskId {
    const COUNTER_BITS: u32 = 40;
    /// Set in the counter of a call of an actor, so that a ref tells what it comes from.
    const CALL: u64 = 1 << (Self::COUNTER_BITS - 1);

    /// The `counter`-th id made by `client`; counters start at 1, so no id is 0.
    pub const fn new(client: ClientId, counter: u64) -> Self {
        debug_assert!(client.0 <= ClientId::MAX.0);
        debug_assert!(counter < 1 << Self::COUNTER_BITS);
        Self((client.0 as u64) << Self::COUNTER_BITS | counter)
    }

    /// The `counter`-th id made by `client`, for a call of an actor.
    pub const fn new_call(client: ClientId, counter: u64) -> Self {
        Self(Self::new(client, counter).0 | Self::CALL)
    }

    /// Whether it is a call of an actor.
    pub const fn is_call(self) -> bool {
        self.0 & Self::CALL != 0
    }

    /// The client that made this id.
    pub const fn client(self) -> ClientId {
        ClientId((self.0 >> Self::COUNTER_BITS) as u32)
    }

    /// The task as a whole: the dynamic ref, or `completed()` of a stream.
    pub const fn whole(self) -> ObjectId {
        ObjectId { task: self, index: 0 }
    }

    /// So many returns or yields have objects of their own, an error at the end among them.
    pub const MOST_ITEMS: u64 = u32::MAX as u64;

    /// The object of return or yield number `index`, which is less than [`MOST_ITEMS`](Self::MOST_ITEMS).
    pub const fn item(self, index: u64) -> ObjectId {
        ObjectId { task: self, index: index as u32 + 1 }
    }
}

/// One actor: the task that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActorId(pub TaskId);

/// One immutable value, present or still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectId {
    /// The task or `put` that makes the value.
    pub task: TaskId,
    /// 0 for the task as a whole, i+1 for its i-th return or yield.
    pub index: u32,
}

/// What `.options(...)` decided, registered once by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TemplateId(pub u64);

/// Content hash of an exported function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FunctionId(pub u128);

/// One question of a client that is answered later; counted by that client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// Claim slots of a worker.
pub const SLOTS: u64 = 1 << 16;

/// One dispatch of a task to a worker. Its remainder by [`SLOTS`] names its slot; the rest
/// is counted up per worker, so a slot's claim word never mistakes an old dispatch for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ticket(pub u64);
