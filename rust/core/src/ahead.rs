//! In a client: items that came with one that was asked for, until `next` returns them (the other side
//! is `lend.rs`).
//!
//! ```text
//!   next ─▶ any here? ──yes──▶ the first one, told of as taken
//!             └─no──▶ ask ──answer──▶ what was asked for; the rest stays here
//! ```
//!
//! Invariant: what lies here is still lent by the node, and goes back to it before anything but `next`
//! is done with the handle: a wait, a look, passing it on, closing or dropping it. If another thread has
//! used the handle while one asked, nothing of the answer stays here: that thread may wait for it.

use std::collections::VecDeque;

use crate::action::Items;
use crate::id::{ObjectId, RequestId};
use crate::value::Value;

/// Items that go back, and the request that took them.
pub type Returned = (RequestId, Box<[ObjectId]>);

/// What lies ready for one handle on a stream.
#[derive(Debug, Default)]
pub struct Ahead {
    /// What took the items that are here.
    request: Option<RequestId>,
    items: VecDeque<(ObjectId, Value)>,
    has_window: bool,
    /// Threads that ask the node.
    asking: u32,
    /// One asks, and another thread has used the handle since.
    is_disturbed: bool,
}

/// Items for the caller of `next`.
#[derive(Debug)]
pub struct Taken {
    /// What took them.
    pub request: RequestId,
    /// In order, with their values.
    pub items: Vec<(ObjectId, Value)>,
    /// Their producer waits to hear of it.
    pub has_window: bool,
}

impl Ahead {
    /// Up to so many of those that are here; if there are none, this thread is about to ask.
    pub fn take_or_ask(&mut self, most: usize) -> Option<Taken> {
        if self.items.is_empty() {
            self.is_disturbed |= self.asking > 0;
            self.asking += 1;
            return None;
        }
        let count = most.min(self.items.len());
        let items = self.items.drain(..count).collect();
        let request = self.request?;
        Some(Taken { request, items, has_window: self.has_window })
    }

    /// A thread that asked has its answer, or none: keeps what comes after the first `wanted` items,
    /// or says that it is to go back.
    pub fn answered(
        &mut self,
        request: RequestId,
        answer: Option<&Items>,
        wanted: usize,
    ) -> Option<Returned> {
        self.asking -= 1;
        let is_disturbed = self.is_disturbed;
        self.is_disturbed &= self.asking > 0;
        let Items { ids, values, has_window } = answer?;
        let more = ids.iter().zip(values).skip(wanted);
        if more.len() == 0 {
            return None;
        }
        if is_disturbed || self.asking > 0 {
            return Some((request, more.map(|(id, _)| *id).collect()));
        }
        (self.request, self.has_window) = (Some(request), *has_window);
        self.items.extend(more.map(|(id, value)| (*id, value.clone())));
        None
    }

    /// The handle is used for something else: what is here is to go back.
    pub fn disturb(&mut self) -> Option<Returned> {
        self.is_disturbed |= self.asking > 0;
        let items: Box<[ObjectId]> = self.items.drain(..).map(|(id, _)| id).collect();
        self.request.filter(|_| !items.is_empty()).map(|request| (request, items))
    }
}

#[cfg(test)]
mod tests {
    use smallvec::SmallVec;

    use super::*;
    use crate::id::TaskId;
    use crate::value::Payload;

    const REQUEST: RequestId = RequestId(7);

    fn answer(count: u32) -> Items {
        let value = Value::Data(Payload::Inline((&b"x"[..]).into()));
        let ids: SmallVec<_> = (0..u64::from(count)).map(|index| TaskId(1).item(index)).collect();
        let values = vec![value; ids.len()];
        Items { ids, values, has_window: false }
    }

    fn ids(taken: Option<Taken>) -> Vec<u32> {
        taken.map_or_else(Vec::new, |taken| taken.items.iter().map(|(id, _)| id.index).collect())
    }

    #[test]
    fn what_was_not_asked_for_is_there_at_the_next_call() {
        let mut ahead = Ahead::default();
        assert!(ahead.take_or_ask(1).is_none());
        assert_eq!(ahead.answered(REQUEST, Some(&answer(3)), 1), None);
        assert_eq!(ids(ahead.take_or_ask(1)), [2]);
        assert_eq!(ids(ahead.take_or_ask(9)), [3]);
        assert!(ahead.take_or_ask(1).is_none());
    }

    #[test]
    fn all_goes_back_when_the_handle_is_used_for_something_else() {
        let mut ahead = Ahead::default();
        assert!(ahead.take_or_ask(1).is_none());
        assert_eq!(ahead.answered(REQUEST, Some(&answer(3)), 1), None);
        let back: Box<[ObjectId]> = answer(3).ids[1..].into();
        assert_eq!(ahead.disturb(), Some((REQUEST, back)));
        assert_eq!(ahead.disturb(), None);
    }

    #[test]
    fn nothing_is_kept_from_a_thread_that_asks_as_well() {
        let mut ahead = Ahead::default();
        assert!(ahead.take_or_ask(1).is_none());
        assert!(ahead.take_or_ask(1).is_none());
        let back: Box<[ObjectId]> = answer(2).ids[1..].into();
        assert_eq!(ahead.answered(REQUEST, Some(&answer(2)), 1), Some((REQUEST, back)));
        assert_eq!(ahead.answered(REQUEST, None, 1), None);
        assert!(ahead.take_or_ask(1).is_none(), "who was alone again asks");
        assert_eq!(ahead.answered(REQUEST, Some(&answer(2)), 1), None);
        assert_eq!(ids(ahead.take_or_ask(1)), [2]);
    }

    #[test]
    fn nothing_is_kept_from_a_wait_that_began_while_one_asked() {
        let mut ahead = Ahead::default();
        assert!(ahead.take_or_ask(1).is_none());
        assert_eq!(ahead.disturb(), None);
        assert!(ahead.answered(REQUEST, Some(&answer(2)), 1).is_some());
    }
}
