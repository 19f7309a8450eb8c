//! The runtime around one node: queues, claim slots, processes, virtual time, and the order of it all.
//!
//! ```text
//!   loop: pick by chance  ┌ deliver one process's next message ─▶ model, then node ─▶ actions
//!                         ├ let one process take a turn                             │
//!                         ├ fork, report or kill a worker           verified (verify.rs), then done
//!                         └ let time pass
//!   nothing left to pick: what is stuck must be stuck for a reason; then time passes, all let go of
//!   all, what can never run is cancelled, and the node must be empty.
//! ```
//!
//! Invariant: the model hears of an event before the node does, and `Node::check` runs after each. A
//! worker that dies may do so between any two of its messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use skate_core::action::Action;
use skate_core::event::{AfterKill, Cancel, Creation, Event, Request};
use skate_core::id::{ActorId, ClientId, TaskId, Ticket};
use skate_core::node::Node;
use skate_core::value::Death;

use super::acts::Shared;
use super::model::{Model, Stage};
use super::process::{Birth, Claim, Did, Leaving, Letter, Process};
use super::program::Setup;
use crate::random::Random;

/// A program that needs more turns does not end.
const MOST_TURNS: u32 = 100_000;
/// From then on no worker dies by chance, so that endless retries end.
const DEADLY_TURNS: u32 = 3_000;

/// One session.
pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) model: Model,
    pub(crate) shared: Shared,
    pub(crate) setup: Setup,
    pub(crate) clients: BTreeMap<ClientId, Process>,
    /// Those that the node is having killed; what they say until then counts.
    pub(crate) condemned: BTreeSet<ClientId>,
    /// Which workers are made for actors.
    pub(crate) to_revoke: Vec<(ClientId, Ticket)>,
    pub(crate) pending: VecDeque<Action>,
    /// Creations whose name may be taken.
    pub(crate) unnamed: BTreeMap<TaskId, Creation>,
    pub(crate) now_ns: u64,
    pub(crate) up: BTreeSet<ClientId>,
    driver_steps: u32,
    is_over: bool,
    turns: u32,
    story: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, tells_story: bool) -> Self {
        let mut random = Random::new(seed);
        let setup = Setup::new(&mut random);
        let mut actions = Vec::new();
        let node = Node::new(&setup.config, &mut actions);
        let mut driver = Process::new(ClientId::DRIVER);
        driver.birth = Birth::Reported;
        for callable in setup.callables() {
            driver.send(Request::Define(callable.id, callable.template.clone()));
        }
        let shared = Shared {
            random,
            callables: setup.callables().map(|each| (each.id, each.clone())).collect(),
            classes: setup.classes.clone(),
            functions: setup.functions.clone(),
            plans: BTreeMap::new(),
            holds_of: BTreeMap::new(),
            lanes_of: BTreeMap::new(),
            class_of: BTreeMap::new(),
            actors_left: setup.actors,
            calls_left: setup.calls,
            kills: setup.kills,
            cancels: setup.cancels,
        };
        let mut world = Self {
            node,
            model: Model::default(),
            shared,
            clients: [(ClientId::DRIVER, driver)].into(),
            condemned: BTreeSet::new(),
            to_revoke: Vec::new(),
            pending: actions.into(),
            unnamed: BTreeMap::new(),
            now_ns: 0,
            up: BTreeSet::new(),
            driver_steps: setup.driver_steps,
            is_over: false,
            turns: 0,
            story: tells_story.then(Vec::new),
            setup,
        };
        world.tell(|world| format!("{:?}", world.setup.config));
        while !world.clients[&ClientId::DRIVER].outbox.is_empty() {
            world.deliver(ClientId::DRIVER);
        }
        world
    }

    /// What happened, line by line.
    pub(crate) fn story(&self) -> &[String] {
        self.story.as_deref().unwrap_or_default()
    }

    pub(crate) fn tell(&mut self, line: impl FnOnce(&Self) -> String) {
        if let Some(mut story) = self.story.take() {
            story.push(line(self));
            self.story = Some(story);
        }
    }

    /// Plays the whole session. Panics if something is not as it must be.
    pub(crate) fn run(&mut self) {
        loop {
            self.turns += 1;
            assert!(self.turns < MOST_TURNS, "the program does not end");
            let is_deadly = self.turns < DEADLY_TURNS && !self.is_over;
            if is_deadly && self.shared.random.below(1000) < self.setup.deaths {
                self.kill_any();
            }
            if self.shared.random.chance(self.setup.ticks) {
                let step = self.shared.random.pick(&[1_000, 300_000, 2_500_000, 1_500_000_000]);
                self.tick(self.now_ns + step);
            }
            if !self.turn() && !self.wind_down() {
                break;
            }
        }
        self.verify_nothing_is_left();
    }

    /// One thing that can happen; false if there is none.
    fn turn(&mut self) -> bool {
        let mut choices: Vec<(ClientId, Choice)> = Vec::new();
        for (id, client) in &self.clients {
            if !client.outbox.is_empty() {
                choices.push((*id, Choice::Deliver));
            }
            if client.birth != Birth::Reported {
                choices.push((*id, Choice::Start));
            }
            let can_step = if *id == ClientId::DRIVER {
                self.can_driver_step()
            } else {
                client.can_step(self.is_over)
            };
            if can_step {
                choices.push((*id, Choice::Step));
            }
            if self.condemned.contains(id) {
                choices.push((*id, Choice::Die));
            }
        }
        if choices.is_empty() {
            return false;
        }
        let (client, choice) = self.shared.random.pick(&choices);
        match choice {
            Choice::Deliver => self.deliver(client),
            Choice::Start => self.start(client),
            Choice::Step if client == ClientId::DRIVER => self.step_driver(),
            Choice::Step => self.step_worker(client),
            Choice::Die => self.die(client),
        }
        true
    }

    fn can_driver_step(&self) -> bool {
        let driver = &self.clients[&ClientId::DRIVER];
        !driver.inbox.is_empty()
            || self.driver_steps > 0
            || (self.is_over && !driver.handles.is_empty())
    }

    fn step_driver(&mut self) {
        let driver = self.clients.get_mut(&ClientId::DRIVER).unwrap();
        let shared = &mut self.shared;
        if shared.random.chance(60)
            && let Some(letter) = driver.inbox.pop_front()
        {
            let Letter::Reply(id, reply) = letter else { unreachable!("the driver runs nothing") };
            driver.receive(id, reply, shared);
        } else if self.driver_steps > 0 {
            self.driver_steps -= 1;
            driver.act(None, shared);
        } else if self.is_over {
            driver.release_one(shared);
        }
    }

    fn step_worker(&mut self, id: ClientId) {
        let client = self.clients.get_mut(&id).unwrap();
        match client.step(self.is_over, &mut self.shared) {
            Did::Nothing => {}
            Did::Claimed(ticket, position) => {
                let task = self.model.task_of(id, ticket);
                self.tell(|_| format!("{id:?} claims {task:?} ({ticket:?})"));
                self.model.claimed(task, position);
                self.verify_resources();
            }
            Did::Died => self.die(id),
        }
    }

    fn start(&mut self, id: ClientId) {
        let client = self.clients.get_mut(&id).unwrap();
        if client.birth == Birth::Forked {
            client.birth = Birth::Reported;
            self.up.insert(id);
            self.event(Event::WorkerStarted(id));
            self.carry_out();
        } else if self.shared.random.chance(self.setup.failed_starts) {
            self.die(id);
        } else {
            client.birth = Birth::Forked;
        }
    }

    fn tick(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        self.event(Event::Tick(self.now_ns));
        self.carry_out();
    }

    fn kill_any(&mut self) {
        let workers: Vec<ClientId> = self.clients.keys().skip(1).copied().collect();
        if !workers.is_empty() {
            let worker = self.shared.random.pick(&workers);
            self.die(worker);
        }
    }

    /// A worker's process ends: at one of its messages, which comes first.
    fn die(&mut self, id: ClientId) {
        self.tell(|_| format!("{id:?} dies"));
        let client = self.clients.get_mut(&id).unwrap();
        if client.leaving == Leaving::No {
            let unsettled = client.outbox.len() - client.settled.min(client.outbox.len());
            let lost = self.shared.random.place(unsettled + 1);
            client.outbox.truncate(client.outbox.len() - lost);
        }
        while self.clients[&id].outbox.front().is_some() {
            self.deliver(id);
        }
        let client = self.clients.remove(&id).unwrap();
        let death = Death { pid: id.0, exit_code: None, signal: Some(9), note: "".into() };
        let is_started = |ticket: &&Ticket| client.slots[*ticket].claim == Claim::Started;
        let started: Vec<Ticket> = client.slots.keys().filter(is_started).copied().collect();
        let has_been = self.up.contains(&id) || self.condemned.contains(&id);
        let had = self.model.calls.iter().filter_map(|(task, call)| {
            let (worker, ticket) = call.place?;
            (worker == id).then_some((ticket, *task))
        });
        let mut had: Vec<(Ticket, TaskId)> = had.collect();
        had.sort_unstable();
        let had: Vec<(TaskId, bool)> =
            had.into_iter().map(|(ticket, task)| (task, started.contains(&ticket))).collect();
        self.model.process_died(id, &death, has_been, &had);
        self.condemned.remove(&id);
        self.event(Event::WorkerDied(id, death, started));
        self.carry_out();
    }

    /// Nothing happens by itself: something must give. False when nothing is left.
    fn wind_down(&mut self) -> bool {
        if let Some(deadline) = self.node.deadline() {
            self.tick(deadline);
            return true;
        }
        self.verify_stuck();
        if !self.is_over {
            self.tell(|_| "all let go of everything".into());
            self.is_over = true;
            (self.shared.calls_left, self.shared.actors_left) = (0, 0);
            return true;
        }
        if self.clients.values_mut().any(Process::forget_one) {
            return true;
        }
        // Those that wait for resources that an actor has which waits for them.
        let open = self.model.calls.iter().filter(|(_, call)| !call.has_ended());
        let nowhere: Vec<(TaskId, Option<ActorId>)> = open
            .filter(|(_, call)| call.place.is_none())
            .map(|(id, call)| (*id, call.actor))
            .collect();
        let actors = self.model.actors.iter().filter(|(_, row)| row.stage == Stage::Pending);
        let actors: Vec<ActorId> = actors.map(|(id, _)| *id).collect();
        let nowhere = nowhere.into_iter().filter(|(_, actor)| actor.is_none());
        let nowhere: Vec<TaskId> = nowhere.map(|(id, _)| id).collect();
        let driver = self.clients.get_mut(&ClientId::DRIVER).unwrap();
        for task in &nowhere {
            driver.send(Request::Cancel(*task, Cancel { force: false, recursive: false }));
        }
        for actor in &actors {
            driver.send(Request::Kill(*actor, AfterKill::Dead));
        }
        !nowhere.is_empty() || !actors.is_empty()
    }
}

#[derive(Clone, Copy)]
enum Choice {
    Deliver,
    Start,
    Step,
    Die,
}
