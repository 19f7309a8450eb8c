//! Between the node and the processes: messages in, actions carried out.
//!
//! Invariant: actions are carried out in the order in which they were decided, those that follow
//! from an answer to a `Revoke` after all that were decided before it. Each is verified first.

use skate_core::action::Action;
use skate_core::event::{Event, Request};
use skate_core::id::{ClientId, Ticket};

use super::client::{Claim, Client, Forget, Letter, Slot};
use super::io::Io;
use super::world::World;

impl World {
    /// The node reads a client's next message.
    pub(crate) fn deliver(&mut self, id: ClientId) {
        let request = self.clients.get_mut(&id).unwrap().outbox.pop_front().unwrap();
        // One that is to be killed by force counts until it is gone.
        self.hear(id, &request);
        self.event(Event::Client(id, request));
        self.carry_out();
    }

    /// The model hears what the node is about to be told.
    fn hear(&mut self, id: ClientId, request: &Request) {
        if id != ClientId::DRIVER {
            self.up.insert(id);
        }
        match request {
            Request::Submit(submit) => {
                let function = self.setup.functions.iter().find(|f| f.id == submit.template);
                self.model.submitted(submit, &function.unwrap().template);
            }
            Request::Put(object, ..) => self.model.put(*object),
            Request::Yielded(ticket, index, ..) => {
                let task = self.model.task_of(id, *ticket);
                self.model.yielded(task, *index);
                let window = self.model.tasks[&task].template.window.map(u64::from);
                let is_read = !self.clients[&id].slots[ticket].is_dropped;
                if let Some(window) = window.filter(|_| is_read) {
                    assert!(self.model.unread(task) <= window, "window of {task:?}");
                }
            }
            Request::Finished(ticket, outcome) => {
                self.unhandled.0 += u32::from(outcome.unhandled.is_some());
                let task = self.model.task_of(id, *ticket);
                self.model.finished(task, outcome);
            }
            Request::Taken(request, _) => {
                self.lent.remove(&(id, *request));
            }
            Request::Blocked(_) => self.clients.get_mut(&id).unwrap().is_thought_asleep = true,
            Request::Resumed(_) => self.clients.get_mut(&id).unwrap().is_thought_asleep = false,
            Request::Cancel(task, how) => {
                self.to_revoke = self.model.cancel(*task, how.recursive);
            }
            Request::Forget(request) => {
                if let Some(asked) = self.clients.get_mut(&id).unwrap().asked.get_mut(request) {
                    asked.forget = Forget::Heard;
                }
            }
            _ => {}
        }
    }

    /// One step of the node.
    pub(crate) fn event(&mut self, event: Event) {
        self.tell(|world| format!("{:>9} us  {event:?}", world.now_ns / 1000));
        let mut actions = Vec::new();
        self.node.step(event, &mut actions);
        for action in &actions {
            self.tell(|_| format!("{:>16}{action:?}", "-> "));
        }
        self.node.check();
        if (self.now_ns / 1000).is_multiple_of(32) {
            crate::looking::look_at_all(&self.node);
        }
        for (worker, ticket) in std::mem::take(&mut self.to_revoke) {
            let is_it = |action: &Action| matches!(action, Action::Revoke(w, t) if (*w, *t) == (worker, ticket));
            assert!(actions.iter().any(is_it), "{ticket:?} of {worker:?} is not cancelled");
        }
        for action in &actions {
            self.verify(action);
        }
        self.pending.extend(actions);
    }

    /// What the runtime does with actions, and with those that follow from them.
    pub(crate) fn carry_out(&mut self) {
        while let Some(action) = self.pending.pop_front() {
            match action {
                Action::Spawn(worker) => {
                    self.clients.insert(worker, Client::new(worker));
                }
                Action::Run(worker, run) => {
                    let client = self.clients.get_mut(&worker).unwrap();
                    client.slots.insert(run.ticket, Slot::default());
                    client.inbox.push_back(Letter::Run(Box::new(run)));
                }
                Action::Revoke(worker, ticket) => self.revoke(worker, ticket),
                Action::Reply(client, request, reply) => {
                    let client = self.clients.get_mut(&client).unwrap();
                    client.inbox.push_back(Letter::Reply(request, reply));
                }
                Action::Credit(worker, ticket, taken) => {
                    if let Some(slot) = self.slot(worker, ticket) {
                        // It shrinks when an item comes back from a reader that died.
                        slot.credit = taken;
                    }
                }
                Action::StreamDropped(worker, ticket) => {
                    if let Some(slot) = self.slot(worker, ticket) {
                        slot.is_dropped = true;
                    }
                }
                Action::Interrupt(worker, ticket) => {
                    if let Some(slot) = self.slot(worker, ticket) {
                        slot.is_interrupted = true;
                    }
                }
                Action::Retire(worker) => {
                    if let Some(client) = self.clients.get_mut(&worker) {
                        client.inbox.push_back(Letter::Leave);
                    }
                }
                Action::Write(number, pieces) => self.ask_to_write(number, pieces),
                Action::Read(object, extent, to) => self.ask_to_read(object, extent, to),
                Action::Prepare(span) => self.disk.push(Io::Prepare { span }),
                Action::Discard(span) => self.disk.push(Io::Discard { span }),
                Action::Kill(..)
                | Action::Unhandled { .. }
                | Action::Infeasible { .. }
                | Action::CannotSpill(_)
                | Action::Punch(_)
                | Action::TrimHeap => {}
                Action::CreditBytes(..) | Action::StreamClosed(..) | Action::Notify(..) => {
                    unreachable!("nobody asks for {action:?}")
                }
            }
        }
    }

    fn slot(&mut self, worker: ClientId, ticket: Ticket) -> Option<&mut Slot> {
        self.clients.get_mut(&worker)?.slots.get_mut(&ticket)
    }

    fn revoke(&mut self, worker: ClientId, ticket: Ticket) {
        let slot = self.slot(worker, ticket);
        let is_revoked = slot.is_some_and(|slot| {
            let is_queued = slot.claim == Claim::Queued;
            if is_queued {
                slot.claim = Claim::Revoked;
            }
            is_queued
        });
        if is_revoked {
            self.model.revoked(worker, ticket);
            self.event(Event::Revoked(worker, ticket));
        } else {
            self.event(Event::RevokeRefused(worker, ticket));
        }
    }
}
