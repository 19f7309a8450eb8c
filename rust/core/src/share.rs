//! One window for all streams of an actor: how far each producer may go.
//!
//! ```text
//!   free = window − what all streams may have unread
//!   a producer that has used up its reach ─┬─ free: gets half of it, at least 1
//!                                          └─ none free: gets 1 if its reader waits for just that item
//! ```
//!
//! A stream's reach is the number of items that it may have published; its producer is told by
//! `Credit`, as with a window of 1. The first item of a stream is free: until something was read,
//! the node does not know who is waited for.
//!
//! Invariant: what may be unread is at most the window, and one item for each stream that has just
//! begun or whose reader waits. A reader that waits is always served: nothing hangs, whatever the
//! order in which streams are read.

use crate::action::Action;
use crate::id::{ActorId, TaskId};
use crate::node::Node;
use crate::stream::Stream;
use crate::task::Phase;

/// How far the producer of a stream may go, if it shares its actor's window.
#[derive(Debug)]
pub(crate) struct Reach {
    pub(crate) actor: ActorId,
    /// Items that it may have published.
    pub(crate) items: u64,
    /// As its producer was told; None if it was not, or is another one since.
    pub(crate) told: Option<u64>,
}

impl Stream {
    /// Somebody waits for an item, and there is none.
    fn is_waited_for(&self) -> bool {
        let waits = !self.nexts.is_empty() || !self.watchers.is_empty();
        waits && self.in_window() == 0
    }
}

impl Node {
    /// A call has a stream: it may have to share a window.
    pub(crate) fn begin_sharing(&mut self, task: TaskId, actor: ActorId) {
        if let Some(row) = self.actors.get_mut(&actor)
            && row.template.window.is_some()
            && let Some(stream) = self.streams.get_mut(&task)
            && !stream.is_dynamic
        {
            stream.reach = Some(Reach { actor, items: 1, told: None });
            row.streams.push(task);
            self.to_share.push(actor);
        }
    }

    /// Something about a stream has changed that others may depend on.
    pub(crate) fn note_share(&mut self, task: TaskId) {
        let reach = self.streams.get(&task).and_then(|stream| stream.reach.as_ref());
        if let Some(reach) = reach {
            self.to_share.push(reach.actor);
        }
    }

    /// Its producer is a new process, which has been told nothing.
    pub(crate) fn forget_told(&mut self, task: TaskId) {
        if let Some(reach) = self.streams.get_mut(&task).and_then(|stream| stream.reach.as_mut()) {
            reach.told = None;
            self.to_share.push(reach.actor);
        }
    }

    /// Shares windows anew where something has changed.
    pub(crate) fn share_windows(&mut self, actions: &mut Vec<Action>) {
        while let Some(actor) = self.to_share.pop() {
            self.to_share.retain(|other| *other != actor);
            self.share_window(actor, actions);
        }
    }

    fn share_window(&mut self, actor: ActorId, actions: &mut Vec<Action>) {
        let Some(row) = self.actors.get_mut(&actor) else { return };
        let Some(window) = row.template.window else { return };
        let mut streams = std::mem::take(&mut row.streams);
        let mut free = i64::from(window);
        streams.retain(|id| {
            let Some(stream) = self.streams.get(id) else { return false };
            let may_be_unread = may_be_unread(stream);
            free -= may_be_unread.cast_signed();
            !stream.has_ended || may_be_unread > 0
        });
        for id in &streams {
            let stream = self.streams.get_mut(id).expect("kept just now");
            let reads = stream.least_position().is_some();
            let is_waited_for = stream.is_waited_for();
            let consumed = stream.consumed();
            let (published, has_ended) = (stream.published, stream.has_ended);
            let reach = stream.reach.as_mut().expect("it shares a window");
            let (true, Some(task)) = (reads && !has_ended, self.tasks.get(id)) else { continue };
            if published >= reach.items {
                let own = task.template.window.map_or(u64::MAX, u64::from);
                let own_free = own.saturating_sub(reach.items - consumed);
                let least = u64::from(is_waited_for);
                let share = u64::try_from(free).unwrap_or(0).div_ceil(2).min(own_free).max(least);
                reach.items += share;
                free -= share.cast_signed();
            }
            if let Phase::Dispatched(worker, ticket) = task.phase
                && reach.told != Some(reach.items)
            {
                reach.told = Some(reach.items);
                actions.push(Action::Credit(worker, ticket, reach.items - 1));
            }
        }
        self.actors.get_mut(&actor).expect("looked up above").streams = streams;
    }
}

/// Items that lie there unread, or may come to.
fn may_be_unread(stream: &Stream) -> u64 {
    let until = match &stream.reach {
        // The first item is free, also while the call waits for its turn.
        Some(Reach { items: 1, .. }) if stream.published == 0 => 0,
        Some(reach) if !stream.has_ended => reach.items.max(stream.published),
        _ => stream.published,
    };
    if stream.least_position().is_none() { 0 } else { until - stream.consumed() }
}
