//! Who waits for space in the store.
//!
//! ```text
//!   Allocate ─▶ larger than the store: fails at once
//!          └──▶ queue ──fits──▶ lease
//!                 │ ordinary: first come, first served
//!                 │ paused:   producers with unread items of their own; behind all others, and only
//!                 │           up to the reserve, so that those they feed can go on
//!                 └──nothing that runs could free anything──▶ paused ones become ordinary, then the
//!                    first in the queue fails
//! ```
//!
//! Invariants: what fits for the first in the queue is given in the same step in which it came free. A
//! producer without an unread item is never paused, so of a chain the end always moves. An
//! allocation fails only if for two checks in a row, with no event between them, every process that
//! could free something was itself waiting; so it fails within two [`CHECK_NS`] of that, and never hangs.
//! A paused producer whose stream nobody has read for [`PATIENCE_NS`] is ordinary: tasks are eager.

use std::collections::VecDeque;

use crate::action::{Action, Reply};
use crate::event::{Held, Returns};
use crate::id::{ClientId, RequestId, TaskId};
use crate::node::Node;
use crate::request::Open;

/// Time between two looks whether anything can still come free. Longer than drops take to arrive.
const CHECK_NS: u64 = 25_000_000;
/// How long a producer pauses for a reader that takes nothing.
const PATIENCE_NS: u64 = 1_000_000_000;
/// The part of the store that is kept for those who are not paused.
const RESERVE: u64 = 5;

/// An `Allocate` that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    client: ClientId,
    request: RequestId,
    size: u64,
    since_ns: u64,
    /// It paused in vain: treated like any other.
    is_ordinary: bool,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Room {
    waiting: VecDeque<Waiting>,
    /// When to look again whether anything can come free.
    check_ns: Option<u64>,
    /// Nothing could at the last look, and nothing has happened since.
    is_stuck: bool,
}

impl Room {
    /// A client has said something.
    pub(crate) fn note_event(&mut self) {
        self.is_stuck = false;
    }

    /// When the node wants to hear of the time for it.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.check_ns
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn forget(&mut self, client: ClientId, request: RequestId) {
        self.waiting.retain(|row| (row.client, row.request) != (client, request));
    }

    pub(crate) fn contains(&self, client: ClientId, request: RequestId) -> bool {
        self.waiting.iter().any(|row| (row.client, row.request) == (client, request))
    }
}

impl Node {
    /// Whether somebody waits for space: then drops are worth looking for.
    pub fn wants_room(&self) -> bool {
        self.room.len() > 0
    }

    /// Space, now or when there is some.
    pub(crate) fn allocate(
        &mut self,
        client: ClientId,
        request: RequestId,
        size: u64,
        actions: &mut Vec<Action>,
    ) {
        if size > self.store.capacity() {
            let failure = self.store.full(size);
            return self.answer(client, request, Reply::Failed(failure), actions);
        }
        if self.room.waiting.is_empty()
            && !self.is_paused(client, size)
            && let Ok(span) = self.store.lease(client, size)
        {
            self.enter(client, Held::Lease(span.offset));
            return self.answer(client, request, Reply::Lease(span), actions);
        }
        let since_ns = self.now_ns;
        let waiting = Waiting { client, request, size, since_ns, is_ordinary: false };
        self.room.waiting.push_back(waiting);
        self.room.check_ns.get_or_insert(since_ns + CHECK_NS);
        self.open(client, request, Open::Allocate);
    }

    /// The tasks of which one asks: a process does not say which of those that it runs at once.
    fn asking(&self, client: ClientId) -> impl Iterator<Item = TaskId> {
        let row = self.workers.get(&client);
        let actor = row.and_then(|row| row.actor).and_then(|actor| self.actors.get(&actor));
        let at_once = actor.map_or(1, |actor| {
            actor.lanes.iter().fold(0_usize, |sum, lane| sum.saturating_add(lane.limit() as usize))
        });
        let dispatches = row.into_iter().flat_map(|row| row.queue.iter());
        dispatches.take(at_once).map(|dispatch| dispatch.task)
    }

    fn has_unread(&self, task: TaskId) -> bool {
        let row = self.tasks.get(&task);
        let is_streaming = row.is_some_and(|row| row.template.returns == Returns::Streaming);
        let stream = self.streams.get(&task).filter(|_| is_streaming);
        stream.is_some_and(|stream| stream.least_position().is_some() && stream.unread() > 0)
    }

    /// Whether it is a producer with unread items, and the store nearly full. Of an actor that runs
    /// several calls at once each must be one: the one without could be who asks.
    fn is_paused(&self, client: ClientId, size: u64) -> bool {
        let capacity = self.store.capacity();
        if self.store.used() + size <= capacity - capacity / RESERVE {
            return false;
        }
        let mut asking = self.asking(client).peekable();
        asking.peek().is_some() && asking.all(|task| self.has_unread(task))
    }

    /// Gives what is there to those who wait.
    pub(crate) fn serve_room(&mut self, actions: &mut Vec<Action>) {
        while let Some(place) = self.first_in_line() {
            let Waiting { client, request, size, .. } = self.room.waiting[place];
            let Ok(span) = self.store.lease(client, size) else { return };
            self.room.waiting.remove(place);
            self.close(client, request);
            self.enter(client, Held::Lease(span.offset));
            self.answer(client, request, Reply::Lease(span), actions);
        }
        if self.room.waiting.is_empty() {
            self.room.check_ns = None;
        }
    }

    /// The first that is not paused.
    fn first_in_line(&self) -> Option<usize> {
        let waiting = &self.room.waiting;
        waiting.iter().position(|row| row.is_ordinary || !self.is_paused(row.client, row.size))
    }

    /// Time has passed: those who wait in vain are told.
    pub(crate) fn check_room(&mut self, actions: &mut Vec<Action>) {
        let now_ns = self.now_ns;
        if self.room.check_ns.is_none_or(|due_ns| due_ns > now_ns) {
            return;
        }
        self.room.check_ns = Some(now_ns + CHECK_NS);
        for place in 0..self.room.waiting.len() {
            let row = self.room.waiting[place];
            let streams = self.asking(row.client).filter_map(|task| self.streams.get(&task));
            let taken_ns = streams.map(|stream| stream.taken_ns).max().unwrap_or(0);
            if row.since_ns.max(taken_ns) + PATIENCE_NS <= now_ns {
                self.room.waiting[place].is_ordinary = true;
            }
        }
        // Who has paused for long enough may have room at once.
        self.serve_room(actions);
        if self.room.waiting.is_empty() {
            return;
        }
        if self.may_free() {
            self.room.is_stuck = false;
        } else if std::mem::replace(&mut self.room.is_stuck, true) {
            self.room.is_stuck = false;
            self.relieve_room(actions);
        }
        self.serve_room(actions);
    }

    /// Nothing will come free by itself.
    fn relieve_room(&mut self, actions: &mut Vec<Action>) {
        let mut was_paused = false;
        for row in &mut self.room.waiting {
            was_paused |= !std::mem::replace(&mut row.is_ordinary, true);
        }
        if was_paused {
            return;
        }
        let Some(row) = self.room.waiting.pop_front() else { return };
        self.close(row.client, row.request);
        let failure = self.store.full(row.size);
        self.answer(row.client, row.request, Reply::Failed(failure), actions);
    }

    /// Whether any process could still free something: one that is not itself waiting.
    fn may_free(&self) -> bool {
        if self.driver.requests.is_empty() {
            return true;
        }
        self.workers.values().any(|row| {
            let asks = !row.ledger.requests.is_empty();
            let runs = row.blocked.is_none() && !asks;
            !row.queue.is_empty() && (runs || row.is_answered)
        })
    }

    /// Answers a question.
    pub(crate) fn answer(
        &mut self,
        client: ClientId,
        request: RequestId,
        reply: Reply,
        actions: &mut Vec<Action>,
    ) {
        if let Some(row) = self.workers.get_mut(&client) {
            row.is_answered = true;
        }
        actions.push(Action::Reply(client, request, reply));
    }
}
