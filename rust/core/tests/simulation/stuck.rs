//! What must hold when something begins, when nothing happens any more, and at the end.

use std::collections::BTreeMap;

use skate_core::event::{Request, Returns, Waitable};
use skate_core::id::{ActorId, ClientId, TaskId};
use skate_core::node::Statistics;

use super::body::Pause;
use super::client::{Asked, Client, Forget};
use super::model::{Model, Stage};
use super::program::{GPUS, ONE};
use super::shared::Claim;
use super::task::Task;
use super::world::World;

/// Tasks without CPU that may run at once, per CPU.
const ZERO_CPU_PER_CPU: u64 = 16;

impl Model {
    /// Actors' starts after a crash, in all.
    pub(crate) fn lives(&self) -> u64 {
        self.actors.values().map(|row| u64::from(row.life)).sum()
    }

    /// Whether a call that no process has waits for a reason: its own arguments, or those of one
    /// before it.
    fn is_held_up(&self, id: TaskId, actor: ActorId) -> bool {
        let task = &self.tasks[&id];
        let lacks = |task: &Task| task.waits.iter().any(|id| !self.is_ready(*id));
        let row = &self.actors[&actor];
        let before = self.order.iter().take_while(|other| **other != id).filter(|other| {
            let other = &self.tasks[*other];
            (other.actor, other.caller) == (Some(actor), task.caller) && !other.has_ended()
        });
        let is_behind = row.creation.order == skate_core::event::Order::Submission
            && before.clone().any(|other| lacks(&self.tasks[other]));
        lacks(task) || is_behind || row.stage != Stage::Alive
    }
}

impl World {
    /// What a process uses: of an actor for life, of any other while it runs something.
    fn demand_of<'a>(&'a self, client: &'a Client) -> &'a [(std::sync::Arc<str>, u64)] {
        let template = match &client.actor {
            Some((actor, _)) => Some(&self.model.tasks[&actor.0].template),
            None => client.executions.first().map(|execution| &execution.callable.template),
        };
        template.map_or(&[], |template| &template.resources)
    }

    /// Units in use; CPU only of those that have not slept.
    fn used(&self) -> BTreeMap<&str, u64> {
        let mut used: BTreeMap<&str, u64> = BTreeMap::new();
        for client in self.clients.values() {
            for (name, amount) in self.demand_of(client) {
                let is_lent = name.starts_with("CPU") && client.has_slept;
                *used.entry(name).or_default() += if is_lent { 0 } else { *amount };
            }
        }
        used
    }

    fn total(&self, name: &str) -> u64 {
        if name.starts_with("bundle_group_") {
            return u64::MAX;
        }
        if let Some(key) = name.strip_prefix("CPU_group_") {
            let mut groups = self.setup.groups.iter();
            let bundles = groups.find(|(of, _)| &**of == key);
            return bundles.map_or(0, |(_, bundles)| bundles.iter().sum());
        }
        let mut rows = self.setup.config.resources.iter();
        rows.find(|(of, _)| &**of == name).map_or(0, |(_, total)| *total)
    }

    /// What is in use of each GPU.
    fn used_devices(&self) -> BTreeMap<u32, u64> {
        let mut devices: BTreeMap<u32, u64> = BTreeMap::new();
        for client in self.clients.values() {
            for (_, amount) in self.demand_of(client).iter().filter(|(name, _)| &**name == "GPU") {
                let each = (*amount).min(ONE);
                assert_eq!(client.devices.len() as u64 * each, *amount, "{:?}", client.id);
                for device in &client.devices {
                    *devices.entry(*device).or_default() += each;
                }
            }
        }
        devices
    }

    /// Nobody uses what is not there; no GPU is used beyond one whole.
    pub(crate) fn verify_resources(&self) {
        for (name, used) in self.used() {
            assert!(used <= self.total(name), "{name} is overcommitted: {used}");
        }
        let devices = self.used_devices();
        assert!(devices.values().all(|used| *used <= ONE), "GPUs are shared: {devices:?}");
        let is_without_cpu = |client: &&Client| {
            let rows = self.demand_of(client);
            !rows.iter().any(|(name, amount)| name.starts_with("CPU") && *amount > 0)
        };
        let awake = self.clients.values().filter(|client| {
            client.actor.is_none() && !client.has_slept && !client.executions.is_empty()
        });
        let without = awake.filter(is_without_cpu).count() as u64;
        let cpus = (self.total("CPU") / ONE).max(1);
        assert!(without <= ZERO_CPU_PER_CPU * cpus, "{without} tasks without CPU run");
    }

    /// Items that nobody has read of those streams of an actor that run and are read, and how many
    /// streams these are.
    pub(crate) fn unread_of(&self, actor: Option<ActorId>) -> (u64, u64) {
        let running = self.clients.values().flat_map(|client| {
            let read =
                |ticket| !client.slots[&ticket].is_dropped && !client.slots[&ticket].is_closed;
            client.executions.iter().filter(move |execution| read(execution.run.ticket))
        });
        let tasks = running.map(|execution| execution.run.task);
        let of_actor = tasks.filter(|id| {
            let task = &self.model.tasks[id];
            task.actor == actor && task.template.returns == Returns::Streaming
        });
        of_actor.fold((0, 0), |(sum, count), id| (sum + self.model.unread(id), count + 1))
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
            for execution in &client.executions {
                let task = execution.run.task;
                if let Some(pause) = execution.pause {
                    self.verify_pause(task, pause);
                } else {
                    let ticket = execution.run.ticket;
                    assert!(client.is_waiting(ticket), "{task:?} could go on");
                }
            }
        }
        for (id, task) in self.model.tasks.iter().filter(|(_, task)| !task.has_ended()) {
            self.verify_not_startable(*id, task);
        }
    }

    /// Who has not begun waits for somebody, or for something that is not there.
    fn verify_not_startable(&self, id: TaskId, task: &Task) {
        if let Some((worker, ticket)) = task.place {
            let client = &self.clients[&worker];
            let lane = task.template.lane as usize;
            let of_lane = client.executions.iter().filter(|each| each.lane() == lane).count();
            let limit = client.actor.as_ref().map_or(0, |(_, limits)| limits[lane]);
            let has_started = client.slots[&ticket].claim == Claim::Started;
            let is_behind = client.actor.is_some() && of_lane >= limit as usize;
            assert!(has_started || is_behind, "{id:?} waits behind a task that sleeps");
            return;
        }
        match task.actor {
            // An actor may wait for resources that others have for life.
            Some(actor) if actor.0 == id => {}
            Some(actor) => {
                let is_held_up = self.model.is_held_up(id, actor) || task.may_be_gone();
                assert!(is_held_up, "{id:?} could run, and does not");
            }
            None if task.waits.iter().any(|id| !self.model.is_ready(*id)) => {}
            None => {
                let (used, devices) = (self.used(), self.used_devices());
                let names = task.template.resources.iter();
                let fits = names.clone().all(|(name, amount)| {
                    // Whoever sleeps has lent its CPU; an actor has it for life.
                    let others = used.get(&**name).copied().unwrap_or(0);
                    let used = if name.starts_with("CPU") { self.kept(name) } else { others };
                    // What is left of two GPUs is not one.
                    let is_free =
                        |device| devices.get(&device).map_or(0, |used| *used) + amount <= ONE;
                    let is_whole = &**name != "GPU" || (0..GPUS).any(is_free);
                    used + amount <= self.total(name) && is_whole
                });
                // Groups, and actors, set aside what is free before tasks get it.
                let waits = |row: &super::model::Actor| row.stage == Stage::Pending;
                let is_passed_by =
                    !self.setup.groups.is_empty() || self.model.actors.values().any(waits);
                let may_wait = is_passed_by || task.may_be_gone();
                assert!(!fits || may_wait, "{id:?} could run, and does not");
            }
        }
    }

    /// CPU that actors have for life, and have not lent.
    fn kept(&self, name: &str) -> u64 {
        let actors = self.clients.values().filter(|client| client.actor.is_some());
        let awake = actors.filter(|client| !client.is_asleep);
        let rows = awake.flat_map(|client| self.demand_of(client));
        rows.filter(|(of, _)| &**of == name).map(|(_, amount)| amount).sum()
    }

    /// A producer that sleeps at a yield has no room.
    fn verify_pause(&self, id: TaskId, pause: Pause) {
        let task = &self.model.tasks[&id];
        assert_eq!(task.template.returns, Returns::Streaming);
        let until = match pause {
            Pause::Items(until) => until,
            Pause::Bytes(need) => {
                let limit = task.template.window_bytes.unwrap();
                let unread = self.model.unread_bytes(id) + need;
                let is_full = unread > limit;
                assert!(is_full, "{id:?} is paused and has room for {need} B");
                return;
            }
        };
        let Some(window) = self.shared.window_of(task.actor, Returns::Streaming) else {
            assert!(self.model.reached_by_all(id) < until, "{id:?} is paused and has credit");
            return;
        };
        let is_next = |asked: &&Asked| match asked.question {
            Request::Next(_, of, _) | Request::NextBatch(_, of, _, _) => of == id,
            _ => false,
        };
        let asked = self.clients.values().flat_map(|client| client.asked.values());
        let is_waited_for = asked.filter(is_next).count() > 0;
        assert!(!is_waited_for, "{id:?} is waited for and does not go on");
        let is_shared = |of: &(&TaskId, &Task)| {
            of.1.actor == task.actor && of.1.template.returns == Returns::Streaming
        };
        let of_actor = self.model.tasks.iter().filter(is_shared);
        let all: u64 = of_actor.map(|(_, of)| of.left(None)).sum();
        let own = task.template.window.map_or(u64::MAX, u64::from);
        // One that is to run again, or that sleeps for another reason (in a call, or for want of bytes),
        // keeps the room that it had been given.
        let keeps = |of: &Task| {
            let begun = of.actor == task.actor && of.published > 0 && !of.has_ended();
            begun
                && of.place.is_none_or(|(worker, ticket)| {
                    let mut executions = self.clients[&worker].executions.iter();
                    let execution = executions.find(|execution| execution.run.ticket == ticket);
                    let pause = execution.and_then(|execution| execution.pause);
                    !matches!(pause, Some(Pause::Items(_)))
                })
        };
        let is_full = all >= window
            || task.published - self.model.reached_by_all(id) >= own
            || self.model.tasks.values().any(keeps);
        assert!(is_full, "{id:?} is paused and there is room: {all} of {window}");
    }

    fn is_answerable(&self, question: &Request) -> bool {
        match question {
            Request::Get(_, ids) => {
                // What is lost while another one is pending is told in the end.
                let is_error = |id: &_| self.model.is_error(*id) && !self.model.is_lost(*id);
                ids.iter().any(is_error) || ids.iter().all(|id| self.model.is_ready(*id))
            }
            Request::Wait(_, on, count, _) => {
                let is_ready = |waitable: &&Waitable| self.model.is_waitable_ready(**waitable);
                on.iter().filter(is_ready).count() >= *count as usize
            }
            Request::Next(_, task, at) | Request::NextBatch(_, task, at, _) => {
                self.model.is_stream_ready(*task, *at)
            }
            // Who waits for space is told when nobody else could make any.
            Request::Allocate(..) => false,
            Request::Length(_, task, at) => self.model.progress(*task, *at).1,
            _ => true,
        }
    }

    /// All have let go of all, and nothing is left.
    pub(crate) fn verify_end(&self) {
        for (id, task) in &self.model.tasks {
            let is_unneeded = task.actor == Some(ActorId(*id)) || task.may_be_gone();
            let client = task.place.map(|(worker, _)| &self.clients[&worker]);
            assert!(task.has_ended() || is_unneeded, "{id:?} cannot end: {task:?} {client:?}");
        }
        let found = self.node.statistics();
        let workers = self.clients.keys().filter(|id| **id != ClientId::DRIVER).count() as u64;
        let expected = Statistics {
            capacity_bytes: found.capacity_bytes,
            warm_bytes: found.warm_bytes,
            disk_written_bytes: found.disk_written_bytes,
            disk_read_bytes: found.disk_read_bytes,
            templates: self.clients.values().map(|client| client.templates.len() as u64).sum(),
            workers,
            workers_idle: workers,
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
