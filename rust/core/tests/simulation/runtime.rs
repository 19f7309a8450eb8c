//! Between the node and the processes: messages in, actions carried out.
//!
//! Invariant: actions are carried out in the order in which they were decided, those that follow
//! from an answer to a `Revoke` after all that were decided before it. Each is verified first.

use skate_core::action::Action;
use skate_core::event::{AfterKill, Creation, Event, Request, Returns};
use skate_core::id::{ClientId, ObjectId, TaskId, Ticket};
use skate_core::inspect::{Cell, Table};

use super::client::{Client, Forget};
use super::io::Io;
use super::shared::{Claim, Leaving, Letter, Slot};
use super::task::Task;
use super::world::World;
use crate::looking::{column, look};

impl World {
    /// The node reads a client's next message.
    pub(crate) fn deliver(&mut self, id: ClientId) {
        let client = self.clients.get_mut(&id).unwrap();
        let request = client.outbox.pop_front().unwrap();
        client.settled = client.settled.saturating_sub(1);
        // One that is to be killed by force counts until it is gone.
        self.hear(id, &request);
        self.event(Event::Client(id, request));
        self.carry_out();
    }

    /// The model hears what the node is about to be told.
    fn hear(&mut self, id: ClientId, request: &Request) {
        match request {
            Request::Submit(submit) => {
                let template = &self.shared.callables[&submit.template].template;
                let is_shared = id != ClientId::DRIVER && self.clients[&id].actor.is_none();
                self.model.submitted(submit, template, is_shared);
            }
            Request::Reserve(spec) => _ = self.shared.reserved.insert(spec.key.clone()),
            Request::Create(creation) if creation.name.is_some() => {
                self.unnamed.insert(creation.submit.task, (**creation).clone());
            }
            Request::Create(creation) => self.hear_of(creation),
            Request::Kill(actor, AfterKill::Dead) => self.model.killed(*actor),
            Request::RemoveGroup(key) => {
                if !self.model.removed.contains(key) {
                    let of = |id: &&TaskId| self.model.group_of(**id) == Some(&**key);
                    let places = self.model.tasks.keys().filter(of);
                    let places = places.filter_map(|id| self.model.tasks[id].place);
                    self.to_kill = places.map(|(worker, _)| worker).collect();
                }
                self.model.group_removed(key);
            }
            Request::Put(object, ..) => self.model.put(*object),
            Request::Yielded(ticket, index, value, ..) => {
                let task = self.model.task_of(id, *ticket);
                self.model.made(task.item(*index), value, &self.shared.memory);
                self.model.yielded(task, *index);
                self.verify_windows(id, task, *ticket);
            }
            Request::Finished(ticket, outcome) => {
                self.unhandled.0 += u32::from(outcome.unhandled.is_some());
                let task = self.model.task_of(id, *ticket);
                self.model.finished(task, outcome, &self.shared.memory);
            }
            Request::Taken(request, count, by) => {
                let lent = self.lent.get_mut(&(id, *request)).unwrap();
                let items: Vec<ObjectId> = lent.drain(..*count as usize).collect();
                for item in &items {
                    self.model.reached(*item);
                }
                if let Some(ticket) = by {
                    let by = self.model.task_of(id, *ticket);
                    self.model.consumed(by, items[0].task, items.len() as u64);
                }
            }
            Request::Untake(request, _, at, items) => {
                self.seen.untaken += items.len() as u64;
                if at.is_none() {
                    let lent = self.lent.get_mut(&(id, *request)).unwrap();
                    let rest = lent.len() - items.len();
                    assert_eq!(lent.split_off(rest)[..], items[..]);
                    for item in items {
                        self.model.untook(*item);
                    }
                }
            }
            Request::Close(task) => {
                let place = self.model.tasks[task].place;
                if !self.model.tasks[task].is_closed {
                    self.to_revoke.extend(place);
                }
                self.model.closed(*task);
            }
            Request::Blocked(_) => self.clients.get_mut(&id).unwrap().is_thought_asleep = true,
            Request::Resumed(_) => self.clients.get_mut(&id).unwrap().is_thought_asleep = false,
            Request::Cancel(task, how) => {
                if how.recursive {
                    self.forget_the_dropped();
                }
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

    pub(crate) fn hear_of(&mut self, creation: &Creation) {
        let template = &self.shared.callables[&creation.submit.template].template;
        self.model.created(creation, template);
    }

    /// Whether a generator that is to end when it is dropped has ended is the node's to say: who still had
    /// a handle is not modelled. Its children are nobody's then.
    fn forget_the_dropped(&mut self) {
        let open = |task: &Task| task.may_be_gone() && !task.has_ended() && task.place.is_none();
        let open = self.model.tasks.iter().filter(|(_, task)| open(task));
        let open: Vec<TaskId> = open.map(|(id, _)| *id).collect();
        if open.is_empty() {
            return;
        }
        let rows = look(&self.node, Table::Tasks);
        let is_over = |state: &Cell| matches!(state, Cell::Word(word) if *word == "FINISHED" || *word == "FAILED");
        let states = column(&rows, "state");
        let known = column(&rows, "task_id").into_iter().zip(states);
        let known = known.filter(|(_, state)| !is_over(state)).map(|(id, _)| id);
        let known: Vec<Cell> = known.collect();
        for id in open.into_iter().filter(|id| !known.contains(&Cell::Task(*id))) {
            self.model.closed(id);
        }
    }

    /// No window holds more than it may, as long as somebody reads.
    fn verify_windows(&self, worker: ClientId, id: TaskId, ticket: Ticket) {
        let slot = &self.clients[&worker].slots[&ticket];
        let task = &self.model.tasks[&id];
        if slot.is_dropped || task.is_closed || task.template.returns != Returns::Streaming {
            return;
        }
        let shared = self.shared.window_of(task.actor, task.template.returns);
        if let Some(window) = task.template.window {
            assert!(self.model.unread(id) <= u64::from(window), "window of {id:?}");
        }
        if let Some(limit) = task.template.window_bytes {
            let (unread, bytes) = (self.model.unread(id), self.model.unread_bytes(id));
            assert!(unread <= 1 || bytes <= limit, "{bytes} B of {id:?} are unread");
        }
        if let Some(window) = shared {
            let (unread, streams) = self.unread_of(task.actor);
            assert!(unread <= window + streams, "window of {:?}", task.actor);
        }
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
        if self.turns.is_multiple_of(64) {
            crate::looking::look_at_all(&self.node);
        }
        for (worker, ticket) in std::mem::take(&mut self.to_revoke) {
            let is_it = |action: &Action| matches!(action, Action::Revoke(w, t) if (*w, *t) == (worker, ticket));
            assert!(actions.iter().any(is_it), "{ticket:?} of {worker:?} is not taken back");
        }
        for action in &actions {
            self.verify(action);
        }
        for worker in std::mem::take(&mut self.to_kill) {
            let is_ending = self.condemned.contains_key(&worker);
            assert!(is_ending, "{worker:?} runs on in a group that was removed");
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
                // Both shrink when an item comes back from a reader that never saw it.
                Action::Credit(worker, ticket, taken) => {
                    self.set(worker, ticket, |slot| slot.credit = taken);
                }
                Action::CreditBytes(worker, ticket, bytes) => {
                    self.set(worker, ticket, |slot| slot.credit_bytes = bytes);
                }
                Action::StreamDropped(worker, ticket) => {
                    self.set(worker, ticket, |slot| slot.is_dropped = true);
                }
                Action::StreamClosed(worker, ticket) => {
                    self.set(worker, ticket, |slot| slot.is_closed = true);
                }
                Action::Interrupt(worker, ticket) | Action::Notify(worker, ticket) => {
                    self.set(worker, ticket, |slot| slot.is_cancelled = true);
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
                | Action::Undefine(_)
                | Action::TrimHeap => {}
            }
        }
        while let Some(worker) = self.dying.pop() {
            self.die(worker);
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
        // Its process does not stand still while the node takes back one after the other.
        let turns = if self.shared.random.chance(50) { self.shared.random.below(20) } else { 0 };
        for _ in 0..turns {
            let goes_on = |client: &Client| {
                client.leaving != Leaving::ByItself && client.can_step(self.is_over)
            };
            if self.clients.get(&worker).is_some_and(goes_on)
                && !self.dying.contains(&worker)
                && self.advance(worker)
            {
                self.dying.push(worker);
            }
        }
        let slot = self.clients.get_mut(&worker).and_then(|client| client.slots.get_mut(&ticket));
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
