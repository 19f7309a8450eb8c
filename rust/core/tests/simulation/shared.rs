//! What processes have in common: the seed's program and memory, and what they share with the node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skate_core::action::{Reply, Run};
use skate_core::event::{Held, Returns};
use skate_core::id::{ActorId, ObjectId, RequestId, TaskId, TemplateId};
use skate_core::value::Payload;

use super::io::Memory;
use super::program::{Callable, Class, Plan};
use super::random::Random;

/// A message from the node that waits to be read.
#[derive(Debug)]
pub(crate) enum Letter {
    Run(Box<Run>),
    Reply(RequestId, Reply),
    Leave,
}

/// Where a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Birth {
    /// Asked for.
    Ordered,
    /// It runs, which the node may not know yet.
    Forked,
    /// It runs, and the node was told.
    Reported,
}

/// A claim slot: the words that node and worker share.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) claim: Claim,
    pub(crate) credit: u64,
    pub(crate) credit_bytes: u64,
    pub(crate) is_dropped: bool,
    pub(crate) is_closed: bool,
    pub(crate) is_cancelled: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Claim {
    #[default]
    Queued,
    Started,
    Revoked,
}

/// Whether a process is about to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    No,
    /// The node has asked: it does to the end what it has begun.
    Asked,
    /// Its own code has ended it: what else it runs is abandoned.
    ByItself,
}

/// What all clients share: the seed's program, and memory.
pub(crate) struct Shared {
    pub(crate) random: Random,
    /// What clients have defined.
    pub(crate) callables: BTreeMap<TemplateId, Callable>,
    /// What the node has said that nobody uses any more.
    pub(crate) undefined: BTreeSet<TemplateId>,
    /// Keys of the placement groups of which the node was told: before that nobody has a handle on them.
    pub(crate) reserved: BTreeSet<Arc<str>>,
    pub(crate) functions: Vec<Callable>,
    pub(crate) classes: Vec<Class>,
    pub(crate) plans: BTreeMap<TaskId, Vec<Plan>>,
    /// What the arguments of each call contain.
    pub(crate) holds_of: BTreeMap<TaskId, Box<[Held]>>,
    /// Streams that are closed when nobody holds them: nobody can say when that is, so nobody asks for
    /// their `completed()`.
    pub(crate) closing: BTreeSet<TaskId>,
    /// Which class an actor is of.
    pub(crate) class_of: BTreeMap<ActorId, usize>,
    pub(crate) memory: Memory,
    pub(crate) actors_left: u32,
    pub(crate) calls_left: u32,
    pub(crate) stored: u64,
    pub(crate) is_pressed: bool,
    /// Objects that could not be read back: their part of the file may be another value's.
    pub(crate) lost: BTreeSet<ObjectId>,
    pub(crate) cancels: u64,
    pub(crate) kills: u64,
    pub(crate) closes: u64,
}

impl Shared {
    /// Whether those bytes of an object are no longer there.
    pub(crate) fn is_lost(&self, id: ObjectId, payload: &Payload) -> bool {
        matches!(payload, Payload::Spilled(_)) && self.lost.contains(&id)
    }

    /// Of the actor whose streams share it, if the call has one.
    pub(crate) fn window_of(&self, actor: Option<ActorId>, returns: Returns) -> Option<u64> {
        let class = &self.classes[self.class_of[&actor?]];
        class.constructor.template.window.filter(|_| returns == Returns::Streaming).map(u64::from)
    }
}
