//! The items of one generator task, from their yield until nobody can read them.
//!
//! ```text
//!   index   0 … gone … k │ kept by the stream … │ published │ still to come …  end
//!                        └─ least position of any reader    └─ `published`
//!
//!   streaming   one cursor, the node's; it counts while any `Held::Stream` is held
//!   dynamic     the task's own object is a reader at 0; each `Held::Cursor(_, i)` is one at i
//! ```
//!
//! Invariants: the stream keeps exactly the items from the least position up to `published`; what is
//! yielded when nobody can read is not kept. The record lives while it has a reader or its task runs.
//! An error is the last item, at the index where it happened.

use std::collections::{BTreeMap, VecDeque};

use crate::id::{ClientId, RequestId};

/// A `Next` that waits for its item; `at` is None for the shared cursor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    pub(crate) client: ClientId,
    pub(crate) request: RequestId,
    pub(crate) at: Option<u64>,
}

/// One generator task's items.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) is_dynamic: bool,
    /// Items there have been.
    pub(crate) published: u64,
    /// No more will come.
    pub(crate) has_ended: bool,
    /// Position of the shared cursor.
    pub(crate) taken: u64,
    /// `Held::Stream` anywhere.
    pub(crate) handles: u32,
    /// `Held::Cursor` anywhere, by position.
    pub(crate) cursors: BTreeMap<u64, u32>,
    /// The task's own object is in the table (dynamic only).
    pub(crate) has_root: bool,
    /// First item that the stream still keeps.
    pub(crate) kept_from: u64,
    /// First come, first served.
    pub(crate) nexts: VecDeque<Next>,
    /// Open `Length` requests.
    pub(crate) lengths: Vec<Next>,
    /// Open `Wait` requests with this stream among what they wait for.
    pub(crate) watchers: Vec<(ClientId, RequestId)>,
}

impl Stream {
    pub(crate) const fn new(is_dynamic: bool) -> Self {
        Self {
            is_dynamic,
            published: 0,
            has_ended: false,
            taken: 0,
            handles: 0,
            cursors: BTreeMap::new(),
            has_root: is_dynamic,
            kept_from: 0,
            nexts: VecDeque::new(),
            lengths: Vec::new(),
            watchers: Vec::new(),
        }
    }

    /// The least position of any reader; None if there is none.
    pub(crate) fn least_position(&self) -> Option<u64> {
        if !self.is_dynamic {
            return (self.handles > 0).then_some(self.taken);
        }
        if self.has_root { Some(0) } else { self.cursors.keys().next().copied() }
    }

    /// Where a reader stands.
    pub(crate) fn position(&self, at: Option<u64>) -> u64 {
        at.unwrap_or(self.taken)
    }

    /// Whether `next` from there would be answered at once.
    pub(crate) fn is_ready(&self, at: Option<u64>) -> bool {
        self.has_ended || self.position(at) < self.published
    }

    /// Items from there on.
    pub(crate) fn left(&self, at: Option<u64>) -> u64 {
        self.published.saturating_sub(self.position(at))
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
}
