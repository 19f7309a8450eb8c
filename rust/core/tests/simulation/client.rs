//! A process that speaks to the node: what it honestly holds, what it has asked, what is on its way.
//!
//! Invariants: messages leave in the order in which they were made. A handle is used by one thing
//! at a time: an open question keeps those that it needs out of `handles`. So a client never speaks
//! of what it does not hold. What one call of an actor holds is not the other calls': who could put
//! it into a value of its own could make a circle, which no count can free.

use std::collections::{BTreeMap, VecDeque};

use skate_core::action::{Items, Reply, Run};
use skate_core::ahead::{Ahead, Taken};
use skate_core::event::{Held, Request};
use skate_core::id::{ActorId, ClientId, ObjectId, RequestId, TaskId, TemplateId, Ticket};
use skate_core::value::{Payload, Span, Value};

use super::body::Execution;
use super::content::Content;
use super::random::Random;
use super::shared::{Birth, Leaving, Letter, Shared, Slot};

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

/// Items of a stream that came with one that was asked for.
#[derive(Debug)]
pub(crate) struct Ready {
    task: TaskId,
    by: Option<Ticket>,
    left: usize,
    ahead: Ahead,
}

/// Bytes that a client looks at.
#[derive(Debug)]
pub(crate) struct View {
    id: ObjectId,
    payload: Payload,
    bytes: Vec<u8>,
}

/// Space that a client writes into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) start: u64,
    next: u64,
    end: u64,
}

/// One process.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) birth: Birth,
    pub(crate) outbox: VecDeque<Request>,
    /// So many of these were sent before the last claim, which is proof of them.
    pub(crate) settled: usize,
    pub(crate) inbox: VecDeque<Letter>,
    /// What the node was told of callables, by what they are in the program.
    pub(crate) templates: BTreeMap<TemplateId, TemplateId>,
    pub(crate) asked: BTreeMap<RequestId, Asked>,
    /// The driver's; of a worker, those of the call whose turn it is.
    pub(crate) handles: Vec<Held>,
    /// The call whose turn it is.
    pub(crate) current: Option<Ticket>,
    /// Handles from earlier calls of this process. They are only let go of.
    pub(crate) kept: Vec<Held>,
    pub(crate) ahead: Vec<Ready>,
    pub(crate) views: Vec<View>,
    pub(crate) lease: Option<Lease>,
    /// A part of the spill file, and whether a value was written there.
    pub(crate) disk_lease: Option<(Span, bool)>,
    counter: u64,
    /// A worker's side of its dispatches.
    pub(crate) slots: BTreeMap<Ticket, Slot>,
    /// Whose process it is, once it has claimed the constructor, and the limits of its lanes.
    pub(crate) actor: Option<(ActorId, Box<[u32]>)>,
    /// Starts of the actor's process before this one, and calls that this one has begun.
    pub(crate) life: u32,
    pub(crate) position: u32,
    /// GPUs that it was told of, by what it runs.
    pub(crate) devices: Box<[u32]>,
    /// By lane.
    pub(crate) runs: Vec<VecDeque<Box<Run>>>,
    pub(crate) executions: Vec<Execution>,
    /// It has told that all its calls sleep.
    pub(crate) is_asleep: bool,
    /// It slept, or the node thinks so, and its CPU may be lent still.
    pub(crate) has_slept: bool,
    /// The last that the node heard is that its task sleeps.
    pub(crate) is_thought_asleep: bool,
    pub(crate) leaving: Leaving,
}

impl Client {
    pub(crate) fn new(id: ClientId) -> Self {
        Self {
            id,
            birth: Birth::Ordered,
            outbox: VecDeque::new(),
            settled: 0,
            inbox: VecDeque::new(),
            templates: BTreeMap::new(),
            asked: BTreeMap::new(),
            handles: Vec::new(),
            current: None,
            kept: Vec::new(),
            ahead: Vec::new(),
            views: Vec::new(),
            lease: None,
            disk_lease: None,
            counter: 1,
            slots: BTreeMap::new(),
            actor: None,
            life: 0,
            position: 0,
            devices: Box::default(),
            runs: vec![VecDeque::new(); 2],
            executions: Vec::new(),
            is_asleep: false,
            has_slept: false,
            is_thought_asleep: false,
            leaving: Leaving::No,
        }
    }

    pub(crate) fn send(&mut self, request: Request) {
        self.outbox.push_back(request);
    }

    pub(crate) fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Whether that call waits for an answer.
    pub(crate) fn is_waiting(&self, ticket: Ticket) -> bool {
        self.asked.values().any(|asked| asked.blocks && asked.by == Some(ticket))
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
        self.ask_as(id, blocks, keeps, question(id));
    }

    pub(crate) fn ask_as(
        &mut self,
        id: RequestId,
        blocks: bool,
        keeps: Vec<Held>,
        question: Request,
    ) {
        self.send(question.clone());
        let (by, forget) = (self.current, Forget::No);
        let asked = Asked { question, keeps, by, blocks, forget, is_answered: false };
        self.asked.insert(id, asked);
    }

    /// Takes back a question, if one is open; the answer comes all the same.
    pub(crate) fn forget_one(&mut self, only_blocking: bool) -> bool {
        self.forget(|asked| asked.blocks || !only_blocking)
    }

    /// The same with one that keeps a call waiting.
    pub(crate) fn forget_one_of(&mut self, ticket: Ticket) -> bool {
        self.forget(|asked| asked.blocks && asked.by == Some(ticket))
    }

    fn forget(&mut self, which: impl Fn(&Asked) -> bool) -> bool {
        let mut asked = self.asked.iter_mut();
        let found = asked.find(|(_, asked)| asked.forget == Forget::No && which(asked));
        let Some((id, asked)) = found else { return false };
        asked.forget = Forget::Sent;
        let id = *id;
        self.send(Request::Forget(id));
        true
    }

    /// Whether that call could give up waiting.
    pub(crate) fn can_give_up(&self, ticket: Ticket) -> bool {
        let which =
            |asked: &Asked| asked.blocks && asked.by == Some(ticket) && asked.forget == Forget::No;
        self.asked.values().any(which)
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

    /// What a value or an argument may contain. A weak handle may be one on an actor that has gone.
    pub(crate) fn some_handles(&self, random: &mut Random, most: u64) -> Vec<Held> {
        let strong = |held: &&Held| !matches!(held, Held::WeakActor(_));
        let strong: Vec<Held> = self.handles.iter().filter(strong).copied().collect();
        if strong.is_empty() {
            return Vec::new();
        }
        (0..random.below(most + 1)).map(|_| random.pick(&strong)).collect()
    }

    /// Lets go of one handle; false if it has none.
    pub(crate) fn release_one(&mut self, shared: &mut Shared) -> bool {
        let handle = self.take_handle(&mut shared.random, |_| true).or_else(|| self.kept.pop());
        if let Some(held) = handle {
            self.send(Request::Release(held));
            return true;
        }
        self.close_view(shared) || self.release_lease()
    }

    fn release_lease(&mut self) -> bool {
        let held = match (self.disk_lease.take(), self.lease) {
            (Some((lease, _)), _) => Held::DiskLease(lease.offset),
            (None, Some(lease)) => {
                self.lease = None;
                Held::Lease(lease.start)
            }
            (None, None) => return false,
        };
        self.send(Request::Release(held));
        true
    }

    /// Stops looking at one value; false if it looks at none.
    pub(crate) fn close_view(&mut self, shared: &Shared) -> bool {
        let Some(view) = self.views.pop() else { return false };
        if !shared.is_lost(view.id, &view.payload) {
            let now = shared.memory.bytes(&view.payload);
            assert_eq!(now, view.bytes, "the bytes of {:?} changed under a view", view.id);
        }
        self.send(Request::Release(Held::Pin(view.id)));
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

    /// Reads an answer: its handles are those of the call that asked, or the process's.
    pub(crate) fn receive(&mut self, id: RequestId, reply: Reply, shared: &mut Shared) {
        let asked = self.asked.remove(&id).unwrap();
        let has_items = matches!(reply, Reply::Items(_));
        let others = std::mem::replace(&mut self.handles, asked.keeps);
        match (reply, &asked.question) {
            (Reply::Values { values, .. }, Request::Get(_, ids)) => {
                for (id, value) in ids.iter().zip(&values) {
                    self.see(*id, value, shared);
                }
            }
            (Reply::Error { place, value, .. }, Request::Get(_, ids)) => {
                self.see(ids[place as usize], &value, shared);
            }
            (Reply::Items(items), _) => {
                self.take(id, asked.by, &asked.question, &items, shared);
            }
            (Reply::Lease(span), _) => {
                self.lease = Some(Lease { start: span.offset, next: span.offset, end: span.end() });
            }
            (Reply::LeaseOnDisk(span), _) => self.disk_lease = Some((span, false)),
            (Reply::Actor { actor, is_new, .. }, _) => {
                let held = if is_new { Held::Actor(actor) } else { Held::WeakActor(actor) };
                self.handles.push(held);
            }
            _ => {}
        }
        let new = std::mem::replace(&mut self.handles, others);
        let mut executions = self.executions.iter_mut();
        match executions.find(|each| asked.by == Some(each.run.ticket)) {
            Some(execution) => {
                if let (true, Request::Next(_, task, None)) = (has_items, &asked.question) {
                    execution.reads_on = Some(*task).filter(|_| shared.random.chance(70));
                }
                execution.handles.extend(new);
            }
            None if self.id == ClientId::DRIVER => self.handles.extend(new),
            None => self.kept.extend(new),
        }
    }

    /// Items that a `next` was given: its caller returns them, or they go back as if it never was.
    fn take(
        &mut self,
        id: RequestId,
        by: Option<Ticket>,
        question: &Request,
        granted: &Items,
        shared: &mut Shared,
    ) {
        let items = &granted.ids[..];
        let (Request::Next(_, task, at) | Request::NextBatch(_, task, at, _)) = *question else {
            unreachable!("items answer a next")
        };
        if shared.random.chance(10) {
            return self.send(Request::Untake(id, task, at, items.into()));
        }
        let asked_for = match question {
            Request::Next(..) => 1,
            _ => items.len(),
        };
        let (items, more) = items.split_at(asked_for);
        self.handles.extend(items.iter().map(|item| Held::Object(*item)));
        if let Some(Held::Cursor(_, at)) = self.handles.first_mut() {
            *at += items.len() as u64;
            return;
        }
        // Of a stream that was passed on to it; else it may be run again.
        let by = self.is_running(by).filter(|_| shared.random.chance(50));
        self.send(Request::Taken(id, items.len() as u32, by));
        if !more.is_empty() {
            let mut ahead = Ahead::default();
            assert!(ahead.take_or_ask(asked_for).is_none());
            assert_eq!(ahead.answered(id, Some(granted), asked_for), None);
            self.ahead.push(Ready { task, by, left: more.len(), ahead });
        }
    }

    fn is_running(&self, by: Option<Ticket>) -> Option<Ticket> {
        by.filter(|ticket| self.executions.iter().any(|each| each.run.ticket == *ticket))
    }

    /// Reads an item that is there already, or hands back those that are.
    pub(crate) fn step_ahead(&mut self, shared: &mut Shared) {
        let place = shared.random.place(self.ahead.len());
        let Ready { task, by, left, ahead } = &mut self.ahead[place];
        if shared.random.chance(20) {
            let (request, items) = ahead.disturb().unwrap();
            let untake = Request::Untake(request, *task, None, items);
            *left = 0;
            self.send(untake);
        } else {
            let Taken { request, items, .. } = ahead.take_or_ask(1).unwrap();
            let item = items[0].0;
            *left -= 1;
            let by = *by;
            let by = self.is_running(by);
            self.send(Request::Taken(request, 1, by));
            let mut executions = self.executions.iter_mut();
            match executions.find(|each| by == Some(each.run.ticket)) {
                Some(execution) => execution.handles.push(Held::Object(item)),
                None => self.kept.push(Held::Object(item)),
            }
        }
        self.ahead.retain(|ready| ready.left > 0);
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
