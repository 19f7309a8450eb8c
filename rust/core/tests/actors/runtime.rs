//! Between the node and the processes: messages in, actions carried out.
//!
//! Invariant: actions are carried out in the order in which they were decided, those that follow
//! from an answer to a `Revoke` after all that were decided before it. Each is verified first.

use skate_core::action::Action;
use skate_core::event::{AfterKill, Creation, Event, Request};
use skate_core::id::{ClientId, Ticket};

use super::process::{Claim, Letter, Process, Slot};
use super::world::World;

impl World {
    /// The node reads a process's next message.
    pub(crate) fn deliver(&mut self, id: ClientId) {
        let client = self.clients.get_mut(&id).unwrap();
        let request = client.outbox.pop_front().unwrap();
        client.settled = client.settled.saturating_sub(1);
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
                let template = &self.shared.callable(submit.template).template;
                let client = &self.clients[&id];
                let is_shared = id != ClientId::DRIVER && client.actor.is_none();
                self.model.submitted(submit, template, is_shared);
            }
            Request::Create(creation) if creation.name.is_some() => {
                self.unnamed.insert(creation.submit.task, (**creation).clone());
            }
            Request::Create(creation) => self.hear_of(creation),
            Request::Kill(actor, AfterKill::Dead) => self.model.killed(*actor),
            Request::Yielded(ticket, index, value, _) => {
                let task = self.model.task_of(id, *ticket);
                self.model.yielded(task, *index, value);
                let call = &self.model.calls[&task];
                let window = call.template.window.map(u64::from);
                let is_read = !self.clients[&id].slots[ticket].is_dropped;
                let unread = call.published - self.model.taken(task);
                if let Some(window) = window.filter(|_| is_read) {
                    assert!(unread <= window, "window of {task:?}");
                }
                let window = self.shared.window_of(call.actor, call.template.returns);
                if let Some(window) = window.filter(|_| is_read) {
                    let (unread, streams) = self.unread_of(call.actor);
                    assert!(unread <= window + streams, "window of {:?}", call.actor);
                }
            }
            Request::Finished(ticket, outcome) => {
                let task = self.model.task_of(id, *ticket);
                self.model.finished(task, outcome);
            }
            Request::Cancel(task, how) => {
                self.to_revoke = self.model.cancel(*task, how.recursive);
            }
            _ => {}
        }
    }

    pub(crate) fn hear_of(&mut self, creation: &Creation) {
        let template = &self.shared.callable(creation.submit.template).template;
        self.model.created(creation, template);
    }

    /// One step of the node.
    pub(crate) fn event(&mut self, event: Event) {
        self.tell(|world| format!("{:>9} us  {event:?}", world.now_ns / 1000));
        let mut actions = Vec::new();
        self.model.settle();
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
                    self.clients.insert(worker, Process::new(worker));
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
                    self.set(worker, ticket, |slot| slot.credit = taken);
                }
                Action::StreamDropped(worker, ticket) => {
                    self.set(worker, ticket, |slot| slot.is_dropped = true);
                }
                Action::Interrupt(worker, ticket) | Action::Notify(worker, ticket) => {
                    self.set(worker, ticket, |slot| slot.is_cancelled = true);
                }
                Action::Retire(worker) => {
                    if let Some(client) = self.clients.get_mut(&worker) {
                        client.inbox.push_back(Letter::Leave);
                    }
                }
                Action::Kill(..) | Action::Unhandled { .. } | Action::Infeasible { .. } => {}
                other => unreachable!("nobody asks for {other:?}"),
            }
        }
    }

    fn set(&mut self, worker: ClientId, ticket: Ticket, how: impl FnOnce(&mut Slot)) {
        if let Some(client) = self.clients.get_mut(&worker)
            && let Some(slot) = client.slots.get_mut(&ticket)
        {
            how(slot);
        }
    }

    fn revoke(&mut self, worker: ClientId, ticket: Ticket) {
        let slot = self.clients.get_mut(&worker).and_then(|client| client.slots.get_mut(&ticket));
        let is_revoked = slot.is_some_and(|slot| {
            if slot.claim == Claim::Queued {
                slot.claim = Claim::Revoked;
            }
            slot.claim == Claim::Revoked
        });
        if is_revoked {
            self.model.revoked(worker, ticket);
            self.event(Event::Revoked(worker, ticket));
        } else {
            self.event(Event::RevokeRefused(worker, ticket));
        }
    }
}
