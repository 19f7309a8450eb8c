//! The control words of one task in flight: who may run it, may it go on, is it still wanted.
//!
//! ```text
//!   claim:   offer ──▶ QUEUED ──claim (worker)──▶ STARTED        one CAS each; exactly one wins
//!                        └──revoke (node)──▶ REVOKED
//!   credit:  0 ──grant──▶ items, and their bytes, that the stream's consumers have taken so far
//!   cancel:  – ──cancel / drop_stream / close_stream──▶ bits that the worker looks at between two steps
//! ```
//!
//! Every word carries, or is reset for, the *ticket* of the task that holds the slot, so a late look
//! or a late CAS for an earlier task finds a foreign ticket and does nothing. A ticket has 61 bits and is
//! not used twice for one worker.
//!
//! Invariant: of one offered ticket at most one of `claim` and `revoke` ever returns true. The node
//! relies on it to run a task that it took back somewhere else.
//!
//! ```text
//! node                                              worker
//!  N1 offer: credit, cancel, claim = QUEUED  rel.    W1 pop the Run record          acquire
//!  N2 push the Run record to the ring        rel.    W2 claim: CAS QUEUED→STARTED   AcqRel
//!  N3 revoke: CAS QUEUED→REVOKED             AcqRel  W3 run; look at cancel, credit relaxed, acquire
//! ```
//!
//! *Crashes.* A worker killed before W2 leaves QUEUED: the task never ran and goes elsewhere, for free.
//! Killed after W2 it leaves STARTED: the attempt counts. The node looks only after the process is
//! gone, so the word cannot change any more. If the node dies, its workers go with it. A worker that
//! scribbles over its own slots can confuse only the tasks that it holds itself.
//!
//! Covered by `tests/loom.rs`: `claim_*`.

use crate::killpoint::{Point, reached};
use crate::sync::{AtomicU64, Ordering};

/// Low bits of a word that are not its ticket's.
const STATE_BITS: u32 = 3;
const QUEUED: u64 = 1;
const STARTED: u64 = 2;
const REVOKED: u64 = 3;

const CANCELLED: u64 = 1;
const DROPPED: u64 = 2;
const CLOSED: u64 = 4;
const FLAGS: u64 = CANCELLED | DROPPED | CLOSED;

/// One cache line of a worker's control segment. All-zero bytes are a slot that was never offered.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Slot {
    /// `ticket << 3 | state`; written by node and worker, by CAS only once it was offered.
    claim: AtomicU64,
    /// Items consumed; written by the node.
    credit: AtomicU64,
    /// `ticket << 3 | flags`; written by the node.
    cancel: AtomicU64,
    /// Bytes of the items consumed; written by the node, never together with `credit`: each is
    /// harmless at any value, and a producer that reads too little looks again when it is rung.
    credit_bytes: AtomicU64,
}

const fn word(ticket: u64, low: u64) -> u64 {
    ticket << STATE_BITS | low
}

impl Slot {
    /// The largest ticket.
    pub const MAX_TICKET: u64 = u64::MAX >> STATE_BITS;

    /// Node, before it publishes the record: the task of `ticket` may be claimed. Resets the rest.
    pub fn offer(&self, ticket: u64) {
        debug_assert!(ticket <= Self::MAX_TICKET);
        self.credit.store(0, Ordering::Relaxed);
        self.credit_bytes.store(0, Ordering::Relaxed);
        self.cancel.store(word(ticket, 0), Ordering::Relaxed);
        // The ring's tail publishes all three; release costs nothing and spares the argument.
        self.claim.store(word(ticket, QUEUED), Ordering::Release);
        reached(Point::Offered);
    }

    /// Worker: takes the task. False: it was revoked, or the slot is another task's by now.
    #[must_use]
    pub fn claim(&self, ticket: u64) -> bool {
        self.queued_to(STARTED, ticket, Point::Claimed)
    }

    /// Node: takes the task back. False: it has started (or was revoked before).
    #[must_use]
    pub fn revoke(&self, ticket: u64) -> bool {
        self.queued_to(REVOKED, ticket, Point::Revoked)
    }

    fn queued_to(&self, state: u64, ticket: u64, point: Point) -> bool {
        let (queued, next) = (word(ticket, QUEUED), word(ticket, state));
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        let is_ours = self.claim.compare_exchange(queued, next, success, failure).is_ok();
        if is_ours {
            reached(point);
        }
        is_ours
    }

    /// Whether the worker has claimed the task. After the worker's death the answer is final.
    pub fn is_started(&self, ticket: u64) -> bool {
        self.claim.load(Ordering::Acquire) == word(ticket, STARTED)
    }

    /// Node: asks the worker to stop the task. Ring its doorbell if it may be asleep.
    pub fn cancel(&self, ticket: u64) {
        self.raise(ticket, CANCELLED);
    }

    /// Worker: whether the task was cancelled.
    pub fn is_cancelled(&self, ticket: u64) -> bool {
        self.is_raised(ticket, CANCELLED)
    }

    /// Node: the handle of the task's stream is gone; its items need not be serialised any more.
    pub fn drop_stream(&self, ticket: u64) {
        self.raise(ticket, DROPPED);
    }

    /// Worker: whether the handle of the task's stream is gone.
    pub fn is_stream_dropped(&self, ticket: u64) -> bool {
        self.is_raised(ticket, DROPPED)
    }

    /// Node: the generator of the task is to get `GeneratorExit` at its next yield.
    pub fn close_stream(&self, ticket: u64) {
        self.raise(ticket, CLOSED);
    }

    /// Worker: whether the generator of the task is to end.
    pub fn is_stream_closed(&self, ticket: u64) -> bool {
        self.is_raised(ticket, CLOSED)
    }

    fn raise(&self, ticket: u64, flag: u64) {
        // The node is the only writer, so the ticket cannot change between the two lines.
        if self.cancel.load(Ordering::Relaxed) & !FLAGS == word(ticket, 0) {
            self.cancel.fetch_or(flag, Ordering::Release);
            reached(Point::Asked);
        }
    }

    fn is_raised(&self, ticket: u64, flag: u64) -> bool {
        let found = self.cancel.load(Ordering::Acquire);
        found & !FLAGS == word(ticket, 0) && found & flag != 0
    }

    /// Node: the stream's consumers have taken `consumed` items so far. Ring the doorbell
    /// afterwards: a producer whose window was full parks there, with the credit in its recheck.
    pub fn grant(&self, consumed: u64) {
        self.credit.store(consumed, Ordering::Release);
        reached(Point::Granted);
    }

    /// Node: these items were so many bytes. Before `grant`.
    pub fn grant_bytes(&self, bytes: u64) {
        self.credit_bytes.store(bytes, Ordering::Release);
    }

    /// Worker: items that the stream's consumer has taken so far.
    pub fn credit(&self) -> u64 {
        self.credit.load(Ordering::Acquire)
    }

    /// Worker: bytes of these items.
    pub fn credit_bytes(&self) -> u64 {
        self.credit_bytes.load(Ordering::Acquire)
    }
}
