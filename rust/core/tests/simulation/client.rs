//! A process that speaks to the node: what it honestly holds, what it has asked, what is on its way.
//!
//! Invariants: messages leave in the order in which they were made. A handle is used by one thing
//! at a time: an open question keeps those that it needs out of `handles`. So a client never speaks
//! of what it does not hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use skate_core::action::{Reply, Run};
use skate_core::event::{Held, Request};
use skate_core::id::{ClientId, ObjectId, RequestId, TaskId, Ticket};
use skate_core::value::{Payload, Span, Value};

use super::content::Content;
use super::io::Memory;
use super::program::{Function, Plan};
use super::random::Random;
use super::worker::Execution;

/// A message from the node that waits to be read.
pub(crate) enum Letter {
    Run(Box<Run>),
    Reply(RequestId, Reply),
    Leave,
}

/// Where a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    /// Asked for.
    Ordered,
    /// It runs, which the node may not know yet.
    Forked,
    /// It runs, and the node was told.
    Reported,
}

/// A claim slot: the words that node and worker share.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) claim: Claim,
    pub(crate) credit: u64,
    pub(crate) is_dropped: bool,
    pub(crate) is_interrupted: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Claim {
    #[default]
    Queued,
    Started,
    Revoked,
}

/// A question that is not answered.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) question: Request,
    /// Handles that it needs.
    keeps: Vec<Held>,
    /// The dispatch that asked.
    by: Option<Ticket>,
    /// The task waits for the answer.
    pub(crate) blocks: bool,
    pub(crate) forget: Forget,
    /// The answer is on its way.
    pub(crate) is_answered: bool,
}

/// Whether a question was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forget {
    No,
    Sent,
    /// The node has been told.
    Heard,
}

/// Bytes that a client looks at.
pub(crate) struct View {
    id: ObjectId,
    payload: Payload,
    bytes: Vec<u8>,
}

/// Space that a client writes into.
#[derive(Clone, Copy)]
pub(crate) struct Lease {
    pub(crate) start: u64,
    next: u64,
    end: u64,
}

/// What all clients share: the seed's program, and memory.
pub(crate) struct Shared {
    pub(crate) random: Random,
    pub(crate) functions: Vec<Function>,
    pub(crate) plans: BTreeMap<TaskId, Vec<Plan>>,
    /// What the arguments of each call contain.
    pub(crate) holds_of: BTreeMap<TaskId, Box<[Held]>>,
    pub(crate) memory: Memory,
    pub(crate) calls_left: u32,
    pub(crate) stored: u64,
    pub(crate) is_pressed: bool,
    /// Objects that could not be read back: their part of the file may be another value's.
    pub(crate) lost: BTreeSet<ObjectId>,
    pub(crate) cancels: u64,
}

impl Shared {
    /// Whether those bytes of an object are no longer there.
    pub(crate) fn is_lost(&self, id: ObjectId, payload: &Payload) -> bool {
        matches!(payload, Payload::Spilled(_)) && self.lost.contains(&id)
    }
}

/// One process.
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) process: Process,
    pub(crate) outbox: VecDeque<Request>,
    pub(crate) inbox: VecDeque<Letter>,
    pub(crate) asked: BTreeMap<RequestId, Asked>,
    pub(crate) handles: Vec<Held>,
    /// Handles from earlier tasks of this process. They are only let go of: a task that put them
    /// into its own values could make a circle, which no count can free.
    pub(crate) kept: Vec<Held>,
    pub(crate) views: Vec<View>,
    pub(crate) lease: Option<Lease>,
    /// A part of the spill file, and whether a value was written there.
    pub(crate) disk_lease: Option<(Span, bool)>,
    counter: u64,
    /// A worker's side of its dispatches.
    pub(crate) slots: BTreeMap<Ticket, Slot>,
    pub(crate) runs: VecDeque<Box<Run>>,
    pub(crate) execution: Option<Execution>,
    pub(crate) is_leaving: bool,
    /// The last that the node heard is that its task sleeps.
    pub(crate) is_thought_asleep: bool,
}

impl Client {
    pub(crate) fn new(id: ClientId) -> Self {
        Self {
            id,
            process: Process::Ordered,
            outbox: VecDeque::new(),
            inbox: VecDeque::new(),
            asked: BTreeMap::new(),
            handles: Vec::new(),
            kept: Vec::new(),
            views: Vec::new(),
            lease: None,
            disk_lease: None,
            counter: 1,
            slots: BTreeMap::new(),
            runs: VecDeque::new(),
            execution: None,
            is_leaving: false,
            is_thought_asleep: false,
        }
    }

    pub(crate) fn send(&mut self, request: Request) {
        self.outbox.push_back(request);
    }

    /// The dispatch that it executes.
    fn current(&self) -> Option<Ticket> {
        self.execution.as_ref().map(|execution| execution.run.ticket)
    }

    pub(crate) fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Whether its task waits for an answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.asked.values().any(|asked| asked.blocks)
    }

    /// Whether it has something that it could let go of.
    pub(crate) fn holds_anything(&self) -> bool {
        !self.handles.is_empty()
            || !self.kept.is_empty()
            || !self.views.is_empty()
            || self.lease.is_some()
            || self.disk_lease.is_some()
    }

    pub(crate) fn ask(
        &mut self,
        blocks: bool,
        keeps: Vec<Held>,
        question: impl FnOnce(RequestId) -> Request,
    ) {
        let id = RequestId(self.count());
        let question = question(id);
        self.send(question.clone());
        let asked = Asked {
            question,
            keeps,
            by: self.current(),
            blocks,
            forget: Forget::No,
            is_answered: false,
        };
        self.asked.insert(id, asked);
    }

    /// Takes back a question, if one is open; the answer comes all the same.
    pub(crate) fn forget_one(&mut self, only_blocking: bool) -> bool {
        let mut asked = self.asked.iter_mut();
        let found = asked
            .find(|(_, asked)| asked.forget == Forget::No && (asked.blocks || !only_blocking))
            .map(|(id, asked)| {
                asked.forget = Forget::Sent;
                *id
            });
        if let Some(id) = found {
            self.send(Request::Forget(id));
        }
        found.is_some()
    }

    /// One more handle, on what it can reach.
    pub(crate) fn hold(&mut self, held: Held) {
        self.send(Request::Hold(held));
        self.handles.push(held);
    }

    pub(crate) fn take_handle(
        &mut self,
        random: &mut Random,
        wanted: impl Fn(&Held) -> bool,
    ) -> Option<Held> {
        let places: Vec<usize> =
            (0..self.handles.len()).filter(|place| wanted(&self.handles[*place])).collect();
        if places.is_empty() {
            return None;
        }
        Some(self.handles.swap_remove(random.pick(&places)))
    }

    pub(crate) fn some_handles(&self, random: &mut Random, most: u64) -> Vec<Held> {
        if self.handles.is_empty() {
            return Vec::new();
        }
        (0..random.below(most + 1)).map(|_| random.pick(&self.handles)).collect()
    }

    /// Lets go of one handle; false if it has none.
    pub(crate) fn release_one(&mut self, shared: &mut Shared) -> bool {
        if let Some(held) = self.take_handle(&mut shared.random, |_| true) {
            self.send(Request::Release(held));
        } else if let Some(held) = self.kept.pop() {
            self.send(Request::Release(held));
        } else if let Some(view) = self.views.pop() {
            if !shared.is_lost(view.id, &view.payload) {
                let now = shared.memory.bytes(&view.payload);
                assert_eq!(now, view.bytes, "the bytes of {:?} changed under a view", view.id);
            }
            self.send(Request::Release(Held::Pin(view.id)));
        } else if let Some((lease, _)) = self.disk_lease.take() {
            self.send(Request::Release(Held::DiskLease(lease.offset)));
        } else if let Some(lease) = self.lease.take() {
            self.send(Request::Release(Held::Lease(lease.start)));
        } else {
            return false;
        }
        true
    }

    /// A value on its way to the node: inline, or in a block of the lease.
    pub(crate) fn value(&mut self, content: &Content, shared: &mut Shared) -> Value {
        let bytes = content.encode();
        if let Some((span, is_used @ false)) = &mut self.disk_lease
            && matches!(content, Content::Data { .. })
            && bytes.len() as u64 <= span.len
        {
            *is_used = true;
            return Value::Data(Payload::Spilled(shared.memory.write(span.offset, &bytes)));
        }
        let payload = self.block(&bytes, shared).map_or_else(
            || Payload::Inline(bytes[..].into()),
            |span| {
                let place = span.offset as usize..span.end() as usize;
                shared.memory.segment[place].copy_from_slice(&bytes);
                Payload::Block(span)
            },
        );
        match content {
            Content::Raised { .. } => Value::Raised(payload),
            _ => Value::Data(payload),
        }
    }

    fn block(&mut self, bytes: &[u8], shared: &mut Shared) -> Option<Span> {
        let lease = self.lease.as_mut()?;
        let span = Span { offset: lease.next, len: bytes.len() as u64 };
        let fits = span.end() <= lease.end && shared.random.chance(shared.stored);
        fits.then(|| {
            lease.next = span.end();
            span
        })
    }

    /// Reads an answer: its handles are the client's now.
    pub(crate) fn receive(&mut self, id: RequestId, reply: Reply, shared: &mut Shared) {
        let asked = self.asked.remove(&id).unwrap();
        let mut keeps = asked.keeps;
        let others = std::mem::take(&mut self.handles);
        match reply {
            Reply::Values { values, .. } => {
                let Request::Get(_, ids) = &asked.question else { unreachable!() };
                for (id, value) in ids.iter().zip(&values) {
                    self.see(*id, value, shared);
                }
            }
            Reply::Error { place, value, .. } => {
                let Request::Get(_, ids) = &asked.question else { unreachable!() };
                self.see(ids[place as usize], &value, shared);
            }
            Reply::Item(item) => {
                self.handles.push(Held::Object(item));
                match keeps.first_mut() {
                    Some(Held::Cursor(_, at)) => *at += 1,
                    // No task of it counts as the one that took the item, so any may run again.
                    _ if self.id != ClientId::DRIVER => self.send(Request::Taken(id, None)),
                    _ => {}
                }
            }
            Reply::Lease(span) => {
                self.lease = Some(Lease { start: span.offset, next: span.offset, end: span.end() });
            }
            Reply::LeaseOnDisk(span) => self.disk_lease = Some((span, false)),
            Reply::Ready(_)
            | Reply::End
            | Reply::Forgotten
            | Reply::Progress { .. }
            | Reply::Resources(_)
            | Reply::Returned
            | Reply::Failed(_) => {}
            Reply::Items(_)
            | Reply::Rows(_)
            | Reply::Actor { .. }
            | Reply::Names(_)
            | Reply::Groups(_)
            | Reply::Count(_) => {
                unreachable!("nobody asks for {reply:?}")
            }
        }
        self.handles.append(&mut keeps);
        let new = std::mem::replace(&mut self.handles, others);
        let place = if asked.by == self.current() { &mut self.handles } else { &mut self.kept };
        place.extend(new);
    }

    /// Unpacks a value: a view on its block, handles on what it contains.
    fn see(&mut self, id: ObjectId, value: &Value, shared: &mut Shared) {
        if value.is_stored()
            && let Some(payload) = value.payload()
        {
            let bytes = shared.memory.bytes(payload).to_vec();
            self.views.push(View { id, payload: payload.clone(), bytes });
        }
        for held in Content::of(value, &shared.memory).holds() {
            if shared.random.chance(60) {
                self.hold(held);
            }
        }
    }
}
