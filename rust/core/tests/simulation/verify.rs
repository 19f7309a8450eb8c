//! What is looked at: every action, and every answer, against the model.

use skate_core::action::{Action, Items, Reply};
use skate_core::event::{Held, OnDrop, Patience, Request, Waitable, Within};
use skate_core::id::{ClientId, ObjectId, RequestId, TaskId};
use skate_core::value::{Failure, Value};

use super::client::Forget;
use super::content::Content;
use super::model::Stage;
use super::world::World;

/// What was given may take so long to help before a worker is stopped.
const PATIENCE_NS: u64 = 500_000_000;

impl World {
    /// An action must be what the model says.
    pub(crate) fn verify(&mut self, action: &Action) {
        match action {
            Action::Run(worker, run) => {
                assert!(!self.condemned.contains_key(worker), "{worker:?} is to be killed");
                assert!(!self.shared.undefined.contains(&run.template), "{run:?} is unknown");
                self.model.dispatched(*worker, run, &self.shared.memory);
            }
            Action::Reply(client, request, reply) => self.verify_reply(*client, *request, reply),
            Action::Kill(worker, why) => self.verify_kill(*worker, why),
            Action::Interrupt(worker, ticket) | Action::Notify(worker, ticket) => {
                let task = self.model.task_of(*worker, *ticket);
                let is_cancelled = self.model.tasks[&task].cancelled;
                assert!(is_cancelled, "{task:?} is interrupted for nothing");
            }
            Action::StreamClosed(worker, ticket) => {
                let task = self.model.task_of(*worker, *ticket);
                let row = &self.model.tasks[&task];
                let is_meant = row.is_closed || row.template.on_drop == OnDrop::Close;
                assert!(is_meant, "{task:?} is closed for nothing");
                self.seen.closed += 1;
                self.model.closed(task);
            }
            Action::Undefine(id) => {
                assert!(self.shared.undefined.insert(*id), "{id:?} is undefined twice");
            }
            Action::Unhandled { returns: Some(_), .. } => self.unhandled.1 += 1,
            // An error that nobody fetched.
            Action::Unhandled { task, .. } => {
                assert!(!self.read_errors.contains(task), "the error of {task:?} was read");
                assert!(self.told_errors.insert(*task), "the error of {task:?} is told twice");
            }
            Action::Infeasible { missing, .. } => {
                assert!(
                    !missing.is_empty() && missing.iter().all(|(_, asked, there)| asked > there)
                );
            }
            Action::Spawn(_)
            | Action::Revoke(..)
            | Action::Credit(..)
            | Action::CreditBytes(..)
            | Action::StreamDropped(..)
            | Action::Punch(_)
            | Action::Write(..)
            | Action::Read(..)
            | Action::Prepare(_)
            | Action::Discard(_)
            | Action::CannotSpill(_)
            | Action::TrimHeap
            | Action::Retire(_) => {}
        }
    }

    fn verify_kill(&mut self, worker: ClientId, why: &str) {
        let stopped = match why {
            "memory ran out" => {
                self.verify_stopped(worker);
                let placed = self.model.tasks.values().filter_map(|task| Some(task.place?.0));
                Some(placed.collect::<std::collections::BTreeSet<_>>().len() == 1)
            }
            "its task was cancelled by force"
            | "its actor was killed"
            | "its placement group was removed" => None,
            _ => panic!("{worker:?} is honest, and is killed because {why}"),
        };
        self.condemned.entry(worker).or_insert(stopped);
    }

    /// Memory is nearly used up, or has been short for as long as what was given may take to help.
    fn verify_stopped(&mut self, worker: ClientId) {
        let (since_ns, report) = self.shortage.as_ref().unwrap();
        let is_late = since_ns + PATIENCE_NS <= self.now_ns;
        let is_pressing = report.used * 2 >= report.limit + report.limit * report.threshold / 1000;
        assert!(is_late || is_pressing, "{worker:?} is stopped too early: {report:?}");
        let size = |(id, _, bytes): &(ClientId, u32, u64)| (*id == worker).then_some(*bytes);
        let (found, largest) = (
            report.workers.iter().find_map(size).unwrap(),
            report.workers.iter().map(|(.., bytes)| *bytes).max().unwrap(),
        );
        assert!(found * 10 >= largest, "to stop {worker:?} does not help: {report:?}");
        self.seen.stopped += u64::from(is_pressing);
        self.seen.stopped_late += u64::from(!is_pressing);
    }

    fn verify_reply(&mut self, client: ClientId, id: RequestId, reply: &Reply) {
        let row = self.clients.get_mut(&client);
        let row = row.unwrap_or_else(|| panic!("{client:?} is gone and is answered {reply:?}"));
        let Some(asked) = row.asked.get_mut(&id) else {
            panic!("{client:?} did not ask {id:?}: {reply:?}")
        };
        assert!(!asked.is_answered, "{id:?} of {client:?} is answered twice: {reply:?}");
        asked.is_answered = true;
        let question = asked.question.clone();
        match (&question, reply) {
            (_, Reply::Forgotten) => assert_eq!(asked.forget, Forget::Heard, "{id:?} is forgotten"),
            (Request::Get(_, ids), Reply::Values { values, pins }) => {
                self.verify_values(ids, values, pins);
                self.seen.values += values.len() as u64;
                let private = values.iter().filter(|value| value.extent().is_some());
                self.seen.private_reads += private.count() as u64;
            }
            (Request::Get(_, ids), Reply::Error { place, value, pin }) => {
                let id = ids[*place as usize];
                assert!(value.is_error(), "{id:?} holds {value:?}");
                assert_eq!(pin.is_some(), value.is_stored(), "pin of {id:?}");
                self.verify_value(id, value);
                self.read_errors.extend(self.model.who_failed(id));
            }
            (Request::Wait(_, on, count, patience), Reply::Ready(places)) => {
                self.verify_ready(on, *count as usize, *patience, places);
            }
            (Request::Next(_, task, at), Reply::Items(items)) => {
                let count = items.ids.len() as u64;
                if count > 1 {
                    self.verify_ahead(client, *task, items);
                }
                self.verify_taken(client, id, (*task, *at, count), items);
            }
            (Request::NextBatch(_, task, at, most), Reply::Items(items)) => {
                self.verify_taken(client, id, (*task, *at, u64::from(*most)), items);
            }
            (
                Request::Next(_, task, at) | Request::NextBatch(_, task, at, _),
                Reply::End | Reply::Returned,
            ) => self.model.verify_end(*task, *at),
            (Request::Progress(_, task, at), Reply::Progress { left, ended }) => {
                let expected = self.model.progress(*task, *at);
                assert_eq!((*left, *ended), expected, "progress of {task:?}");
            }
            (Request::Length(_, task, at), Reply::Progress { left, ended }) => {
                assert!(*ended, "the length of {task:?} is not known");
                assert_eq!((*left, true), self.model.progress(*task, *at), "length of {task:?}");
            }
            (Request::Resources(_), Reply::Resources(rows)) => {
                assert!(rows.iter().all(|(_, total, available)| available <= total), "{rows:?}");
            }
            (Request::Allocate(_, size, within), reply) => {
                self.verify_room(*size, *within, reply);
            }
            (question, reply) => self.verify_actor(client, question, reply),
        }
    }

    fn verify_taken(
        &mut self,
        client: ClientId,
        id: RequestId,
        (task, at, most): (TaskId, Option<u64>, u64),
        items: &Items,
    ) {
        self.model.took(task, at, &items.ids, most);
        self.seen.items += items.ids.len() as u64;
        if at.is_none() {
            self.lent.insert((client, id), items.ids.to_vec());
        }
        for (item, value) in items.ids.iter().zip(&items.values) {
            assert!(client != ClientId::DRIVER && !value.is_stored(), "{value:?} for {client:?}");
            self.verify_value(*item, value);
        }
    }

    /// More items than were asked for: nobody else could read them, or waits for one.
    fn verify_ahead(&mut self, client: ClientId, task: TaskId, items: &Items) {
        assert_eq!(items.ids.len(), items.values.len(), "only small values are sent ahead");
        let reads = |held: &Held| *held == Held::Stream(task);
        for (id, other) in self.clients.iter().filter(|(id, _)| **id != client) {
            let of_calls = other.executions.iter().flat_map(|execution| &execution.handles);
            let held = other.handles.iter().chain(&other.kept).chain(of_calls);
            assert_eq!(
                held.filter(|held| reads(held)).count(),
                0,
                "{id:?} could read {task:?}, too"
            );
        }
        self.seen.ahead += items.ids.len() as u64 - 1;
    }

    fn verify_room(&mut self, size: u64, within: Within, reply: &Reply) {
        match reply {
            Reply::Lease(span) => assert!(span.len >= size),
            Reply::LeaseOnDisk(span) => {
                assert!(within == Within::MemoryOrDisk && span.len >= size);
                self.seen.disk_leases += 1;
            }
            Reply::Failed(Failure::StoreFull { need, free, capacity, .. }) => {
                assert_eq!(*need, size);
                assert!(need > free || free < capacity, "an empty store has room");
            }
            Reply::Failed(Failure::OutOfDisk { need, .. }) => assert_eq!(*need, size),
            reply => panic!("who asks for room is answered {reply:?}"),
        }
    }

    fn verify_actor(&mut self, client: ClientId, question: &Request, reply: &Reply) {
        match (question, reply) {
            (Request::CallsUnderWay(_, actor), Reply::Count(count)) => {
                let expected = self.model.calls_under_way(client, *actor);
                assert!(expected.contains(count), "{count} calls of {actor:?}, not {expected:?}");
            }
            (Request::Create(creation), Reply::Actor { actor, is_new, name, .. }) => {
                assert_eq!(*name, creation.name.as_ref().map(|(name, _)| name.clone()));
                let made = self.unnamed.remove(&creation.submit.task).unwrap();
                assert_eq!(*is_new, actor.0 == creation.submit.task);
                if *is_new {
                    self.hear_of(&made);
                    self.model.settle();
                } else {
                    assert_ne!(self.model.actors[actor].stage, Stage::Dead, "a name of the dead");
                }
            }
            (Request::Find(_, wanted), Reply::Actor { actor, name, .. }) => {
                assert_eq!(name.as_ref(), Some(wanted));
                assert_ne!(self.model.actors[actor].stage, Stage::Dead, "a name of the dead");
            }
            (Request::Describe(_, wanted), Reply::Actor { actor, is_new: false, .. }) => {
                assert_eq!(actor, wanted);
            }
            (Request::Find(..), Reply::Failed(Failure::NoSuchActor(_))) => {}
            (question, reply) => panic!("{question:?} is answered {reply:?}"),
        }
    }

    fn verify_value(&self, id: ObjectId, value: &Value) {
        self.model.verify(id, &Content::of(value, &self.shared.memory));
    }

    fn verify_values(&self, ids: &[ObjectId], values: &[Value], pins: &[ObjectId]) {
        assert_eq!(ids.len(), values.len());
        for (id, value) in ids.iter().zip(values) {
            assert!(!value.is_error(), "{id:?} holds an error among values");
            self.verify_value(*id, value);
        }
        let stored = ids.iter().zip(values).filter(|(_, value)| value.is_stored());
        assert!(stored.map(|(id, _)| id).eq(pins), "what is stored comes with a pin");
    }

    fn verify_ready(&self, on: &[Waitable], count: usize, patience: Patience, places: &[u32]) {
        let is_ready = |place: &u32| self.model.is_waitable_ready(on[*place as usize]);
        assert!(places.is_sorted_by(|a, b| a < b), "places ascend: {places:?}");
        assert!(places.iter().all(is_ready), "of {on:?} not all are ready: {places:?}");
        match patience {
            Patience::Until => assert_eq!(places.len(), count, "as many as asked for"),
            Patience::Now => {
                let ready = (0..on.len() as u32).filter(is_ready).take(count);
                assert!(ready.eq(places.iter().copied()), "the first that are ready: {places:?}");
            }
        }
    }
}
