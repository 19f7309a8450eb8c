//! What happens to processes and resources: starts, deaths, groups, shortages; and the end of it all.
//!
//! Invariant: when nothing happens by itself the world lets go step by step: time, memory, questions,
//! handles, and what can never run. What is left then is a leak.

use skate_core::event::{AfterKill, Cancel, Event, Held, Request};
use skate_core::group::GroupSpec;
use skate_core::id::{ActorId, ClientId, TaskId, Ticket};
use skate_core::memory::Shortage;
use skate_core::value::Death;

use super::ends::{Obituary, STOPPED};
use super::model::Stage;
use super::shared::{Birth, Claim, Leaving};
use super::world::World;

/// While somebody waits for space the node looks again and again: by then it has seen all there is.
const MOST_QUIET_TICKS: u32 = 100;

impl World {
    /// The driver sets a placement group aside, or removes one.
    pub(crate) fn change_groups(&mut self) {
        let driver = self.clients.get_mut(&ClientId::DRIVER).unwrap();
        let random = &mut self.shared.random;
        let place = random.place(self.setup.groups.len());
        let (key, bundles) = &self.setup.groups[place];
        if self.groups.contains(&place) {
            driver.send(Request::RemoveGroup(key.clone()));
            return;
        }
        self.groups.push(place);
        let ready = TaskId::new(ClientId::DRIVER, driver.count()).item(0);
        let bundle = |cpus: &u64| [("CPU".into(), *cpus)].into();
        let spec = GroupSpec {
            ready,
            key: key.clone(),
            name: key.clone(),
            strategy: "PACK".into(),
            bundles: bundles.iter().map(bundle).collect(),
        };
        driver.send(Request::Reserve(Box::new(spec)));
        // Whether it has been placed is not modelled: nothing waits for it.
        driver.send(Request::Release(Held::Object(ready)));
    }

    pub(crate) fn start(&mut self, id: ClientId) {
        let client = self.clients.get_mut(&id).unwrap();
        if client.birth == Birth::Forked {
            client.birth = Birth::Reported;
            self.event(Event::WorkerStarted(id));
            self.carry_out();
        } else if self.shared.random.chance(self.setup.failed_starts) {
            self.die(id);
        } else {
            client.birth = Birth::Forked;
        }
    }

    pub(crate) fn tick(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        self.event(Event::Tick(self.now_ns));
        self.carry_out();
    }

    /// The runtime looks at memory.
    pub(crate) fn look_at_memory(&mut self, is_short: bool) {
        let random = &mut self.shared.random;
        // Actors' processes are mostly too small to matter.
        let with_actors = random.chance(20);
        let is_actor = |id| self.model.actors.values().any(|row| row.worker == Some(id));
        let workers = self.clients.keys().skip(1).filter(|id| with_actors || !is_actor(**id));
        let workers = workers.map(|id| (*id, id.0, random.below(1 << 20))).collect();
        let report = is_short.then(|| {
            let of = "the machine".into();
            let (used, limit, threshold) = (random.pick(&[951, 974, 975, 1000]), 1000, 950);
            let standstill = random.below(100);
            Shortage { used, limit, threshold, of, standstill, workers }
        });
        let since_ns = self.shortage.take().map_or(self.now_ns, |(since_ns, _)| since_ns);
        self.shortage = report.clone().map(|report| (since_ns, report));
        self.event(Event::Memory(report.map(Box::new)));
        self.carry_out();
    }

    pub(crate) fn kill_any(&mut self) {
        let workers: Vec<ClientId> = self.clients.keys().skip(1).copied().collect();
        if !workers.is_empty() {
            let worker = self.shared.random.pick(&workers);
            self.die(worker);
        }
    }

    /// A worker's process ends: at one of its messages, which comes first.
    pub(crate) fn die(&mut self, id: ClientId) {
        self.tell(|_| format!("{id:?} dies"));
        self.deaths += 1;
        let client = self.clients.get_mut(&id).unwrap();
        if client.leaving == Leaving::No {
            let unsettled = client.outbox.len() - client.settled.min(client.outbox.len());
            let lost = self.shared.random.place(unsettled + 1);
            client.outbox.truncate(client.outbox.len() - lost);
        }
        client.leaving = Leaving::ByItself;
        while self.clients[&id].outbox.front().is_some() {
            self.deliver(id);
        }
        let client = self.clients.remove(&id).unwrap();
        let is_started = |ticket: &&Ticket| client.slots[*ticket].claim == Claim::Started;
        let started: Vec<Ticket> = client.slots.keys().filter(is_started).copied().collect();
        // One that was to be killed has not failed by itself.
        let has_been = !started.is_empty() || self.condemned.contains_key(&id);
        let stopped = self.condemned.remove(&id).flatten();
        let death = Death { pid: id.0, exit_code: None, signal: Some(9), note: "".into() };
        // The node adds why it stopped a process.
        let note = if stopped.is_some() { STOPPED } else { "" }.into();
        let told = Death { note, ..death.clone() };
        let had = self.model.tasks.iter().filter_map(|(task, row)| {
            let (worker, ticket) = row.place?;
            (worker == id).then_some((ticket, *task))
        });
        let mut had: Vec<(Ticket, TaskId)> = had.collect();
        had.sort_unstable();
        let had = had.into_iter().map(|(ticket, task)| (task, started.contains(&ticket)));
        let had: Vec<(TaskId, bool)> = had.collect();
        for ((client, _), items) in &self.lent {
            if *client == id {
                for item in items {
                    self.model.untook(*item);
                    self.model.given_back.insert(item.task);
                }
            }
        }
        self.lent.retain(|(client, _), _| *client != id);
        let restarts = self.model.lives();
        self.model.process_died(id, &Obituary { death: &told, has_been, stopped, had: &had });
        self.seen.restarts += self.model.lives() - restarts;
        self.event(Event::WorkerDied(id, death, started));
        self.carry_out();
        self.model.given_back.clear();
    }

    /// Nothing happens by itself: something must give. False when nothing is left.
    pub(crate) fn wind_down(&mut self) -> bool {
        let deadline = self.node.deadline();
        if let Some(deadline) = deadline.filter(|_| self.quiet_ticks < MOST_QUIET_TICKS) {
            self.quiet_ticks += 1;
            self.tick(deadline);
            return true;
        }
        self.quiet_ticks = 0;
        if self.shortage.is_some() {
            self.look_at_memory(false);
            return true;
        }
        self.verify_stuck();
        let is_over = self.is_over;
        if self.clients.values_mut().any(|client| client.forget_one(!is_over)) {
            return true;
        }
        if !self.is_over {
            self.tell(|_| "all let go of everything".into());
            self.is_over = true;
            (self.shared.calls_left, self.shared.actors_left) = (0, 0);
            return true;
        }
        self.end_what_cannot_run()
    }

    /// What waits for resources that are not there, or for a place that somebody has who waits for it;
    /// and actors that live until they are killed.
    pub(crate) fn end_what_cannot_run(&mut self) -> bool {
        let has_begun = |(worker, ticket): (ClientId, Ticket)| {
            self.clients[&worker].slots[&ticket].claim == Claim::Started
        };
        // A producer may wait for a reader to which it lends nothing, and which waits for its place.
        let waiting = self.model.tasks.iter().filter(|(id, task)| {
            let is_constructor = task.actor == Some(ActorId(**id));
            let is_open = !task.has_ended() && !task.cancelled && !is_constructor;
            is_open && !task.place.is_some_and(has_begun)
        });
        let mut requests: Vec<Request> = waiting
            .map(|(id, _)| Request::Cancel(*id, Cancel { force: false, recursive: false }))
            .collect();
        let actors = self.model.actors.iter().filter(|(_, row)| {
            let lives = row.creation.is_detached && row.stage != Stage::Dead;
            row.stage == Stage::Pending || lives
        });
        requests.extend(actors.map(|(id, _)| Request::Kill(*id, AfterKill::Dead)));
        for place in std::mem::take(&mut self.groups) {
            requests.push(Request::RemoveGroup(self.setup.groups[place].0.clone()));
        }
        let driver = self.clients.get_mut(&ClientId::DRIVER).unwrap();
        driver.outbox.extend(requests);
        !driver.outbox.is_empty()
    }
}
