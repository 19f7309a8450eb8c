//! Readers of streams: who gets which item, and what may go.
//!
//! Invariants: through one cursor each item is given once, in order, to those who asked, first come
//! first served. A producer with a window is told of each item that is taken, and every producer once
//! that nobody reads.

use crate::action::{Action, Reply};
use crate::event::Held;
use crate::id::{ClientId, RequestId, TaskId};
use crate::node::Node;
use crate::request::Open;
use crate::stream::Next;
use crate::task::Phase;

impl Node {
    /// Takes an item, now or when it is there.
    pub(crate) fn next(
        &mut self,
        client: ClientId,
        request: RequestId,
        task: TaskId,
        at: Option<u64>,
        actions: &mut Vec<Action>,
    ) {
        let held = at.map_or(Held::Stream(task), |at| Held::Cursor(task, at));
        if !self.holds(client, held) {
            return self.violates(client, "it reads a stream that it does not hold", actions);
        }
        let stream = self.streams.get_mut(&task).expect("a held stream is in the table");
        stream.nexts.push_back(Next { client, request, at });
        self.requests.insert((client, request), Open::Next(task));
        self.serve_readers(task, actions);
    }

    pub(crate) fn progress(&self, task: TaskId, at: Option<u64>) -> Reply {
        match self.streams.get(&task) {
            Some(stream) => Reply::Progress { left: stream.left(at), ended: stream.has_ended },
            None => Reply::Progress { left: 0, ended: true },
        }
    }

    /// Something was published, or the stream has ended: answers whoever can be answered.
    pub(crate) fn serve_readers(&mut self, task: TaskId, actions: &mut Vec<Action>) {
        let Some(stream) = self.streams.get_mut(&task) else { return };
        if stream.nexts.is_empty() && stream.watchers.is_empty() && stream.lengths.is_empty() {
            return;
        }
        let mut place = 0;
        while let Some(stream) = self.streams.get_mut(&task)
            && let Some(next) = stream.nexts.get(place).copied()
        {
            if !stream.is_ready(next.at) {
                place += 1;
                continue;
            }
            stream.nexts.remove(place);
            self.requests.remove(&(next.client, next.request));
            let reply = self.give_item(task, next, actions);
            actions.push(Action::Reply(next.client, next.request, reply));
        }
        let Some(stream) = self.streams.get_mut(&task) else { return };
        if stream.has_ended {
            for length in std::mem::take(&mut stream.lengths) {
                self.requests.remove(&(length.client, length.request));
                let reply = self.progress(task, length.at);
                actions.push(Action::Reply(length.client, length.request, reply));
            }
        }
        let watchers = self.streams.get(&task).map(|stream| stream.watchers.clone());
        for (client, request) in watchers.unwrap_or_default() {
            self.look_again(client, request, actions);
        }
    }

    /// The item at a reader's position, or the end; the reader moves on.
    fn give_item(&mut self, task: TaskId, next: Next, actions: &mut Vec<Action>) -> Reply {
        let stream = self.streams.get_mut(&task).expect("the caller has it");
        let at = stream.position(next.at);
        if at >= stream.published {
            return Reply::End;
        }
        let item = task.item(at);
        match next.at {
            None => {
                // The stream's own count becomes the taker's.
                stream.taken += 1;
                stream.kept_from += 1;
                self.enter(next.client, Held::Object(item));
                self.tell_credit(task, actions);
            }
            Some(at) => {
                self.hand_out(next.client, Held::Object(item));
                self.hand_out(next.client, Held::Cursor(task, at + 1));
                self.strike(next.client, Held::Cursor(task, at));
                self.let_go(Held::Cursor(task, at), actions);
            }
        }
        Reply::Item(item)
    }

    /// Lets go of items that no reader can reach, and of the record when it has no reader.
    pub(crate) fn trim(&mut self, task: TaskId, actions: &mut Vec<Action>) {
        let Some(stream) = self.streams.get_mut(&task) else { return };
        let least = stream.least_position();
        let until = least.unwrap_or(u64::MAX).min(stream.published);
        let gone = stream.kept_from..until;
        stream.kept_from = stream.kept_from.max(until);
        let has_ended = stream.has_ended;
        for index in gone {
            self.let_go_object(task.item(index));
        }
        if least.is_some() {
            return;
        }
        if has_ended {
            self.streams.remove(&task);
        } else {
            self.tell_reader(task, actions);
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

    fn tell_credit(&self, task: TaskId, actions: &mut Vec<Action>) {
        let (Some(stream), Some(row)) = (self.streams.get(&task), self.tasks.get(&task)) else {
            return;
        };
        if let (Some(_), Phase::Dispatched(worker, ticket)) = (row.template.window, row.phase) {
            actions.push(Action::Credit(worker, ticket, stream.taken));
        }
    }
}
