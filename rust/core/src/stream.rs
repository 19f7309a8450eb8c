//! The items of one generator task, from their yield until nobody can read them.
//!
//! ```text
//!   index   0 … gone … k │ kept by the stream … │ published │ still to come …  end
//!                 ▲      └─ least position of any reader    └─ `published`
//!                 └─ `returned`: given out and handed back, read again before the rest
//!
//!   streaming   one cursor, the node's; it counts while any `Held::Stream` is held
//!   dynamic     the task's own object is a reader at 0; each `Held::Cursor(_, i)` is one at i
//! ```
//!
//! Invariants: the stream keeps exactly the items from the least position up to `published`, and
//! those in `returned`; what is yielded when nobody can read (no holder, or closed) is not kept. The
//! record lives while it has a holder or its task runs. An error is the last item, at the index where
//! it happened. An item that is only lent counts as unread for its producer's window, and nobody is
//! told of the end while it could come back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::{ClientId, RequestId};
use crate::lend::FIRST_AHEAD;
use crate::share::Reach;

/// A `Next` that waits for items; `at` is None for the shared cursor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    pub(crate) client: ClientId,
    pub(crate) request: RequestId,
    pub(crate) at: Option<u64>,
    /// At most so many. None asks for one, and may be given some ahead.
    pub(crate) most: Option<u32>,
}

impl Next {
    /// How many it takes of so many that are there.
    pub(crate) fn count_of(&self, there: u64) -> u64 {
        there.min(u64::from(self.most.unwrap_or(1)).max(1))
    }
}

/// A `Wait` that waits for an item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watcher {
    pub(crate) client: ClientId,
    pub(crate) request: RequestId,
    pub(crate) at: Option<u64>,
    /// What it was told last.
    pub(crate) is_ready: bool,
}

/// One generator task's items.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is true or not whatever the others are")]
pub(crate) struct Stream {
    pub(crate) is_dynamic: bool,
    /// Items there have been.
    pub(crate) published: u64,
    /// Bytes of all items that were kept when they were published.
    pub(crate) published_bytes: u64,
    /// No more will come.
    pub(crate) has_ended: bool,
    /// By a holder: nothing more can be read, and the generator is to end.
    pub(crate) is_closed: bool,
    /// Position of the shared cursor.
    pub(crate) taken: u64,
    /// Bytes of the items taken, those in `returned` not counted.
    pub(crate) taken_bytes: u64,
    /// Items taken that have not reached their callers yet, as far as the node knows.
    pub(crate) lent: u64,
    /// Their bytes when they were taken.
    pub(crate) lent_bytes: u64,
    /// How many a sole reader is given next: twice as many each time, as long as it reads them all.
    pub(crate) ahead: u32,
    /// When an item was last taken.
    pub(crate) taken_ns: u64,
    /// Items before `taken` that their takers handed back.
    pub(crate) returned: BTreeSet<u64>,
    /// `Held::Stream` anywhere.
    pub(crate) handles: u32,
    /// `Held::Cursor` anywhere, by position.
    pub(crate) cursors: BTreeMap<u64, u32>,
    /// The task's own object is in the table (dynamic only).
    pub(crate) has_root: bool,
    /// First item that the stream still keeps.
    pub(crate) kept_from: u64,
    /// Those that wait for the shared cursor: first come, first served.
    pub(crate) nexts: VecDeque<Next>,
    /// Those that wait with a cursor of their own.
    pub(crate) own_nexts: Vec<Next>,
    /// Open `Length` requests.
    pub(crate) lengths: Vec<Next>,
    /// How far its producer may go, if it shares a window with others.
    pub(crate) reach: Option<Reach>,
    /// Open `Wait` requests with this stream among what they wait for.
    pub(crate) watchers: Vec<Watcher>,
}

impl Stream {
    pub(crate) const fn new(is_dynamic: bool) -> Self {
        Self {
            is_dynamic,
            published: 0,
            published_bytes: 0,
            has_ended: false,
            is_closed: false,
            taken: 0,
            taken_bytes: 0,
            lent: 0,
            lent_bytes: 0,
            ahead: FIRST_AHEAD,
            taken_ns: 0,
            returned: BTreeSet::new(),
            handles: 0,
            cursors: BTreeMap::new(),
            has_root: is_dynamic,
            kept_from: 0,
            nexts: VecDeque::new(),
            own_nexts: Vec::new(),
            lengths: Vec::new(),
            reach: None,
            watchers: Vec::new(),
        }
    }

    /// Whether any handle on it is left.
    pub(crate) fn has_holder(&self) -> bool {
        self.handles > 0 || self.has_root || !self.cursors.is_empty()
    }

    /// The least position of any reader; None if nobody can read.
    pub(crate) fn least_position(&self) -> Option<u64> {
        if self.is_closed {
            return None;
        }
        if !self.is_dynamic {
            return (self.handles > 0).then_some(self.taken);
        }
        if self.has_root { Some(0) } else { self.cursors.keys().next().copied() }
    }

    /// The index that a reader gets next.
    pub(crate) fn position(&self, at: Option<u64>) -> u64 {
        at.unwrap_or_else(|| self.returned.first().copied().unwrap_or(self.taken))
    }

    /// Whether `next` from there would be answered at once.
    pub(crate) fn is_ready(&self, at: Option<u64>) -> bool {
        self.is_closed || self.position(at) < self.published || self.is_at_end(at)
    }

    /// Whether no item will come, nor come back, for a reader that has read what is there.
    pub(crate) fn is_at_end(&self, at: Option<u64>) -> bool {
        self.is_closed || self.has_ended && (at.is_some() || self.lent == 0)
    }

    /// Items from there on.
    pub(crate) fn left(&self, at: Option<u64>) -> u64 {
        match at {
            _ if self.is_closed => 0,
            Some(at) => self.published.saturating_sub(at),
            None => self.unread(),
        }
    }

    /// Whether no item will be published.
    pub(crate) fn is_over(&self) -> bool {
        self.has_ended || self.is_closed
    }

    /// Items behind the shared cursor.
    pub(crate) fn unread(&self) -> u64 {
        self.published - self.taken + self.returned.len() as u64
    }

    /// Items that have reached their callers: what its producer has credit for.
    pub(crate) fn consumed(&self) -> u64 {
        self.taken - self.returned.len() as u64 - self.lent
    }

    /// Items that count as unread for its producer.
    pub(crate) fn in_window(&self) -> u64 {
        self.published - self.consumed()
    }

    /// Bytes of those consumed.
    pub(crate) fn consumed_bytes(&self) -> u64 {
        self.taken_bytes.saturating_sub(self.lent_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_of_a_dynamic_generator_reads_from_the_start() {
        let mut stream = Stream::new(true);
        stream.cursors.insert(7, 1);
        assert_eq!(stream.least_position(), Some(0));
        stream.has_root = false;
        assert_eq!(stream.least_position(), Some(7));
        stream.cursors.clear();
        assert_eq!(stream.least_position(), None);
    }

    #[test]
    fn end_is_ready_without_an_item() {
        let mut stream = Stream::new(false);
        assert!(!stream.is_ready(None));
        stream.has_ended = true;
        assert!(stream.is_ready(None));
        assert_eq!(stream.left(None), 0);
    }

    #[test]
    fn handed_back_item_is_next_and_counts_as_unread() {
        let mut stream = Stream::new(false);
        (stream.published, stream.taken) = (5, 4);
        stream.returned.insert(2);
        assert_eq!(stream.position(None), 2);
        assert_eq!((stream.unread(), stream.consumed()), (2, 3));
        stream.returned.clear();
        assert_eq!(stream.position(None), 4);
    }

    #[test]
    fn end_waits_for_what_is_lent() {
        let mut stream = Stream::new(false);
        (stream.published, stream.taken, stream.lent, stream.has_ended) = (5, 5, 1, true);
        assert!(!stream.is_ready(None));
        assert_eq!(stream.consumed(), 4);
        stream.lent = 0;
        assert!(stream.is_ready(None));
        assert_eq!(stream.consumed(), 5);
    }

    #[test]
    fn closed_stream_has_nothing_left_and_no_reader() {
        let mut stream = Stream::new(false);
        (stream.published, stream.handles) = (5, 1);
        stream.is_closed = true;
        assert_eq!((stream.left(None), stream.least_position()), (0, None));
        assert!(stream.is_ready(None) && stream.has_holder());
    }
}
