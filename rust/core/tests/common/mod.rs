//! A node with honest clients, for tests that play one short story by hand.
//!
//! Workers start and claim when the test says so; dispatches are taken back unless they were claimed.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

use std::collections::BTreeSet;
use std::sync::Arc;

use skate_core::action::{Action, Reply, Run};
use skate_core::event::{
    Args, Cancel, Creation, End, Event, Held, OnDrop, Order, Outcome, Patience, Request, Returns,
    Submit, Template, Waitable,
};
use skate_core::id::{
    ActorId, ClientId, FunctionId, ObjectId, RequestId, TaskId, TemplateId, Ticket,
};
use skate_core::node::{Config, Node};
use skate_core::value::{Bytes, Death, Payload, Value};

pub(crate) const DRIVER: ClientId = ClientId::DRIVER;
pub(crate) const ONE: u64 = 10_000;

/// A node, what it has decided, and what its workers have claimed.
pub(crate) struct Stage {
    pub(crate) node: Node,
    pub(crate) runs: Vec<(ClientId, Run)>,
    pub(crate) replies: Vec<(ClientId, RequestId, Reply)>,
    pub(crate) spawned: Vec<ClientId>,
    /// Everything else.
    pub(crate) actions: Vec<Action>,
    claimed: BTreeSet<(ClientId, Ticket)>,
    counter: u64,
    checks: bool,
}

impl Stage {
    /// So many CPUs, one `x`, and workers up to a limit.
    pub(crate) fn new(cpus: u64, max_workers: u32) -> Self {
        Self::with_pool(cpus, max_workers, 0)
    }

    /// The same, with so many workers from the start.
    pub(crate) fn with_pool(cpus: u64, max_workers: u32, prestart: u32) -> Self {
        Self::of(&Config {
            resources: vec![("CPU".into(), cpus * ONE), ("x".into(), ONE)],
            capacity: 1 << 20,
            spill: Err("it is off".into()),
            oom_retries: -1,
            prestart,
            max_workers,
        })
    }

    pub(crate) fn of(config: &Config) -> Self {
        let mut actions = Vec::new();
        let node = Node::new(config, &mut actions);
        let spawned = actions.iter().filter_map(|action| match action {
            Action::Spawn(worker) => Some(*worker),
            _ => None,
        });
        Self {
            node,
            runs: Vec::new(),
            replies: Vec::new(),
            spawned: spawned.collect(),
            actions: Vec::new(),
            claimed: BTreeSet::new(),
            counter: 0,
            checks: true,
        }
    }

    /// Without the check after each step, for many steps.
    pub(crate) fn unchecked(mut self) -> Self {
        self.checks = false;
        self
    }

    pub(crate) fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(crate) fn step(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.node.step(event, &mut actions);
        if self.checks {
            self.node.check();
        }
        for action in actions {
            match action {
                Action::Run(worker, run) => self.runs.push((worker, run)),
                Action::Reply(client, id, reply) => self.replies.push((client, id, reply)),
                Action::Spawn(worker) => self.spawned.push(worker),
                Action::Revoke(worker, ticket) if !self.claimed.contains(&(worker, ticket)) => {
                    self.step(Event::Revoked(worker, ticket));
                }
                Action::Revoke(worker, ticket) => self.step(Event::RevokeRefused(worker, ticket)),
                other => self.actions.push(other),
            }
        }
    }

    pub(crate) fn say(&mut self, client: ClientId, request: Request) {
        self.step(Event::Client(client, request));
    }

    pub(crate) fn define(&mut self, number: u64, returns: Returns, resources: &[(&str, u64)]) {
        self.define_retried(number, returns, resources, 0);
    }

    /// The same, run again so often.
    pub(crate) fn define_retried(
        &mut self,
        number: u64,
        returns: Returns,
        resources: &[(&str, u64)],
        max_retries: i32,
    ) {
        let resources = resources.iter().map(|(name, amount)| ((*name).into(), *amount)).collect();
        let template = Template {
            name: format!("f{number}").into(),
            function: FunctionId(1),
            resources,
            returns,
            max_retries,
            window: None,
            window_bytes: None,
            on_drop: OnDrop::RunOn,
            lane: 0,
            body: bytes(),
        };
        self.say(DRIVER, Request::Define(TemplateId(number), Arc::new(template), None));
    }

    pub(crate) fn submit(&mut self, template: u64, waits: &[ObjectId]) -> TaskId {
        self.submit_by(DRIVER, None, template, waits)
    }

    pub(crate) fn submit_by(
        &mut self,
        client: ClientId,
        parent: Option<TaskId>,
        template: u64,
        waits: &[ObjectId],
    ) -> TaskId {
        let task = TaskId::new(client, self.count());
        let submit = Submit {
            task,
            template: TemplateId(template),
            parent,
            name: None,
            args: Args::Inline(bytes()),
            waits: waits.into(),
            holds: Box::default(),
            actor: None,
        };
        self.say(client, Request::Submit(submit));
        task
    }

    /// A call of an actor, or the constructor of one, not said yet.
    pub(crate) fn of_actor(
        &mut self,
        template: u64,
        actor: Option<ActorId>,
        waits: &[ObjectId],
    ) -> Submit {
        let task = TaskId::new(DRIVER, self.count());
        Submit {
            task,
            template: TemplateId(template),
            parent: None,
            name: None,
            args: Args::Inline(bytes()),
            waits: waits.into(),
            holds: Box::default(),
            actor: Some(actor.unwrap_or(ActorId(task))),
        }
    }

    /// Has the driver make an actor by that constructor.
    pub(crate) fn create(
        &mut self,
        submit: Submit,
        max_restarts: i32,
        order: Order,
        lanes: &[u32],
    ) -> ActorId {
        let actor = ActorId(submit.task);
        let creation = Creation {
            submit,
            name: None,
            placing: Box::default(),
            max_restarts,
            is_detached: false,
            order,
            lanes: lanes.into(),
            body: bytes(),
        };
        self.say(DRIVER, Request::Create(Box::new(creation)));
        actor
    }

    pub(crate) fn get(&mut self, client: ClientId, ids: &[ObjectId]) -> RequestId {
        let id = RequestId(self.count());
        self.say(client, Request::Get(id, ids.into()));
        id
    }

    pub(crate) fn wait(&mut self, client: ClientId, on: &[Waitable], count: u32) -> RequestId {
        let id = RequestId(self.count());
        self.say(client, Request::Wait(id, on.into(), count, Patience::Until));
        id
    }

    pub(crate) fn cancel(&mut self, task: TaskId, recursive: bool) {
        self.say(DRIVER, Request::Cancel(task, Cancel { force: false, recursive }));
    }

    /// Where a task was dispatched last.
    pub(crate) fn run_of(&self, task: TaskId) -> Option<(ClientId, Ticket)> {
        let run = self.runs.iter().rev().find(|(_, run)| run.task == task);
        run.map(|(worker, run)| (*worker, run.ticket))
    }

    /// Its worker starts on it.
    pub(crate) fn claim(&mut self, task: TaskId) -> (ClientId, Ticket) {
        let place = self.run_of(task).unwrap();
        self.claimed.insert(place);
        place
    }

    pub(crate) fn finish(&mut self, task: TaskId, end: End) {
        let (worker, ticket) = self.claim(task);
        let outcome = Outcome { end, began_ns: 0, ran_ns: 1_000, unhandled: None };
        self.say(worker, Request::Finished(ticket, outcome));
    }

    /// It began then, took 1 µs, and returned one value.
    pub(crate) fn finish_at(&mut self, task: TaskId, began_ns: u64) {
        let (worker, ticket) = self.claim(task);
        let end = End::Returned(vec![(value(), Box::default())]);
        let outcome = Outcome { end, began_ns, ran_ns: 1_000, unhandled: None };
        self.say(worker, Request::Finished(ticket, outcome));
    }

    /// It returns one value.
    pub(crate) fn finish_one(&mut self, task: TaskId) {
        self.finish(task, End::Returned(vec![(value(), Box::default())]));
    }

    pub(crate) fn yields(&mut self, task: TaskId, index: u64) {
        let (worker, ticket) = self.claim(task);
        self.say(worker, Request::Yielded(ticket, index, value(), Box::default(), 0));
    }

    pub(crate) fn block(&mut self, task: TaskId) {
        let (worker, ticket) = self.claim(task);
        self.say(worker, Request::Blocked(ticket));
    }

    pub(crate) fn release(&mut self, held: Held) {
        self.say(DRIVER, Request::Release(held));
    }

    pub(crate) fn reply_to(&self, id: RequestId) -> Option<&Reply> {
        let reply = self.replies.iter().find(|(_, request, _)| *request == id);
        reply.map(|(_, _, reply)| reply)
    }
}

pub(crate) fn bytes() -> Bytes {
    (&[7u8][..]).into()
}

pub(crate) fn value() -> Value {
    Value::Data(Payload::Inline(bytes()))
}

pub(crate) fn error() -> Value {
    Value::Raised(Payload::Inline(bytes()))
}

pub(crate) fn killed() -> Death {
    Death { pid: 1, exit_code: None, signal: Some(9), note: "".into() }
}
