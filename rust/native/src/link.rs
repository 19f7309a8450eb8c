//! The node's end of one worker: its rings, what it has been told, its process.
//!
//! Invariants: the node never waits for a worker. What does not fit into the ring waits here, in
//! order, and goes out when the worker has read. Nothing is sent before the worker's process is
//! known: one that the node never hears of (its zygote died) has done nothing, and ends.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashSet;
use skate_core::action::Run;
use skate_core::event::{Request, Template};
use skate_core::id::{FunctionId, TemplateId, Ticket};
use skate_shm::control::{Control, SLOTS};
use skate_shm::doorbell::Urgency;
use skate_shm::ring::{Push, RingReader, RingWriter};
use skate_shm::watch::Process;

use crate::wire::{self, ToWorker};

const _: () =
    assert!(SLOTS as u64 == skate_core::id::SLOTS, "both sides find the slot of a ticket");

/// What the node has decided about a worker's process, which may not be there yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doom {
    /// Nothing: let it come.
    None,
    /// Kill it, as soon as it is there; and why.
    Kill(&'static str),
}

/// What a worker need not know any more.
#[derive(Default)]
struct Undefined {
    templates: Vec<TemplateId>,
    functions: Vec<FunctionId>,
}

/// One worker, seen from the node.
pub(crate) struct Link {
    control: Control,
    to: RingWriter,
    from: RingReader,
    /// Encoded messages that did not fit.
    backlog: VecDeque<Vec<u8>>,
    functions: FxHashSet<FunctionId>,
    templates: FxHashSet<TemplateId>,
    /// Of what it knows; it is not told yet.
    undefined: Undefined,
    /// The latest dispatch in each slot that was used.
    tickets: Vec<Ticket>,
    /// None until the zygote has forked it.
    pub(crate) process: Option<Process>,
    pub(crate) doom: Doom,
    /// Nothing was sent since the bell was rung.
    is_rung: bool,
    /// The end of this turn will ring it.
    is_listed: bool,
}

impl Link {
    pub(crate) fn new(control: Control) -> Self {
        let (to, from) = control.node_end().expect("a fresh segment's ends are free");
        Self {
            control,
            to,
            from,
            backlog: VecDeque::new(),
            functions: HashSet::default(),
            templates: HashSet::default(),
            undefined: Undefined::default(),
            tickets: Vec::new(),
            process: None,
            doom: Doom::None,
            is_rung: true,
            is_listed: false,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::pid)
    }

    /// Sends a message, or keeps it until there is room.
    pub(crate) fn send(&mut self, message: &ToWorker, scratch: &mut Vec<u8>) {
        self.is_rung = false;
        wire::encode(message, scratch);
        let must_wait = self.process.is_none() || !self.backlog.is_empty();
        if must_wait || self.to.push(scratch) == Push::Full {
            self.backlog.push_back(std::mem::take(scratch));
        }
    }

    /// The zygote has forked it: what waited for that goes out.
    pub(crate) fn admit(&mut self, process: Process) {
        self.process = Some(process);
        self.send_backlog();
    }

    /// Sends what waits for room, as far as there is some.
    pub(crate) fn send_backlog(&mut self) {
        if self.process.is_none() {
            return;
        }
        while let Some(message) = self.backlog.front() {
            self.is_rung = false;
            if self.to.push(message) == Push::Full {
                return;
            }
            self.backlog.pop_front();
        }
    }

    /// Offers the slot, then sends the task. The caller has sent what it needs.
    pub(crate) fn run(&mut self, run: Run, scratch: &mut Vec<u8>) {
        self.control.slot(run.ticket.0 as usize).offer(run.ticket.0);
        let slot = run.ticket.0 as usize % SLOTS;
        if slot >= self.tickets.len() {
            // Slots are used from the first one on, so this is the next one.
            self.tickets.resize(slot + 1, run.ticket);
        }
        self.tickets[slot] = run.ticket;
        self.send(&ToWorker::Run(Box::new(run)), scratch);
    }

    /// Whether the worker has claimed that dispatch, which has not come off its queue.
    pub(crate) fn has_started(&self, ticket: Ticket) -> bool {
        self.control.slot(ticket.0 as usize).is_started(ticket.0)
    }

    /// True if the worker has not seen it.
    pub(crate) fn is_new_template(&mut self, id: TemplateId) -> bool {
        self.templates.insert(id)
    }

    /// True if the worker has not seen it.
    pub(crate) fn is_new_function(&mut self, template: &Arc<Template>) -> bool {
        self.functions.insert(template.function)
    }

    /// It will be sent no more runs of that template; and that function, if it is one, is no longer known.
    pub(crate) fn undefine(&mut self, template: TemplateId, function: Option<FunctionId>) {
        if self.templates.remove(&template) {
            self.undefined.templates.push(template);
        }
        if let Some(function) = function.filter(|function| self.functions.remove(function)) {
            self.undefined.functions.push(function);
        }
    }

    /// Tells it so. Before the next run is early enough: to wake an idle worker for it costs more than what
    /// it keeps.
    pub(crate) fn send_undefined(&mut self, scratch: &mut Vec<u8>) {
        if !self.undefined.templates.is_empty() || !self.undefined.functions.is_empty() {
            let Undefined { templates, functions } = std::mem::take(&mut self.undefined);
            self.send(&ToWorker::Undefine(templates.into(), functions.into()), scratch);
        }
    }

    /// Takes a dispatch back; false if the worker has claimed it.
    pub(crate) fn revoke(&self, ticket: Ticket) -> bool {
        self.control.slot(ticket.0 as usize).revoke(ticket.0)
    }

    pub(crate) fn cancel(&self, ticket: Ticket) {
        self.control.slot(ticket.0 as usize).cancel(ticket.0);
    }

    pub(crate) fn grant(&mut self, ticket: Ticket, taken: u64) {
        self.control.slot(ticket.0 as usize).grant(taken);
        self.is_rung = false;
    }

    /// A `grant` follows, which wakes the worker.
    pub(crate) fn grant_bytes(&self, ticket: Ticket, bytes: u64) {
        self.control.slot(ticket.0 as usize).grant_bytes(bytes);
    }

    pub(crate) fn close_stream(&mut self, ticket: Ticket) {
        self.control.slot(ticket.0 as usize).close_stream(ticket.0);
        self.is_rung = false;
    }

    pub(crate) fn drop_stream(&mut self, ticket: Ticket) {
        self.control.slot(ticket.0 as usize).drop_stream(ticket.0);
        self.is_rung = false;
    }

    /// The dispatches that the worker has claimed (those that have ended included).
    pub(crate) fn started(&self) -> Vec<Ticket> {
        let is_started =
            |ticket: &&Ticket| self.control.slot(ticket.0 as usize).is_started(ticket.0);
        self.tickets.iter().filter(is_started).copied().collect()
    }

    /// The next message; `Err` if the worker wrote garbage.
    pub(crate) fn receive(&mut self, scratch: &mut Vec<u8>) -> Result<Option<Request>, ()> {
        match self.from.pop(scratch) {
            Ok(true) => wire::decode(scratch).map(Some).ok_or(()),
            Ok(false) => Ok(None),
            Err(_) => Err(()),
        }
    }

    /// After a batch of messages: has the worker's bell rung if it waits for room.
    pub(crate) fn note_read(&mut self) {
        if self.from.take_stalled() {
            self.is_rung = false;
        }
    }

    /// True once after something was sent: put it on the list for `ring`.
    pub(crate) fn is_to_be_rung(&mut self) -> bool {
        !self.is_rung && !std::mem::replace(&mut self.is_listed, true)
    }

    /// Wakes the worker if something was sent to it.
    pub(crate) fn ring(&mut self) {
        self.is_listed = false;
        if !std::mem::replace(&mut self.is_rung, true) {
            self.control.bell().ring(Urgency::Urgent);
        }
    }
}
