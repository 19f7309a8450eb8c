//! Messages from one process to one other, in order, whole or not at all.
//!
//! ```text
//!   position:   head                         tail
//!                │ header │ payload │ pad to 8 │ header │ payload …│ free …
//!   header:     16 bits mark │ 14 bits 0 │ FIRST │ LAST │ 32 bits length of the payload
//!   message:    FIRST|LAST            up to a quarter of the ring: one record
//!               FIRST ▸ … ▸ LAST      longer: fragments, as room comes; put together by the reader
//! ```
//!
//! One writer, one reader. Each keeps its own position privately and only publishes it; what it reads
//! of the other's is copied out and checked before use.
//!
//! Invariant: the reader returns exactly the messages pushed, whole and in order, a prefix of them
//! if the writer died. Everything between node and worker relies on it: a change of state *is* a
//! message, visible or never made.
//!
//! ```text
//! writer                                      reader
//!  W1 room? load head             acquire      R1 load tail                     acquire
//!  W2 copy header and payload in               R2 copy the header out, check it
//!  W3 tail += record              release      R3 copy the payload out
//!                                              R4 head += record                release
//! ```
//!
//! W3 pairs with R1: published bytes are complete. R4 pairs with W1: bytes are overwritten only after
//! they were copied out. *Crashes:* a writer killed before W3 has changed nothing that the reader
//! looks at; killed between two fragments it leaves a message that never ends, and is never returned. A
//! reader killed before R4 leaves a record unread: the worker's ring is gone with it.
//!
//! A writer that finds no room raises `stalled`, and looks again after a fence; the reader, after it
//! has drained some and passed a fence, looks at `stalled` (`take_stalled`). One of the fences is first, so
//! the writer sees the room or the reader sees the flag, and rings.
//!
//! *Hostile bytes.* Whatever the peer writes, `pop` ends, allocates no more than was really received,
//! and says [`Corrupt`], for good. A wrong `head` can only make the writer believe that the ring is
//! full, or overwrite what its peer has not read, to the peer's own harm.
//!
//! Covered by `tests/loom.rs`: `ring_*`; `ring/tests.rs` (garbage); `tests/killed.rs`.

use crate::killpoint::{Point, reached};
use crate::lane::Lane;
use crate::sync::{Ordering, fence};

/// Bytes of each of a worker's rings.
pub const RING_CAPACITY: usize = 256 << 10;
/// The longest message that a reader of a worker's words puts together from fragments.
pub const MAX_MESSAGE: usize = 1 << 30;

/// Bytes of memory that are kept for the next message.
const KEPT: usize = 1 << 20;
const HEADER: usize = 8;
const MARK: u64 = 0x5ca7 << 48;
const FIRST: u64 = 2 << 32;
const LAST: u64 = 1 << 32;
const LENGTH: u64 = (1 << 32) - 1;

/// Bytes that a payload takes in the ring.
const fn record(payload: usize) -> usize {
    HEADER + payload.next_multiple_of(8)
}

/// Both ends of a ring of `capacity` bytes (a power of two, at least 64) in memory of its own, which
/// a forked child shares. For tests and benches; workers use [`Control`](crate::control::Control)'s.
pub fn pair(capacity: usize) -> (RingWriter, RingReader) {
    let (writer, reader) = Lane::pair(capacity);
    (RingWriter::new(writer), RingReader::new(reader))
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Push {
    /// It is out, completely.
    Done,
    /// Not, or not completely. Push the same message again when the reader has made room; it rings
    /// when there is (see [`RingReader::take_stalled`]).
    Full,
}

/// The sending end.
#[derive(Debug)]
pub struct RingWriter {
    lane: Lane,
    tail: u64,
    /// The reader's head as last seen: never ahead of the true one.
    head: u64,
    /// Bytes of the current message that are out already, as fragments.
    sent: usize,
}

impl RingWriter {
    pub(crate) fn new(lane: Lane) -> Self {
        // Fresh from `create` both are 0; a process that takes the end over goes on where it stands.
        let tail = lane.words().tail.0.load(Ordering::Acquire);
        let head = lane.words().reader.0.head.load(Ordering::Acquire);
        Self { lane, tail, head, sent: 0 }
    }

    /// The longest message that travels as one record.
    pub fn whole_max(&self) -> usize {
        self.lane.capacity() / 4 - HEADER
    }

    /// Writes as much of `message` as there is room for. After [`Push::Full`] the next push must be
    /// of the same message: its first part may be out already.
    pub fn push(&mut self, message: &[u8]) -> Push {
        if self.sent == 0 && message.len() <= self.whole_max() {
            if !self.has_room(record(message.len())) {
                return Push::Full;
            }
            self.publish(FIRST | LAST, message);
            return Push::Done;
        }
        assert!(self.sent < message.len(), "a message that was begun is pushed to its end");
        loop {
            let rest = &message[self.sent..];
            // No trickle: a fragment is a quarter of the ring, or all that is left.
            if !self.has_room(record(rest.len().min(self.whole_max()))) {
                return Push::Full;
            }
            let part = rest.len().min(self.room() - HEADER);
            let first = if self.sent == 0 { FIRST } else { 0 };
            let last = if part == rest.len() { LAST } else { 0 };
            self.publish(first | last, &rest[..part]);
            self.sent += part;
            if last == 0 {
                reached(Point::PublishedInPart);
            } else {
                self.sent = 0;
                return Push::Done;
            }
        }
    }

    /// Whether there is room for a message of `len` bytes (for a long one, for its next fragment). If
    /// not, the reader has been asked to ring when half of the ring is free.
    pub fn room_for(&mut self, len: usize) -> bool {
        self.has_room(record(len.min(self.whole_max())))
    }

    /// Whether a long message is partly out, so that only it can be pushed.
    pub fn is_amid_message(&self) -> bool {
        self.sent != 0
    }

    /// Whether the reader has read everything.
    pub fn is_empty(&self) -> bool {
        self.lane.words().reader.0.head.load(Ordering::Acquire) == self.tail
    }

    /// Whether at least half of the ring is unread: time to wake a reader that was left asleep.
    pub fn is_half_full(&mut self) -> bool {
        let half = self.lane.capacity() / 2;
        if self.room() > half {
            return false;
        }
        self.refresh();
        self.room() <= half
    }

    /// Free bytes, at least, as far as the writer knows.
    fn room(&self) -> usize {
        self.lane.capacity() - self.tail.wrapping_sub(self.head) as usize
    }

    fn refresh(&mut self) {
        let head = self.lane.words().reader.0.head.load(Ordering::Acquire); // W1, pairs with R4
        // A head that cannot be is ignored, so `room` stays within the capacity.
        if self.tail.wrapping_sub(head) <= self.lane.capacity() as u64 && head.is_multiple_of(8) {
            self.head = head;
        }
    }

    /// Whether there are `needed` free bytes; if not, the reader has been asked to ring when there are.
    fn has_room(&mut self, needed: usize) -> bool {
        if self.room() >= needed {
            return true;
        }
        self.refresh();
        if self.room() >= needed {
            return true;
        }
        self.lane.words().reader.0.stalled.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst); // pairs with the fence in `take_stalled`
        self.refresh();
        self.room() >= needed
    }

    /// W2 and W3; there is room.
    fn publish(&mut self, flags: u64, payload: &[u8]) {
        debug_assert!(record(payload.len()) <= self.room());
        let header = MARK | flags | payload.len() as u64;
        self.lane.copy_in(self.tail, &header.to_ne_bytes());
        self.lane.copy_in(self.tail.wrapping_add(HEADER as u64), payload);
        self.tail = self.tail.wrapping_add(record(payload.len()) as u64);
        reached(Point::Publishing);
        self.lane.words().tail.0.store(self.tail, Ordering::Release); // W3, pairs with R1
        reached(Point::Published);
    }
}

/// The peer has written what no honest peer writes. The ring is unusable from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// The published position is impossible.
    #[error("corrupt ring: tail {tail} with head {head}")]
    Tail {
        /// The writer's position.
        tail: u64,
        /// The reader's position.
        head: u64,
    },
    /// A header is impossible, here or at all.
    #[error("corrupt ring: header {header:#018x} at {head}")]
    Header {
        /// What stands there.
        header: u64,
        /// The reader's position.
        head: u64,
    },
    /// A message is longer than [`MAX_MESSAGE`].
    #[error("corrupt ring: message longer than {MAX_MESSAGE} B")]
    TooLong,
}

/// The receiving end.
#[derive(Debug)]
pub struct RingReader {
    lane: Lane,
    head: u64,
    /// The writer's tail as last seen: never ahead of the true one.
    tail: u64,
    /// Fragments of the message that has begun.
    partial: Vec<u8>,
    /// Whether a message has begun.
    amid: bool,
    /// Bytes that a message may have.
    longest: usize,
    corrupt: Option<Corrupt>,
}

impl RingReader {
    pub(crate) fn new(lane: Lane) -> Self {
        let head = lane.words().reader.0.head.load(Ordering::Acquire);
        Self {
            lane,
            head,
            tail: head,
            partial: Vec::new(),
            amid: false,
            longest: MAX_MESSAGE,
            corrupt: None,
        }
    }

    /// That of a worker, which believes what the node says, however long it is.
    pub(crate) const fn of_node(mut self) -> Self {
        self.longest = usize::MAX;
        self
    }

    /// Replaces `into` by the next message; false if there is no whole one yet. Once corrupt, always
    /// corrupt. What a long message took goes with the next call.
    pub fn pop(&mut self, into: &mut Vec<u8>) -> Result<bool, Corrupt> {
        into.clear();
        into.shrink_to(KEPT);
        if let Some(corrupt) = self.corrupt {
            return Err(corrupt);
        }
        self.next(into).inspect_err(|&corrupt| {
            self.corrupt = Some(corrupt);
            self.partial = Vec::new();
            into.clear();
        })
    }

    /// Ends: each turn consumes a byte of payload or returns, and a message has at most `longest`.
    fn next(&mut self, into: &mut Vec<u8>) -> Result<bool, Corrupt> {
        loop {
            let Some((len, first, last)) = self.peek()? else { return Ok(false) };
            if first && last {
                self.take(len, into);
                return Ok(true);
            }
            if self.partial.len() + len > self.longest {
                return Err(Corrupt::TooLong);
            }
            let mut partial = std::mem::take(&mut self.partial);
            self.take(len, &mut partial);
            self.amid = !last;
            if last {
                *into = partial;
                return Ok(true);
            }
            self.partial = partial;
        }
    }

    /// R1 and R2: length, FIRST and LAST of the next record, checked.
    fn peek(&mut self) -> Result<Option<(usize, bool, bool)>, Corrupt> {
        if self.head == self.tail {
            self.tail = self.lane.words().tail.0.load(Ordering::Acquire); // R1, pairs with W3
            if self.head == self.tail {
                return Ok(None);
            }
        }
        let (head, tail) = (self.head, self.tail);
        let ready = tail.wrapping_sub(head);
        if ready > self.lane.capacity() as u64 || !ready.is_multiple_of(8) {
            return Err(Corrupt::Tail { tail, head });
        }
        let header = self.lane.word(head);
        let len = (header & LENGTH) as usize;
        let (first, last) = (header & FIRST != 0, header & LAST != 0);
        let sound = header & !(FIRST | LAST | LENGTH) == MARK
            && record(len) as u64 <= ready
            && first != self.amid
            && (len > 0 || first && last);
        if sound { Ok(Some((len, first, last))) } else { Err(Corrupt::Header { header, head }) }
    }

    /// R3 and R4.
    fn take(&mut self, len: usize, into: &mut Vec<u8>) {
        self.lane.copy_out(self.head.wrapping_add(HEADER as u64), len, into);
        self.head = self.head.wrapping_add(record(len) as u64);
        reached(Point::Reading);
        self.lane.words().reader.0.head.store(self.head, Ordering::Release); // R4, pairs with W1
        reached(Point::Read);
    }

    /// Whether there is nothing new. After a full fence (as in a doorbell's recheck) the answer
    /// includes everything published before the peer's fence. A corrupt ring is empty, so that
    /// nobody waits on it.
    pub fn is_empty(&self) -> bool {
        self.corrupt.is_some()
            || (self.head == self.tail
                && self.lane.words().tail.0.load(Ordering::Relaxed) == self.head)
    }

    /// Whether the writer waits for room and now has it (at least half of the ring): then ring its
    /// doorbell, urgently. To be asked after every batch of pops, the last one before sleeping included.
    #[must_use]
    pub fn take_stalled(&mut self) -> bool {
        fence(Ordering::SeqCst); // pairs with the fence in `has_room`
        let words = self.lane.words();
        if words.reader.0.stalled.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let unread = words.tail.0.load(Ordering::Relaxed).wrapping_sub(self.head);
        unread <= self.lane.capacity() as u64 / 2
            && words.reader.0.stalled.swap(0, Ordering::AcqRel) != 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
