//! The runtime around one node: queues, claim slots, processes, virtual time, and the order of it all.
//!
//! ```text
//!   loop: pick by chance  ┌ deliver one client's next message ─▶ model, then node ─▶ actions
//!                         ├ let the disk finish one thing (io.rs)
//!                         ├ let one client take a turn                             │
//!                         ├ fork, report or kill a worker          verified (verify.rs), then done
//!                         └ let time pass, or memory run short
//!   nothing left to pick: what is stuck must be stuck for a reason (stuck.rs); then time passes,
//!   calls time out, all let go of all, what can never run is ended, and the node must be empty.
//! ```
//!
//! Invariant: the model hears of an event before the node does, and `Node::check` runs after each. A
//! worker that dies may do so between any two of its messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use skate_core::action::Action;
use skate_core::event::{Cancel, Creation, Request};
use skate_core::id::{ActorId, ClientId, ObjectId, RequestId, TaskId, Ticket};
use skate_core::memory::Shortage;
use skate_core::node::Node;

use super::body::Did;
use super::client::Client;
use super::io::{Io, Memory};
use super::model::Model;
use super::program::Setup;
use super::random::Random;
use super::seeds::WAYS;
use super::shared::{Birth, Letter, Shared};

/// What the driver does after its program: reads what there is.
const READING_STEPS: u32 = 30;
/// A program that needs more turns does not end.
const MOST_TURNS: u32 = 100_000;
/// From then on no worker dies by chance, so that endless retries end.
const DEADLY_TURNS: u32 = 4_000;

/// One session.
pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) model: Model,
    pub(crate) shared: Shared,
    pub(crate) setup: Setup,
    pub(crate) clients: BTreeMap<ClientId, Client>,
    /// Those that the node is having killed; what they say until then counts. Stopped for want of
    /// memory: whether nothing else ran.
    pub(crate) condemned: BTreeMap<ClientId, Option<bool>>,
    /// Errors without a ref: made, and told.
    pub(crate) unhandled: (u32, u32),
    /// Tasks whose errors readers were given; and those whose errors were told of for want of one.
    pub(crate) read_errors: BTreeSet<TaskId>,
    pub(crate) told_errors: BTreeSet<TaskId>,
    /// Dispatches that the next step must take back.
    pub(crate) to_revoke: Vec<(ClientId, Ticket)>,
    /// Workers that have ended while actions were carried out.
    pub(crate) dying: Vec<ClientId>,
    /// Workers that the next step must end.
    pub(crate) to_kill: BTreeSet<ClientId>,
    pub(crate) pending: VecDeque<Action>,
    /// Creations whose name may be taken.
    pub(crate) unnamed: BTreeMap<TaskId, Creation>,
    /// Items of shared cursors that workers were given and have not told of yet.
    pub(crate) lent: BTreeMap<(ClientId, RequestId), Vec<ObjectId>>,
    /// What the disk has been asked to do.
    pub(crate) disk: Vec<Io>,
    pub(crate) now_ns: u64,
    pub(crate) seen: Seen,
    /// Placement groups that the driver has made and not removed.
    pub(crate) groups: Vec<usize>,
    /// While memory is short: since when, and what was said of it last.
    pub(crate) shortage: Option<(u64, Shortage)>,
    pub(crate) deaths: u32,
    pub(crate) driver_steps: u32,
    pub(crate) is_over: bool,
    pub(crate) turns: u32,
    /// Times in a row that only the time passed.
    pub(crate) quiet_ticks: u32,
    pub(crate) story: Option<Vec<String>>,
}

/// What has happened at least once is not untested.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    /// Spilled values that were given as they are.
    pub(crate) private_reads: u64,
    /// Times that a client was sent to disk with its value.
    pub(crate) disk_leases: u64,
    /// Workers stopped for want of memory: at once; and when what was given had not helped.
    pub(crate) stopped: u64,
    pub(crate) stopped_late: u64,
    /// Streams closed under their producer.
    pub(crate) closed: u64,
    /// Items that went back.
    pub(crate) untaken: u64,
    /// Items that were sent before anybody asked for them.
    pub(crate) ahead: u64,
    /// Actors that were started again.
    pub(crate) restarts: u64,
    /// Items and values that readers were given.
    pub(crate) items: u64,
    pub(crate) values: u64,
}

impl World {
    pub(crate) fn new(seed: u64, tells_story: bool) -> Self {
        let mut random = Random::new(seed);
        let setup = Setup::new(&mut random);
        let mut actions = Vec::new();
        let node = Node::new(&setup.config, &mut actions);
        let mut driver = Client::new(ClientId::DRIVER);
        driver.birth = Birth::Reported;
        let shared = Shared {
            random,
            callables: BTreeMap::new(),
            undefined: BTreeSet::new(),
            reserved: BTreeSet::new(),
            functions: setup.functions.clone(),
            classes: setup.classes.clone(),
            plans: BTreeMap::new(),
            holds_of: BTreeMap::new(),
            closing: BTreeSet::new(),
            class_of: BTreeMap::new(),
            memory: Memory::new(setup.config.capacity),
            actors_left: setup.actors,
            calls_left: setup.calls,
            stored: setup.stored,
            is_pressed: setup.is_pressed,
            lost: BTreeSet::new(),
            cancels: setup.cancels,
            kills: setup.kills,
            closes: setup.closes,
        };
        let model = Model::new(setup.config.oom_retries);
        let mut world = Self {
            node,
            model,
            shared,
            clients: [(ClientId::DRIVER, driver)].into(),
            condemned: BTreeMap::new(),
            unhandled: (0, 0),
            read_errors: BTreeSet::new(),
            told_errors: BTreeSet::new(),
            to_revoke: Vec::new(),
            dying: Vec::new(),
            to_kill: BTreeSet::new(),
            pending: actions.into(),
            unnamed: BTreeMap::new(),
            lent: BTreeMap::new(),
            disk: Vec::new(),
            now_ns: 0,
            seen: Seen::default(),
            groups: Vec::new(),
            shortage: None,
            deaths: 0,
            driver_steps: setup.driver_steps + READING_STEPS,
            is_over: false,
            turns: 0,
            quiet_ticks: 0,
            story: tells_story.then(Vec::new),
            setup,
        };
        world.tell(|world| format!("{:?}", world.setup.config));
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

    /// How often each of `seeds::WAYS` was gone.
    pub(crate) fn ways(&self) -> [u64; WAYS.len()] {
        let Seen { private_reads, disk_leases, closed, untaken, restarts, items, values, .. } =
            self.seen;
        let Seen { stopped, stopped_late, ahead, .. } = self.seen;
        let found = self.node.statistics();
        let (written, read) = (found.disk_written_bytes, found.disk_read_bytes);
        let of_actors = self.model.tasks.values().filter(|task| task.actor.is_some()).count();
        let claims = self.model.tasks.values().map(|task| u64::from(task.claims)).sum();
        let (tasks, deaths) = (self.model.tasks.len() as u64, u64::from(self.deaths));
        [
            tasks,
            of_actors as u64,
            claims,
            deaths,
            values,
            items,
            written,
            read,
            private_reads,
            disk_leases,
            stopped,
            stopped_late,
            closed + untaken,
            ahead,
            restarts,
        ]
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
            if is_deadly && self.shared.random.below(1000) < self.setup.shortages {
                let is_short = self.shared.random.chance(70);
                self.look_at_memory(is_short);
            }
            if self.turn() {
                self.quiet_ticks = 0;
            } else if !self.wind_down() {
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
            if client.birth != Birth::Reported {
                choices.push((*id, Choice::Start));
            }
            let can_step =
                if is_driver { self.can_driver_step() } else { client.can_step(self.is_over) };
            if can_step {
                choices.push((*id, Choice::Step));
            }
            if self.condemned.contains_key(id) {
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
                let is_task = |id: &TaskId| !self.model.actors.contains_key(&ActorId(*id));
                let running: Vec<TaskId> = running.map(|(id, _)| *id).filter(is_task).collect();
                if !running.is_empty() {
                    let task = shared.random.pick(&running);
                    driver.send(Request::Cancel(task, Cancel { force: false, recursive: true }));
                }
            }
            if !self.setup.groups.is_empty() && shared.random.chance(10) {
                return self.change_groups();
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
        if self.advance(id) {
            self.die(id);
        }
    }

    /// One turn of a worker; whether its process ends with it.
    pub(crate) fn advance(&mut self, id: ClientId) -> bool {
        let client = self.clients.get_mut(&id).unwrap();
        match client.step(self.is_over, &mut self.shared) {
            Did::Nothing => {}
            Did::Claimed(ticket, position) => {
                let task = self.model.task_of(id, ticket);
                self.tell(|_| format!("{id:?} claims {task:?} ({ticket:?})"));
                self.model.claimed(task, position);
                self.verify_resources();
            }
            Did::Died => return true,
        }
        false
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
