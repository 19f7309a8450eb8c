//! Items on their way from the shared cursor of a stream to those who called `next`.
//!
//! ```text
//!   unread ──next──▶ lent ──Taken──▶ consumed: the producer has room for one more
//!     ▲                │
//!     └── in front ◀───┘ Untake (the `next` ended without it), or the process died
//! ```
//!
//! A process that is the only reader is sent items ahead of its next `next`, each time twice as many,
//! as long as it reads them all; with them, and with any item for a worker, goes its value if it is small.
//!
//! Invariants: what is lent counts as unread for windows, so that what comes back never exceeds one.
//! While an item is lent no other reader is told of the end: it could still come back. Nothing is
//! sent ahead while anybody else could read it, or waits for it.

use smallvec::SmallVec;

use crate::action::{Action, Items};
use crate::event::Held;
use crate::id::{ClientId, ObjectId, RequestId, TaskId, Ticket};
use crate::node::Node;
use crate::stream::{Next, Stream};
use crate::value::{Payload, Value};

/// Items that a sole reader is given at first, the one that it asked for included.
pub(crate) const FIRST_AHEAD: u32 = 2;
/// Items ahead, at most.
const MOST_AHEAD: u32 = 64;
/// Bytes of values that go with items.
const VALUES_BYTES: u64 = 16 << 10;

/// What one request took from a shared cursor and has not reached its caller.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) stream: TaskId,
    /// In order, each with the size that it had.
    pub(crate) items: SmallVec<[(ObjectId, u64); 1]>,
}

impl Stream {
    fn note_lent(&mut self, size: u64) {
        self.lent += 1;
        self.lent_bytes += size;
    }

    fn note_settled(&mut self, size: u64) {
        self.lent -= 1;
        self.lent_bytes -= size;
    }
}

impl Node {
    /// The next items of the shared cursor, of which so many are there: what was asked for, and what
    /// may be sent ahead. They are lent.
    pub(crate) fn lend(&mut self, task: TaskId, next: Next, there: u64) -> Items {
        let is_worker = next.client != ClientId::DRIVER;
        let values = if is_worker { self.small_values(task, there) } else { Vec::new() };
        let count = match next.most {
            None if is_worker && self.is_sole_reader(next.client, task) => {
                let stream = self.streams.get_mut(&task).expect("the caller has it");
                let ahead = u64::from(stream.ahead).min(values.len() as u64).max(1);
                stream.ahead = (stream.ahead * 2).min(MOST_AHEAD);
                ahead
            }
            _ => next.count_of(there),
        };
        let ids: SmallVec<[ObjectId; 1]> =
            (0..count).map(|_| self.give_shared(next.client, task)).collect();
        let sized = ids.iter().map(|id| (*id, self.size_of(*id))).collect();
        let lent = Lent { stream: task, items: sized };
        let stream = self.streams.get_mut(&task).expect("the caller has it");
        for (_, size) in &lent.items {
            stream.note_lent(*size);
        }
        self.note_share(task);
        self.ledger(next.client).lent.insert(next.request, lent);
        let has_window = self.has_window(task);
        Items { values: values.into_iter().take(ids.len()).collect(), ids, has_window }
    }

    /// Values of the first items that are there, as far as they are small and no errors.
    fn small_values(&self, task: TaskId, there: u64) -> Vec<Value> {
        let stream = &self.streams[&task];
        let fresh = stream.taken..stream.published;
        let indices = stream.returned.iter().copied().chain(fresh);
        let mut room = VALUES_BYTES;
        let small = indices.map_while(|index| {
            let value = self.objects[&task.item(index)].value()?;
            let Value::Data(Payload::Inline(bytes)) = value else { return None };
            room = room.checked_sub(bytes.len() as u64)?;
            Some(value.clone())
        });
        small.take(there.min(u64::from(MOST_AHEAD)) as usize).collect()
    }

    /// Whether only that client could take the next item: it has the one handle that there is, but for
    /// those in the arguments of what it runs, and nothing else of it waits for an item.
    fn is_sole_reader(&self, client: ClientId, task: TaskId) -> bool {
        let held = Held::Stream(task);
        let (stream, row) = (&self.streams[&task], &self.workers[&client]);
        if !stream.nexts.is_empty() || !stream.watchers.is_empty() {
            return false;
        }
        let actor = row.actor.and_then(|actor| self.actors.get(&actor));
        let running = row.queue.front().and_then(|dispatch| self.tasks.get(&dispatch.task));
        let constructor = actor.map(|actor| &actor.creation.submit);
        let submits = constructor.into_iter().chain(running.map(|task| &task.submit));
        let arguments = submits.flat_map(|submit| &submit.holds).filter(|other| **other == held);
        row.ledger.handles.count(held) == 1 && stream.handles as usize == 1 + arguments.count()
    }

    fn size_of(&self, item: ObjectId) -> u64 {
        self.objects[&item].value().map_or(0, Value::size)
    }

    /// Items that a `next` took have reached their caller.
    pub(crate) fn lent_to_consumed(
        &mut self,
        client: ClientId,
        request: RequestId,
        count: u32,
        by: Option<Ticket>,
        actions: &mut Vec<Action>,
    ) {
        let count = count as usize;
        let lent = self.ledger(client).lent.get_mut(&request);
        let Some(lent) = lent.filter(|lent| 0 < count && count <= lent.items.len()) else {
            return self.violates(client, "it consumes what it was not lent", actions);
        };
        let stream = lent.stream;
        let consumed: SmallVec<[(ObjectId, u64); 1]> = lent.items.drain(..count).collect();
        if lent.items.is_empty() {
            self.ledger(client).lent.remove(&request);
        }
        // The task may have ended, and a thread of it reads on.
        let task = by.and_then(|ticket| self.workers.get(&client)?.find(ticket));
        if let Some(task) = task.and_then(|id| self.tasks.get_mut(&id)) {
            task.consume(stream, consumed.len() as u64);
        }
        self.settle_lent(stream, consumed.iter().map(|(_, size)| *size), actions);
    }

    /// Items are lent no more: whoever waited for that goes on.
    fn settle_lent(
        &mut self,
        task: TaskId,
        sizes: impl Iterator<Item = u64>,
        actions: &mut Vec<Action>,
    ) {
        let Some(stream) = self.streams.get_mut(&task) else { return };
        sizes.for_each(|size| stream.note_settled(size));
        let may_be_the_end = stream.has_ended && stream.lent == 0;
        self.tell_credit(task, actions);
        if may_be_the_end {
            self.serve_readers(task, actions);
        }
    }

    /// What that request was lent was never seen by anybody: it goes back to the front.
    pub(crate) fn hand_back(
        &mut self,
        client: ClientId,
        request: RequestId,
        items: &[ObjectId],
        actions: &mut Vec<Action>,
    ) {
        let lent = self.ledger(client).lent.get_mut(&request);
        let is_lent = |lent: &&mut Lent| {
            let of = lent.items.iter().rev().zip(items.iter().rev());
            items.len() <= lent.items.len() && of.clone().all(|((known, _), id)| known == id)
        };
        let Some(lent) = lent.filter(is_lent) else {
            return self.violates(client, "it hands back what it was not lent", actions);
        };
        let stream = lent.stream;
        let rest = lent.items.len() - items.len();
        let items = lent.items.drain(rest..).collect();
        if rest == 0 {
            self.ledger(client).lent.remove(&request);
        }
        self.lent_to_returned(client, Lent { stream, items }, actions);
    }

    /// A worker is gone: what it was lent goes back.
    pub(crate) fn hand_back_lent(&mut self, worker: ClientId, actions: &mut Vec<Action>) {
        for lent in std::mem::take(&mut self.ledger(worker).lent).into_values() {
            self.lent_to_returned(worker, lent, actions);
        }
    }

    /// The taker's count becomes the stream's, if that still keeps items.
    fn lent_to_returned(&mut self, client: ClientId, lent: Lent, actions: &mut Vec<Action>) {
        for (item, size) in lent.items {
            self.strike(client, Held::Object(item));
            let index = u64::from(item.index) - 1;
            let now = self.objects.get(&item).and_then(|row| row.value()).map_or(0, Value::size);
            let Some(stream) = self.streams.get_mut(&lent.stream) else {
                self.let_go_object(item);
                continue;
            };
            stream.note_settled(size);
            stream.ahead = FIRST_AHEAD;
            if stream.least_position().is_none() {
                self.let_go_object(item);
                continue;
            }
            stream.returned.insert(index);
            // Bytes that were lost meanwhile are in no window any more.
            stream.taken_bytes = stream.taken_bytes.saturating_sub(now);
        }
        self.tell_credit(lent.stream, actions);
        self.serve_readers(lent.stream, actions);
    }
}
