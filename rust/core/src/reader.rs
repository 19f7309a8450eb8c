//! Readers of streams: who gets which item, what may go, and what its producer is told.
//!
//! Invariants: through one cursor each item is given once, in order, to those who asked, first come
//! first served; only one that its taker never saw is given again (`lend.rs`). A producer with a window
//! is told of each item that is consumed, and every producer once that nobody reads.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use crate::action::{Action, Items, Reply};
use crate::event::{Held, OnDrop, Returns};
use crate::id::{ClientId, ObjectId, RequestId, TaskId};
use crate::node::Node;
use crate::request::Open;
use crate::stream::Next;
use crate::task::Phase;
use crate::value::{Failure, NONE, Payload, Value};

impl Node {
    /// Takes items, now or when one is there.
    pub(crate) fn next(&mut self, task: TaskId, next: Next, actions: &mut Vec<Action>) {
        let held = next.at.map_or(Held::Stream(task), |at| Held::Cursor(task, at));
        if !self.holds(next.client, held) {
            let reply = Reply::Failed(Failure::Unknown);
            return self.answer(next.client, next.request, reply, actions);
        }
        let stream = self.streams.get_mut(&task).expect("a held stream is in the table");
        if stream.is_ready(next.at) {
            // Nobody else waits: it would have been given what there is.
            let reply = self.give(task, next, actions);
            self.answer(next.client, next.request, reply, actions);
            return self.tell_watchers(task, actions);
        }
        match next.at {
            None => stream.nexts.push_back(next),
            Some(_) => stream.own_nexts.push(next),
        }
        self.note_share(task);
        self.open(next.client, next.request, Open::Next(task));
    }

    /// For the driver, without a request: what `next` would answer at once; None if it would wait, or
    /// if the node has not heard of the handle yet.
    pub fn take(
        &mut self,
        task: TaskId,
        at: Option<u64>,
        most: Option<u32>,
        actions: &mut Vec<Action>,
    ) -> Option<Reply> {
        let held = at.map_or(Held::Stream(task), |at| Held::Cursor(task, at));
        let is_ready = self.streams.get(&task).is_some_and(|stream| stream.is_ready(at));
        if !is_ready || !self.holds(ClientId::DRIVER, held) {
            return None;
        }
        self.room.note_event();
        let next = Next { client: ClientId::DRIVER, request: RequestId(0), at, most };
        let there = self.streams[&task].left(at);
        let reply = if at.is_none() && there > 0 {
            // Not lent: they have reached their caller with this.
            let ids = (0..next.count_of(there)).map(|_| self.give_shared(next.client, task));
            let ids = ids.collect();
            self.tell_credit(task, actions);
            Reply::Items(Items { ids, values: Vec::new(), has_window: false })
        } else {
            self.give(task, next, actions)
        };
        self.tell_watchers(task, actions);
        self.tidy(actions);
        Some(reply)
    }

    pub(crate) fn progress(&self, task: TaskId, at: Option<u64>) -> Reply {
        match self.streams.get(&task) {
            Some(stream) => Reply::Progress { left: stream.left(at), ended: stream.is_at_end(at) },
            None => Reply::Progress { left: 0, ended: true },
        }
    }

    /// Something was published, or the stream has ended: answers whoever can be answered.
    pub(crate) fn serve_readers(&mut self, task: TaskId, actions: &mut Vec<Action>) {
        while let Some(stream) = self.streams.get_mut(&task)
            && stream.is_ready(None)
            && let Some(next) = stream.nexts.pop_front()
        {
            self.answer_next(task, next, actions);
        }
        let Some(stream) = self.streams.get_mut(&task) else { return };
        for next in std::mem::take(&mut stream.own_nexts) {
            let stream = self.streams.get_mut(&task).expect("a stream with a cursor is there");
            if stream.is_ready(next.at) {
                self.answer_next(task, next, actions);
            } else {
                stream.own_nexts.push(next);
            }
        }
        let Some(stream) = self.streams.get_mut(&task) else { return };
        if stream.is_over() {
            for length in std::mem::take(&mut stream.lengths) {
                let stream = self.streams.get_mut(&task).expect("nothing has let go of it");
                if stream.is_at_end(length.at) {
                    self.close(length.client, length.request);
                    let reply = self.progress(task, length.at);
                    self.answer(length.client, length.request, reply, actions);
                } else {
                    stream.lengths.push(length);
                }
            }
        }
        self.tell_watchers(task, actions);
    }

    fn answer_next(&mut self, task: TaskId, next: Next, actions: &mut Vec<Action>) {
        self.close(next.client, next.request);
        let reply = self.give(task, next, actions);
        self.answer(next.client, next.request, reply, actions);
    }

    /// The items at a reader's position, or the end; the reader moves on.
    fn give(&mut self, task: TaskId, next: Next, actions: &mut Vec<Action>) -> Reply {
        let there = self.streams[&task].left(next.at);
        if there == 0 {
            return self.end_of(task);
        }
        let Some(at) = next.at else { return Reply::Items(self.lend(task, next, there)) };
        let ids = self.give_own(next.client, task, at, next.count_of(there), actions);
        Reply::Items(Items { ids, values: Vec::new(), has_window: false })
    }

    /// The stream's own count of the item becomes the taker's.
    pub(crate) fn give_shared(&mut self, client: ClientId, task: TaskId) -> ObjectId {
        let now_ns = self.now_ns;
        let stream = self.streams.get_mut(&task).expect("the caller has it");
        let index = stream.returned.pop_first().unwrap_or_else(|| {
            stream.taken += 1;
            stream.kept_from += 1;
            stream.taken - 1
        });
        stream.taken_ns = now_ns;
        let item = task.item(index);
        stream.taken_bytes += self.objects[&item].value().map_or(0, Value::size);
        self.enter(client, Held::Object(item));
        item
    }

    fn give_own(
        &mut self,
        client: ClientId,
        task: TaskId,
        at: u64,
        count: u64,
        actions: &mut Vec<Action>,
    ) -> SmallVec<[ObjectId; 1]> {
        let items: SmallVec<[ObjectId; 1]> =
            (at..at + count).map(|index| task.item(index)).collect();
        for item in &items {
            self.hand_out(client, Held::Object(*item));
        }
        self.hand_out(client, Held::Cursor(task, at + count));
        self.strike(client, Held::Cursor(task, at));
        self.let_go(Held::Cursor(task, at), actions);
        items
    }

    /// How `next` is told of the end.
    fn end_of(&self, task: TaskId) -> Reply {
        let is_streaming = self.streams.get(&task).is_some_and(|stream| !stream.is_dynamic);
        match self.value_of(task.whole()) {
            Some(Value::Data(Payload::Inline(bytes))) if **bytes == *NONE => Reply::End,
            Some(Value::Data(_)) if is_streaming => Reply::Returned,
            _ => Reply::End,
        }
    }

    /// What that request took was never seen by anybody: it goes back to the front.
    pub(crate) fn untake(
        &mut self,
        client: ClientId,
        request: RequestId,
        (task, at): (TaskId, Option<u64>),
        items: &[ObjectId],
        actions: &mut Vec<Action>,
    ) {
        match at {
            None => self.hand_back(client, request, items, actions),
            Some(at) => self.move_back(client, task, at, items, actions),
        }
    }

    /// A cursor of its own goes back from behind the items to where it was.
    fn move_back(
        &mut self,
        client: ClientId,
        task: TaskId,
        at: u64,
        items: &[ObjectId],
        actions: &mut Vec<Action>,
    ) {
        let behind = Held::Cursor(task, at.saturating_add(items.len() as u64));
        let is_there = self.holds(client, behind);
        let is_its = |(index, item): (u64, &ObjectId)| {
            *item == task.item(index) && self.ledger(client).handles.contains(Held::Object(*item))
        };
        if !is_there || !(at..).zip(items).all(is_its) {
            return self.violates(client, "it moves a cursor that it does not have", actions);
        }
        let stream = self.streams.get_mut(&task).expect("a cursor's stream is in the table");
        // What the stream has let go of since is still the taker's, whose count it takes over.
        let gone = at..stream.kept_from.max(at);
        stream.kept_from = stream.kept_from.min(at);
        self.hand_out(client, Held::Cursor(task, at));
        for (index, item) in (at..).zip(items) {
            self.strike(client, Held::Object(*item));
            if !gone.contains(&index) {
                self.let_go_object(*item);
            }
        }
        self.strike(client, behind);
        self.let_go(behind, actions);
    }

    /// Ends a stream for all who hold it.
    pub(crate) fn close_stream(
        &mut self,
        client: ClientId,
        task: TaskId,
        actions: &mut Vec<Action>,
    ) {
        if !self.holds(client, Held::Stream(task)) {
            return;
        }
        let stream = self.streams.get_mut(&task).expect("a held stream is in the table");
        stream.is_closed = true;
        self.trim(task, actions);
        self.serve_readers(task, actions);
        self.to_close.push(task);
    }

    /// Ends the generators on the list: at the next yield, or before they have begun.
    pub(crate) fn close_producers(&mut self, actions: &mut Vec<Action>) {
        while let Some(id) = self.to_close.pop() {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            if std::mem::replace(&mut task.is_closing, true) {
                continue;
            }
            let class = task.class;
            match task.phase {
                Phase::Waiting(_) => self.end_unstarted(id, actions),
                Phase::Ready => {
                    if task.submit.actor.is_none() {
                        self.classes[class as usize].queue.remove(id);
                    }
                    self.end_unstarted(id, actions);
                }
                Phase::Dispatched(worker, ticket) => {
                    actions.push(Action::StreamClosed(worker, ticket));
                    actions.push(Action::Revoke(worker, ticket));
                }
            }
        }
    }

    /// A generator that is closed before it has begun: as in Python, its body never runs.
    pub(crate) fn end_unstarted(&mut self, id: TaskId, actions: &mut Vec<Action>) {
        if self.tasks[&id].template.returns == Returns::Streaming {
            let none = Value::Data(Payload::Inline(NONE.into()));
            self.pending_to_sealed(id.whole(), none, &[], actions);
        }
        self.remove_task(id, actions);
    }

    /// Lets go of items that no reader can reach, and of the record when nobody holds it.
    pub(crate) fn trim(&mut self, task: TaskId, actions: &mut Vec<Action>) {
        let Some(stream) = self.streams.get_mut(&task) else { return };
        let least = stream.least_position();
        let until = least.unwrap_or(u64::MAX).min(stream.published);
        let gone = stream.kept_from..until;
        stream.kept_from = stream.kept_from.max(until);
        let returned = match least {
            None => std::mem::take(&mut stream.returned),
            Some(_) => BTreeSet::new(),
        };
        let (has_ended, has_holder) = (stream.has_ended, stream.has_holder());
        for index in returned.into_iter().chain(gone) {
            self.let_go_object(task.item(index));
        }
        if least.is_some() {
            return;
        }
        self.note_share(task);
        if has_ended && !has_holder {
            self.streams.remove(&task);
        } else if !has_ended && !has_holder {
            if self.tasks[&task].template.on_drop == OnDrop::Close {
                self.to_close.push(task);
            } else {
                self.tell_reader(task, actions);
            }
        }
    }

    /// Tells a producer, when it is dispatched and when it matters, who reads.
    pub(crate) fn tell_reader(&mut self, task: TaskId, actions: &mut Vec<Action>) {
        let Some(stream) = self.streams.get(&task) else { return };
        let Phase::Dispatched(worker, ticket) = self.tasks[&task].phase else { return };
        if stream.least_position().is_none() {
            actions.push(Action::StreamDropped(worker, ticket));
        } else {
            self.tell_credit(task, actions);
        }
    }

    /// The bytes of an object are lost: if it is an unread item, its producer's window has them back now.
    pub(crate) fn skip_lost_item(&mut self, id: ObjectId, len: u64, actions: &mut Vec<Action>) {
        let Some(stream) = self.streams.get_mut(&id.task) else { return };
        let index = u64::from(id.index).wrapping_sub(1);
        if index < stream.published && (index >= stream.taken || stream.returned.contains(&index)) {
            stream.taken_bytes += len;
            self.tell_credit(id.task, actions);
        }
    }

    /// Whether a producer hears of what is consumed.
    pub(crate) fn has_window(&self, task: TaskId) -> bool {
        let template = self.tasks.get(&task).map(|row| &row.template);
        let has_own =
            template.is_some_and(|row| row.window.is_some() || row.window_bytes.is_some());
        has_own || self.streams.get(&task).is_some_and(|stream| stream.reach.is_some())
    }

    pub(crate) fn tell_credit(&mut self, task: TaskId, actions: &mut Vec<Action>) {
        self.note_share(task);
        let (Some(stream), Some(row)) = (self.streams.get(&task), self.tasks.get(&task)) else {
            return;
        };
        let Phase::Dispatched(worker, ticket) = row.phase else { return };
        if row.template.window_bytes.is_some() {
            actions.push(Action::CreditBytes(worker, ticket, stream.consumed_bytes()));
        }
        // Who shares a window is told of its reach instead.
        let has_window = row.template.window.is_some() || row.template.window_bytes.is_some();
        if has_window && stream.reach.is_none() {
            actions.push(Action::Credit(worker, ticket, stream.consumed()));
        }
    }
}
