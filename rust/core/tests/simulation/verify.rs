//! What is looked at: every action against the model, who uses what, what is stuck, what is left.

use skate_core::action::{Action, Reply};
use skate_core::event::{Patience, Request, Waitable, Within};
use skate_core::id::{ClientId, ObjectId, RequestId};
use skate_core::node::Statistics;
use skate_core::value::{Failure, Value};

use super::client::{Asked, Claim, Forget};
use super::content::Content;
use super::world::World;

/// Tasks without CPU that may run at once, per CPU.
const ZERO_CPU_PER_CPU: u64 = 16;

impl World {
    /// An action must be what the model says.
    pub(crate) fn verify(&mut self, action: &Action) {
        match action {
            Action::Run(worker, run) => {
                assert!(!self.condemned.contains(worker), "{worker:?} is to be killed");
                self.model.dispatched(*worker, run, &self.shared.memory);
            }
            Action::Reply(client, request, reply) => self.verify_reply(*client, *request, reply),
            Action::Kill(worker, why) => {
                assert_eq!(*why, "its task was cancelled by force", "{worker:?} is honest");
                self.condemned.insert(*worker);
            }
            Action::Interrupt(worker, ticket) => {
                let task = self.model.task_of(*worker, *ticket);
                assert!(self.model.is_cancelled(task), "{task:?} is interrupted for nothing");
            }
            // Without the number of returns it is an error that nobody fetched.
            Action::Unhandled { returns, .. } => self.unhandled.1 += u32::from(returns.is_some()),
            Action::Infeasible { missing, .. } => {
                assert!(
                    !missing.is_empty() && missing.iter().all(|(_, asked, there)| asked > there)
                );
            }
            Action::Spawn(_)
            | Action::Revoke(..)
            | Action::Credit(..)
            | Action::StreamDropped(..)
            | Action::Punch(_)
            | Action::Write(..)
            | Action::Read(..)
            | Action::Prepare(_)
            | Action::Discard(_)
            | Action::CannotSpill(_)
            | Action::TrimHeap
            | Action::Retire(_) => {}
            Action::CreditBytes(..) | Action::StreamClosed(..) | Action::Notify(..) => {
                panic!("nobody asks for {action:?}")
            }
        }
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
                let private = values.iter().filter(|value| value.extent().is_some());
                self.private_reads += private.count() as u32;
            }
            (Request::Get(_, ids), Reply::Error { place, value, pin }) => {
                let id = ids[*place as usize];
                assert!(value.is_error(), "{id:?} holds {value:?}");
                assert_eq!(pin.is_some(), value.is_stored(), "pin of {id:?}");
                self.verify_value(id, value);
            }
            (Request::Wait(_, on, count, patience), Reply::Ready(places)) => {
                self.verify_ready(on, *count as usize, *patience, places);
            }
            (Request::Next(_, task, at), Reply::Item(item)) => {
                self.model.took(*task, *at, *item);
                if at.is_none() && client != ClientId::DRIVER {
                    self.lent.insert((client, id), *item);
                }
            }
            (Request::Next(_, task, at), Reply::End | Reply::Returned) => {
                self.model.verify_end(*task, *at);
            }
            (Request::Progress(_, task, at), Reply::Progress { left, ended }) => {
                assert_eq!(
                    (*left, *ended),
                    self.model.progress(*task, *at),
                    "progress of {task:?}"
                );
            }
            (Request::Length(_, task, at), Reply::Progress { left, ended }) => {
                assert!(*ended, "the length of {task:?} is not known");
                assert_eq!((*left, true), self.model.progress(*task, *at), "length of {task:?}");
            }
            (Request::Allocate(_, size, _), Reply::Lease(span)) => assert!(span.len >= *size),
            (Request::Allocate(_, size, within), Reply::LeaseOnDisk(span)) => {
                assert!(*within == Within::MemoryOrDisk && span.len >= *size);
                self.disk_leases += 1;
            }
            (
                Request::Allocate(_, size, _),
                Reply::Failed(Failure::StoreFull { need, free, capacity, .. }),
            ) => {
                assert_eq!(need, size);
                assert!(need > free || free < capacity, "an empty store has room");
            }
            (Request::Allocate(_, size, _), Reply::Failed(Failure::OutOfDisk { need, .. })) => {
                assert_eq!(need, size);
            }
            (Request::Resources(_), Reply::Resources(rows)) => {
                assert!(rows.iter().all(|(_, total, available)| available <= total), "{rows:?}");
            }
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

    /// Units in use by tasks that run; CPU only of those that have not slept.
    fn used(&self, name: &str) -> u64 {
        let executions = self.clients.values().filter_map(|client| client.execution.as_ref());
        let counted = executions.filter(|execution| name != "CPU" || !execution.has_slept);
        let demands = counted.flat_map(|execution| &execution.function.template.resources);
        demands.filter(|(of, _)| &**of == name).map(|(_, amount)| amount).sum()
    }

    fn total(&self, name: &str) -> u64 {
        let mut rows = self.setup.config.resources.iter();
        rows.find(|(of, _)| &**of == name).map_or(0, |(_, total)| *total)
    }

    /// Nobody uses what is not there.
    pub(crate) fn verify_resources(&self) {
        for name in ["CPU", "x"] {
            assert!(self.used(name) <= self.total(name), "{name} is overcommitted");
        }
        let is_without_cpu = |resources: &[(std::sync::Arc<str>, u64)]| {
            !resources.iter().any(|(name, amount)| &**name == "CPU" && *amount > 0)
        };
        let executions = self.clients.values().filter_map(|client| client.execution.as_ref());
        let awake = executions.filter(|execution| !execution.has_slept);
        let without = awake.filter(|e| is_without_cpu(&e.function.template.resources)).count();
        let cpus = (self.total("CPU") / 10_000).max(1);
        assert!(without as u64 <= ZERO_CPU_PER_CPU * cpus, "{without} tasks without CPU run");
    }

    /// Nothing can happen: whatever waits must have a reason.
    pub(crate) fn verify_stuck(&self) {
        for (id, client) in &self.clients {
            for (request, asked) in &client.asked {
                let Asked { question, forget, is_answered, .. } = asked;
                assert!(!is_answered, "the answer to {request:?} of {id:?} was not read");
                assert_eq!(*forget, Forget::No, "{request:?} of {id:?} is forgotten, not answered");
                assert!(
                    !self.is_answerable(question),
                    "{request:?} of {id:?} could be answered: {question:?}"
                );
            }
            if let Some(execution) = &client.execution
                && let Some(until) = execution.paused_until
            {
                let consumed = self.model.consumed(execution.run.task);
                assert!(consumed < until, "{:?} is paused and has credit", execution.run.task);
            }
        }
        for (id, task) in &self.model.tasks {
            if let Some((worker, ticket)) = task.place {
                let claim = self.clients[&worker].slots[&ticket].claim;
                assert_eq!(claim, Claim::Started, "{id:?} waits behind a task that sleeps");
            }
        }
        for (id, task) in self.model.ready_tasks() {
            let fits = task.template.resources.iter().all(|(name, amount)| {
                // Whoever sleeps has lent its CPU.
                let used = if &**name == "CPU" { 0 } else { self.used(name) };
                used + amount <= self.total(name)
            });
            assert!(!fits, "{id:?} could run, and does not");
        }
    }

    fn is_answerable(&self, question: &Request) -> bool {
        match question {
            Request::Get(_, ids) => {
                // What is lost while another one is pending is told in the end.
                let is_error = |id: &ObjectId| self.model.is_error(*id) && !self.model.is_lost(*id);
                ids.iter().any(is_error) || ids.iter().all(|id| self.model.is_ready(*id))
            }
            Request::Wait(_, on, count, _) => {
                let is_ready = |waitable: &&Waitable| self.model.is_waitable_ready(**waitable);
                on.iter().filter(is_ready).count() >= *count as usize
            }
            Request::Next(_, task, at) => self.model.is_stream_ready(*task, *at),
            // Who waits for space is told when nobody else could make any.
            Request::Allocate(..) => false,
            Request::Length(_, task, _) => self.model.tasks[task].has_ended(),
            _ => true,
        }
    }

    /// All have let go of all, and nothing is left.
    pub(crate) fn verify_end(&self) {
        for (id, task) in &self.model.tasks {
            assert!(task.has_ended(), "{id:?} cannot end");
        }
        let found = self.node.statistics();
        let expected = Statistics {
            capacity_bytes: found.capacity_bytes,
            warm_bytes: found.warm_bytes,
            disk_written_bytes: found.disk_written_bytes,
            disk_read_bytes: found.disk_read_bytes,
            workers: self.clients.len() as u64 - 1,
            workers_idle: self.clients.len() as u64 - 1,
            ..Statistics::default()
        };
        assert_eq!(found, expected, "something is left");
        assert!(self.node.is_idle() && !self.node.has_backlog() && self.node.running() == 0);
        for (name, total, available) in self.node.resources() {
            assert_eq!(total, available, "{name} was not given back");
        }
        assert_eq!(self.unhandled.0, self.unhandled.1, "errors without a ref are told once");
    }
}
