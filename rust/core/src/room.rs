//! Who waits for space in the store, and who gives way.
//!
//! ```text
//!   fetch ────▶ wanted ──space──▶ read (spill.rs)       before all others: readers free things
//!                  └── none can come free ──▶ the reader's own memory
//!   Allocate ─▶ larger than the store: a part of the spill file, if that will do, or fails at once
//!          └──▶ queue ──fits──▶ lease
//!                 │ ordinary: first come, first served. Drops on their way get GRACE, then idle values
//!                 │           are spilled until it fits
//!                 │ paused:   producers with unread items of their own; behind all others, and only
//!                 │           up to the reserve, so that those they feed can go on
//!                 └──nothing can be spilled, and nothing that runs could free anything──▶ paused ones
//!                    become ordinary, then the first in the queue writes its value to the spill file
//!                    itself, or fails
//! ```
//!
//! Invariants: what fits for the first in the queue is given in the same step in which it came free. So the
//! order of A9 holds: first recycle, then pause, then spill. A
//! producer without an unread item is never paused, so of a chain the end always moves. An
//! allocation fails only if for two checks in a row, with no event between them, nothing could be spilled
//! and every process that could free something was itself waiting; so it fails within two [`CHECK_NS`] of that,
//! and never hangs. A paused producer is ordinary when nobody has read its stream for [`PATIENCE_NS`]
//! (tasks are eager), or when all who could read it wait for something else.

use std::collections::VecDeque;

use crate::action::{Action, Reply};
use crate::event::{Held, Returns, Waitable, Within};
use crate::id::{ClientId, ObjectId, RequestId, TaskId};
use crate::ledger::Ledger;
use crate::node::Node;
use crate::request::Open;
use crate::value::{Failure, Span, Trouble};

/// What was dropped may be on its way: so long nothing is spilled for an allocation.
const GRACE_NS: u64 = 2_000_000;
/// Time between two looks whether anything can still come free. Longer than drops take to arrive.
const CHECK_NS: u64 = 25_000_000;
/// How long a producer pauses for a reader that takes nothing.
const PATIENCE_NS: u64 = 1_000_000_000;
/// The part of the store that is kept for those who are not paused.
const RESERVE: u64 = 5;

/// An `Allocate` that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) client: ClientId,
    pub(crate) request: RequestId,
    pub(crate) size: u64,
    within: Within,
    since_ns: u64,
    /// It paused in vain: treated like any other.
    is_ordinary: bool,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Room {
    waiting: VecDeque<Waiting>,
    /// Spilled objects that are to be read into memory.
    wanted: VecDeque<ObjectId>,
    /// When those who wait have waited for long enough for others to give way.
    spill_ns: Option<u64>,
    /// When to look again whether anything can come free.
    check_ns: Option<u64>,
    /// Until then who does not fit goes to disk at the next look: somebody has waited in vain just now.
    hopeless_ns: u64,
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
        self.check_ns.into_iter().chain(self.spill_ns).min()
    }

    /// An object is to be read as soon as there is space for it.
    pub(crate) fn want(&mut self, object: ObjectId) {
        self.wanted.push_back(object);
    }

    pub(crate) fn first_wanted(&self) -> Option<ObjectId> {
        self.wanted.front().copied()
    }

    /// The first one is wanted no more.
    pub(crate) fn unwant(&mut self) {
        self.wanted.pop_front();
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
        (size, within): (u64, Within),
        actions: &mut Vec<Action>,
    ) {
        let since_ns = self.now_ns;
        let waiting = Waiting { client, request, size, within, since_ns, is_ordinary: false };
        if size > self.store.capacity() {
            return self.settle(waiting, actions);
        }
        if self.room.waiting.is_empty()
            && !self.is_paused(client, size)
            && let Some(span) = self.store.lease(client, size)
        {
            self.enter(client, Held::Lease(span.offset));
            return self.answer(client, request, Reply::Lease(span), actions);
        }
        if self.room.waiting.is_empty() {
            self.room.spill_ns = Some(since_ns + GRACE_NS);
            self.room.check_ns = Some(since_ns + CHECK_NS);
        }
        self.room.waiting.push_back(waiting);
        self.open(client, request, Open::Allocate);
    }

    /// There is no room in memory, and will be none: the disk, or why not.
    fn settle(&mut self, waiting: Waiting, actions: &mut Vec<Action>) {
        let Waiting { client, request, size, .. } = waiting;
        if self.prepare_on_disk(waiting, actions) {
            if !self.is_open(client, request) {
                self.open(client, request, Open::Allocate);
            }
            return;
        }
        self.close(client, request);
        let failure = self.no_room(size);
        self.answer(client, request, Reply::Failed(failure), actions);
    }

    /// A part of the spill file, if that will do, for one who waits. It may be written to when what was
    /// there before has been discarded.
    fn prepare_on_disk(&mut self, waiting: Waiting, actions: &mut Vec<Action>) -> bool {
        if waiting.within == Within::Memory || !self.disk.is_well(self.now_ns) {
            return false;
        }
        let mut place = self.disk.prepare(waiting);
        if place.is_err() && self.discard_copies(actions) {
            place = self.disk.prepare(waiting);
        }
        match place {
            Ok(span) => actions.push(Action::Prepare(span)),
            Err(ref trouble) => self.disk.set_trouble(Some(trouble.clone()), self.now_ns),
        }
        place.is_ok()
    }

    /// A part of the spill file can be written to, or not.
    pub(crate) fn prepared(
        &mut self,
        start: u64,
        result: Result<(), Trouble>,
        actions: &mut Vec<Action>,
    ) {
        let Some((waiting, len)) = self.disk.preparing.remove(&start) else { return };
        let Waiting { client, request, size, .. } = waiting;
        let is_open = self.is_open(client, request);
        if is_open && result.is_ok() {
            let span = Span { offset: start, len };
            self.disk.lease(span);
            self.close(client, request);
            self.enter(client, Held::DiskLease(start));
            return self.answer(client, request, Reply::LeaseOnDisk(span), actions);
        }
        self.give_back(start, len, actions);
        if let Err(trouble) = result {
            self.disk.set_trouble(Some(trouble), self.now_ns);
        }
        if is_open && size > self.store.capacity() {
            self.settle(waiting, actions);
        } else if is_open {
            // Back to where it was: others may still make room.
            self.room.waiting.push_front(Waiting { is_ordinary: true, ..waiting });
            self.room.check_ns.get_or_insert(self.now_ns + CHECK_NS);
        }
    }

    /// Why there is no room for so many bytes, and cannot be made.
    fn no_room(&self, need: u64) -> Failure {
        let (free, capacity) = (self.store.free(), self.store.capacity());
        if need <= capacity.max(self.disk.capacity())
            && let Some(trouble) = self.disk.trouble().cloned()
        {
            return Failure::OutOfDisk { need, spilled: Some(self.disk.used()), trouble };
        }
        let why = self.disk.off.clone().unwrap_or_else(|| {
            let is_too_large = need > capacity.max(self.disk.capacity());
            if is_too_large {
                "it is larger than the store, and than what may be spilled".into()
            } else {
                "values that are in use (viewed, or being written) cannot be spilled".into()
            }
        });
        Failure::StoreFull { need, free, capacity, why }
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
        let is_roomy = self.store.used() + size <= capacity - capacity / RESERVE;
        if is_roomy && !self.memory.is_short() {
            return false;
        }
        let mut asking = self.asking(client).peekable();
        asking.peek().is_some() && asking.all(|task| self.has_unread(task))
    }

    /// Gives what is there, and what others can be made to give, to those who wait.
    pub(crate) fn serve_room(&mut self, actions: &mut Vec<Action>) {
        if !self.serve_reads(actions) {
            return;
        }
        while let Some(place) = self.first_in_line() {
            let Waiting { client, request, size, .. } = self.room.waiting[place];
            let Some(span) = self.store.lease(client, size) else {
                let may_write = self.room.spill_ns.is_none_or(|due_ns| due_ns <= self.now_ns);
                if may_write {
                    self.tell_if_off(size, actions);
                }
                if self.relieve(size, may_write, actions) {
                    continue;
                }
                return;
            };
            self.room.waiting.remove(place);
            self.close(client, request);
            self.enter(client, Held::Lease(span.offset));
            self.answer(client, request, Reply::Lease(span), actions);
        }
        if self.room.waiting.is_empty() {
            (self.room.check_ns, self.room.spill_ns) = (None, None);
        }
    }

    /// The user learns at the first occasion that nothing can be spilled, though it would help.
    fn tell_if_off(&mut self, need: u64, actions: &mut Vec<Action>) {
        if self.disk.is_told || self.store.free() + self.store.idle() < need {
            return;
        }
        if let Some(why) = &self.disk.off {
            self.disk.is_told = true;
            actions.push(Action::CannotSpill(why.clone()));
        }
    }

    /// The first that is not paused.
    fn first_in_line(&self) -> Option<usize> {
        let waiting = &self.room.waiting;
        waiting.iter().position(|row| row.is_ordinary || !self.is_paused(row.client, row.size))
    }

    /// Time has passed: others give way to those who wait, or they are told that they wait in vain.
    pub(crate) fn check_room(&mut self, actions: &mut Vec<Action>) {
        let now_ns = self.now_ns;
        if self.room.spill_ns.is_some_and(|due_ns| due_ns <= now_ns) {
            self.room.spill_ns = None;
            self.serve_room(actions);
        }
        if self.room.check_ns.is_none_or(|due_ns| due_ns > now_ns) {
            return;
        }
        self.room.check_ns = Some(now_ns + CHECK_NS);
        for place in 0..self.room.waiting.len() {
            let row = self.room.waiting[place];
            let asking: Vec<TaskId> = self.asking(row.client).collect();
            let streams = asking.iter().filter_map(|task| self.streams.get(task));
            let taken_ns = streams.map(|stream| stream.taken_ns).max().unwrap_or(0);
            let is_tired = row.since_ns.max(taken_ns) + PATIENCE_NS <= now_ns;
            if is_tired || !asking.iter().any(|task| self.may_be_read(*task)) {
                self.room.waiting[place].is_ordinary = true;
            }
        }
        // Who has paused for long enough may have room at once.
        self.serve_room(actions);
        self.send_to_disk(actions);
        if self.room.waiting.is_empty() {
            return;
        }
        if self.may_free() {
            self.room.is_stuck = false;
        } else if std::mem::replace(&mut self.room.is_stuck, true) {
            self.room.is_stuck = false;
            self.give_up(actions);
        }
        self.serve_room(actions);
    }

    /// Those whose values would not fit even if all that is idle went to disk: when they have waited for
    /// long enough for what is in use to be let go, they write them there themselves.
    fn send_to_disk(&mut self, actions: &mut Vec<Action>) {
        let now_ns = self.now_ns;
        while let Some(place) = self.first_in_line() {
            let row = self.room.waiting[place];
            let is_tired = row.since_ns + PATIENCE_NS <= now_ns || now_ns < self.room.hopeless_ns;
            if !is_tired || row.size <= self.within_reach() {
                return;
            }
            if !self.prepare_on_disk(row, actions) {
                return;
            }
            self.room.hopeless_ns = now_ns + PATIENCE_NS;
            self.room.waiting.remove(place);
        }
    }

    /// Whether any client that has the stream could take an item: it runs, or waits for one.
    fn may_be_read(&self, task: TaskId) -> bool {
        let is_reader = |ledger: &Ledger| {
            ledger.handles.contains(Held::Stream(task))
                && (ledger.requests.is_empty()
                    || ledger.requests.values().any(|open| match open {
                        Open::Next(of) | Open::Length(of) => *of == task,
                        Open::Wait { on, .. } => on.contains(&Waitable::Stream(task)),
                        Open::Get { .. } | Open::Fetch { .. } | Open::Allocate => false,
                    }))
        };
        is_reader(&self.driver) || self.workers.values().any(|row| is_reader(&row.ledger))
    }

    /// Nothing will come free by itself.
    fn give_up(&mut self, actions: &mut Vec<Action>) {
        let mut was_paused = false;
        for row in &mut self.room.waiting {
            was_paused |= !std::mem::replace(&mut row.is_ordinary, true);
        }
        if was_paused {
            return;
        }
        let Some(row) = self.room.waiting.pop_front() else { return };
        self.settle(row, actions);
    }

    /// Whether something could still come free: by the disk, or by a process that is not itself waiting.
    fn may_free(&self) -> bool {
        let is_busy = self.disk.writing.is_some() || !self.disk.preparing.is_empty();
        if is_busy || self.disk.reading > 0 {
            return true;
        }
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
