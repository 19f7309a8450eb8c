//! One worker process, as the node sees it.
//!
//! ```text
//!   Starting ──started──▶ Up ──retire──▶ Leaving ──┐
//!       └───────────────── died ◀──────────────────┴── Killed (by force), Condemned (broke the protocol)
//!
//!   queue:  [ running │ dispatched ahead … ]     the oldest ticket is believed to run
//! ```
//!
//! Invariants: a worker with a queue holds the grant of one class, and all its dispatches are of that
//! class; one without a queue holds none. The worker of an actor has that actor's calls, and the grant of
//! the actor's resources for life (actor.rs). Every live ticket's slot (`ticket % SLOTS`) is its own.
//! The ledger has all that its process holds.

use std::collections::VecDeque;

use crate::blocked::Blocked;
use crate::devices::Allotment;
use crate::id::{ActorId, SLOTS, TaskId, Ticket};
use crate::ledger::Ledger;
use crate::memory::Stopped;
use crate::scheduler::ClassId;

/// Where a worker's process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Asked for.
    Starting,
    /// There.
    Up,
    /// Asked to leave; gets no more tasks.
    Leaving,
    /// To be killed because somebody asked for it; what it says until then counts.
    Killed,
    /// To be killed because it broke the protocol; nothing that it says counts any more.
    Condemned,
}

/// One task in a worker's ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dispatch {
    pub(crate) ticket: Ticket,
    pub(crate) task: TaskId,
    pub(crate) estimate_ns: u64,
    /// When it was sent.
    sent_ns: u64,
}

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) life: Life,
    /// The actor whose process it is; no other task runs here.
    pub(crate) actor: Option<ActorId>,
    pub(crate) queue: VecDeque<Dispatch>,
    /// Sum of the estimates in the queue.
    pub(crate) queued_ns: u64,
    pub(crate) grant: Option<ClassId>,
    /// Of the grant. A process has the same ones for life.
    pub(crate) devices: Allotment,
    pub(crate) blocked: Option<Blocked>,
    pub(crate) ledger: Ledger,
    /// Dispatches so far.
    dispatches: u64,
    /// Slots that have been used and are free; the warmest last.
    free_slots: Vec<u64>,
    /// Slots from here on have not been used.
    fresh_slot: u64,
    /// Its key in the list of idle workers.
    pub(crate) idle_key: Option<u64>,
    pub(crate) idle_since_ns: u64,
    /// It has said something, so it is no process that ends before it can begin anything.
    pub(crate) has_spoken: bool,
    /// When its last task ended, as it says.
    pub(crate) free_since_ns: u64,
    /// Until when tasks may be behind its own although another worker idles; in the node's `watched`.
    pub(crate) watched_until_ns: Option<u64>,
    /// On its class's list of workers with room.
    pub(crate) is_roomy: bool,
    /// A question of it was answered, and it has said nothing since: it is about to go on.
    pub(crate) is_answered: bool,
    /// It is being killed for want of memory.
    pub(crate) stopped: Option<Stopped>,
}

impl Worker {
    pub(crate) fn new(actor: Option<ActorId>) -> Self {
        Self {
            life: Life::Starting,
            actor,
            queue: VecDeque::new(),
            queued_ns: 0,
            grant: None,
            devices: Allotment::default(),
            blocked: None,
            ledger: Ledger::default(),
            dispatches: 0,
            free_slots: Vec::new(),
            fresh_slot: 0,
            idle_key: None,
            idle_since_ns: 0,
            has_spoken: false,
            free_since_ns: 0,
            watched_until_ns: None,
            is_roomy: false,
            is_answered: false,
            stopped: None,
        }
    }

    /// Whether it may be given tasks.
    pub(crate) fn is_usable(&self) -> bool {
        self.actor.is_none() && self.is_staying()
    }

    /// Whether nobody has asked it to leave.
    pub(crate) fn is_staying(&self) -> bool {
        matches!(self.life, Life::Starting | Life::Up)
    }

    /// Whether it has never been sent anything to run.
    pub(crate) const fn is_unused(&self) -> bool {
        self.dispatches == 0
    }

    /// Whether a slot is free.
    pub(crate) fn has_slot(&self) -> bool {
        self.fresh_slot < SLOTS || !self.free_slots.is_empty()
    }

    pub(crate) fn push(&mut self, task: TaskId, estimate_ns: u64, sent_ns: u64) -> Ticket {
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.fresh_slot += 1;
            self.fresh_slot - 1
        });
        let ticket = Ticket(self.dispatches * SLOTS + slot);
        self.dispatches += 1;
        self.queued_ns += estimate_ns;
        self.queue.push_back(Dispatch { ticket, task, estimate_ns, sent_ns });
        ticket
    }

    /// Tickets count up.
    fn place_of(&self, ticket: Ticket) -> Option<usize> {
        self.queue.binary_search_by_key(&ticket, |dispatch| dispatch.ticket).ok()
    }

    pub(crate) fn find(&self, ticket: Ticket) -> Option<TaskId> {
        Some(self.queue[self.place_of(ticket)?].task)
    }

    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<TaskId> {
        let place = self.place_of(ticket)?;
        let dispatch = self.queue.remove(place)?;
        self.queued_ns -= dispatch.estimate_ns;
        self.free_slots.push(ticket.0 % SLOTS);
        Some(dispatch.task)
    }

    /// When its task began, as far as is known: when it was sent.
    pub(crate) fn began_ns(&self) -> u64 {
        self.queue.front().map_or(0, |dispatch| dispatch.sent_ns)
    }

    /// When that dispatch was sent; 0 if it is not there.
    pub(crate) fn sent_ns(&self, ticket: Ticket) -> u64 {
        self.place_of(ticket).map_or(0, |place| self.queue[place].sent_ns)
    }

    /// Whether its task is executing, as far as is known.
    pub(crate) fn is_running(&self) -> bool {
        !self.queue.is_empty() && self.blocked.is_none()
    }
}
