//! The runtime around one node: queues, claim slots, processes, virtual time, and the order of it all.
//!
//! ```text
//!   loop: pick by chance  ┌ deliver one client's next message ─▶ model, then node ─▶ actions
//!                         ├ let the disk finish one thing (io.rs)
//!                         ├ let one client take a turn                             │
//!                         ├ fork, report or kill a worker          verified (verify.rs), then done
//!                         └ let time pass
//!   nothing left to pick: what is stuck must be stuck for a reason (verify.rs); then time passes,
//!   calls time out, all let go of all, what can never run is cancelled, and the node must be empty.
//! ```
//!
//! Invariant: the model hears of an event before the node does, and `Node::check` runs after each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use skate_core::action::Action;
use skate_core::event::{Cancel, Event, Request};
use skate_core::id::{ClientId, ObjectId, RequestId, TaskId, Ticket};
use skate_core::node::Node;
use skate_core::value::Death;

use super::client::{Claim, Client, Letter, Process, Shared};
use super::io::{Io, Memory};
use super::model::{Crash, Model};
use super::program::Setup;
use super::random::Random;
use super::worker::Did;

/// What the driver does after its program: reads what there is.
const READING_STEPS: u32 = 30;
/// A program that needs more turns does not end.
const MOST_TURNS: u32 = 100_000;
/// From then on no worker dies by chance, so that endless retries end.
const DEADLY_TURNS: u32 = 5_000;
/// Failed starts before a task is told.
const MOST_START_FAILURES: u32 = 3;

/// While somebody waits for space the node looks again and again: by then it has seen all there is.
const MOST_QUIET_TICKS: u32 = 100;

/// One session.
pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) model: Model,
    pub(crate) shared: Shared,
    pub(crate) setup: Setup,
    pub(crate) clients: BTreeMap<ClientId, Client>,
    /// Those that the node is having killed; what they say until then counts.
    pub(crate) condemned: BTreeSet<ClientId>,
    /// Errors without a ref: made, and told.
    pub(crate) unhandled: (u32, u32),
    /// Dispatches that the next step must take back.
    pub(crate) to_revoke: Vec<(ClientId, Ticket)>,
    pub(crate) pending: VecDeque<Action>,
    /// Items of shared cursors that workers were given and have not told of yet.
    pub(crate) lent: BTreeMap<(ClientId, RequestId), ObjectId>,
    /// What the disk has been asked to do.
    pub(crate) disk: Vec<Io>,
    pub(crate) now_ns: u64,
    /// The node knows that they are there.
    pub(crate) up: BTreeSet<ClientId>,
    /// Spilled values that were given as they are.
    pub(crate) private_reads: u32,
    /// Times that a client was sent to disk with its value.
    pub(crate) disk_leases: u32,
    driver_steps: u32,
    is_over: bool,
    turns: u32,
    /// Times in a row that only the time passed.
    quiet_ticks: u32,
    story: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, tells_story: bool) -> Self {
        let mut random = Random::new(seed);
        let setup = Setup::new(&mut random);
        let mut actions = Vec::new();
        let node = Node::new(&setup.config, &mut actions);
        let mut driver = Client::new(ClientId::DRIVER);
        driver.process = Process::Reported;
        for function in &setup.functions {
            driver.send(Request::Define(function.id, function.template.clone()));
        }
        let shared = Shared {
            random,
            functions: setup.functions.clone(),
            plans: BTreeMap::new(),
            holds_of: BTreeMap::new(),
            memory: Memory::new(setup.config.capacity),
            calls_left: setup.calls,
            stored: setup.stored,
            is_pressed: setup.is_pressed,
            lost: BTreeSet::new(),
            cancels: setup.cancels,
        };
        let mut world = Self {
            node,
            model: Model::default(),
            shared,
            clients: [(ClientId::DRIVER, driver)].into(),
            condemned: BTreeSet::new(),
            unhandled: (0, 0),
            to_revoke: Vec::new(),
            pending: actions.into(),
            lent: BTreeMap::new(),
            disk: Vec::new(),
            now_ns: 0,
            up: BTreeSet::new(),
            private_reads: 0,
            disk_leases: 0,
            driver_steps: setup.driver_steps + READING_STEPS,
            is_over: false,
            turns: 0,
            quiet_ticks: 0,
            story: tells_story.then(Vec::new),
            setup,
        };
        world.tell(|world| format!("{:?}", world.setup.config));
        // The driver defines everything before anybody can know of it.
        for _ in 0..world.setup.functions.len() {
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
        self.verify_end();
    }

    /// One thing that can happen; false if there is none.
    fn turn(&mut self) -> bool {
        let mut choices: Vec<(ClientId, Choice)> = Vec::new();
        for (id, client) in &self.clients {
            let is_driver = *id == ClientId::DRIVER;
            if !client.outbox.is_empty() {
                choices.push((*id, Choice::Deliver));
            }
            if client.process != Process::Reported {
                choices.push((*id, Choice::Start));
            }
            let can_step =
                if is_driver { self.can_driver_step() } else { client.can_step(self.is_over) };
            if can_step {
                choices.push((*id, Choice::Step));
            }
            if self.condemned.contains(id) {
                choices.push((*id, Choice::Die));
            }
        }
        if !self.disk.is_empty() {
            choices.push((ClientId::DRIVER, Choice::Disk));
        }
        if choices.is_empty() {
            return false;
        }
        if self.setup.is_crowd && self.driver_steps > READING_STEPS && self.shared.random.chance(90)
        {
            choices.retain(|(id, choice)| {
                *id == ClientId::DRIVER || matches!(choice, Choice::Start | Choice::Deliver)
            });
        }
        let (client, choice) = self.shared.random.pick(&choices);
        match choice {
            Choice::Deliver => self.deliver(client),
            Choice::Start => self.start(client),
            Choice::Step if client == ClientId::DRIVER => self.step_driver(),
            Choice::Step => self.step_worker(client),
            Choice::Die => self.die(client),
            Choice::Disk => self.finish_io(),
        }
        true
    }

    fn can_driver_step(&self) -> bool {
        let driver = &self.clients[&ClientId::DRIVER];
        !driver.inbox.is_empty()
            || self.driver_steps > 0
            || (self.is_over && driver.holds_anything())
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
            if shared.random.below(500) < self.setup.cancels {
                // Somebody's who runs, and may have called others.
                let running = self.model.tasks.iter().filter(|(_, task)| task.place.is_some());
                let running: Vec<TaskId> = running.map(|(id, _)| *id).collect();
                if !running.is_empty() {
                    let task = shared.random.pick(&running);
                    driver.send(Request::Cancel(task, Cancel { force: false, recursive: true }));
                }
            }
            if self.driver_steps >= READING_STEPS {
                driver.act(None, shared);
            } else {
                driver.read(false, shared);
            }
        } else if self.is_over {
            driver.release_one(shared);
        }
    }

    fn step_worker(&mut self, id: ClientId) {
        let client = self.clients.get_mut(&id).unwrap();
        match client.step(self.is_over, &mut self.shared) {
            Did::Nothing => {}
            Did::Claimed => {
                let run = &client.execution.as_ref().unwrap().run;
                let (task, ticket) = (run.task, run.ticket);
                self.tell(|_| format!("{id:?} claims {task:?} ({ticket:?})"));
                self.model.claimed(task);
                self.verify_resources();
            }
            Did::Died => self.die(id),
        }
    }

    fn start(&mut self, id: ClientId) {
        let client = self.clients.get_mut(&id).unwrap();
        if client.process == Process::Forked {
            client.process = Process::Reported;
            self.up.insert(id);
            self.event(Event::WorkerStarted(id));
            self.carry_out();
        } else if self.shared.random.chance(self.setup.failed_starts) {
            self.die(id);
        } else {
            client.process = Process::Forked;
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

    /// A worker's process ends; what it had sent is read first.
    fn die(&mut self, id: ClientId) {
        self.tell(|_| format!("{id:?} dies"));
        while self.clients[&id].outbox.front().is_some() {
            self.deliver(id);
        }
        let death = Death { pid: id.0, exit_code: None, signal: Some(9), note: "".into() };
        let client = self.clients.remove(&id).unwrap();
        let is_started = |ticket: &&Ticket| client.slots[*ticket].claim == Claim::Started;
        let started: Vec<Ticket> = client.slots.keys().filter(is_started).copied().collect();
        // One that was to be killed has not failed by itself.
        let has_been = self.up.contains(&id) || self.condemned.contains(&id);
        let of_client = |task: &super::model::Task| {
            let (worker, ticket) = task.place?;
            (worker == id).then_some(ticket)
        };
        let tasks = self.model.tasks.iter();
        let mut had: Vec<(Ticket, TaskId)> =
            tasks.filter_map(|(id, task)| Some((of_client(task)?, *id))).collect();
        had.sort_unstable();
        for (place, (ticket, task)) in had.into_iter().enumerate() {
            let crash = if started.contains(&ticket) {
                Crash::Started
            } else if place == 0
                && !has_been
                && self.model.start_failed(task) >= MOST_START_FAILURES
            {
                Crash::CannotStart
            } else {
                Crash::NotStarted
            };
            self.model.crashed(task, &death, crash);
        }
        for ((client, _), item) in &self.lent {
            if *client == id {
                self.model.untook(*item);
            }
        }
        self.lent.retain(|(client, _), _| *client != id);
        self.condemned.remove(&id);
        self.event(Event::WorkerDied(id, death, started));
        self.carry_out();
    }

    /// Nothing happens by itself: something must give. False when nothing is left.
    fn wind_down(&mut self) -> bool {
        let deadline = self.node.deadline();
        if let Some(deadline) = deadline.filter(|_| self.quiet_ticks < MOST_QUIET_TICKS) {
            self.quiet_ticks += 1;
            self.tick(deadline);
            return true;
        }
        self.quiet_ticks = 0;
        self.verify_stuck();
        let is_over = self.is_over;
        if self.clients.values_mut().any(|client| client.forget_one(!is_over)) {
            return true;
        }
        if !self.is_over {
            self.tell(|_| "all let go of everything".into());
            self.is_over = true;
            self.shared.calls_left = 0;
            return true;
        }
        let open = self.model.tasks.iter().filter(|(_, task)| !task.has_ended());
        let nowhere = open.filter(|(_, task)| task.place.is_none());
        let nowhere: Vec<TaskId> = nowhere.map(|(id, _)| *id).collect();
        let driver = self.clients.get_mut(&ClientId::DRIVER).unwrap();
        for task in &nowhere {
            driver.send(Request::Cancel(*task, Cancel { force: false, recursive: false }));
        }
        !nowhere.is_empty()
    }
}

#[derive(Clone, Copy)]
enum Choice {
    Deliver,
    Start,
    Step,
    Die,
    Disk,
}
