//! A node with workers that do at once what they are told.
#![allow(dead_code, reason = "each bench uses its part")]

use std::collections::VecDeque;
use std::sync::Arc;

use skate_core::action::{Action, Reply};
use skate_core::event::{
    Args, End, Event, Held, OnDrop, Outcome, Request, Returns, Submit, Template,
};
use skate_core::id::{ClientId, FunctionId, ObjectId, RequestId, TaskId, TemplateId, Ticket};
use skate_core::node::{Config, Node};
use skate_core::value::{Bytes, NONE, Payload, Value};

const PLAIN: TemplateId = TemplateId(1);
const STREAMING: TemplateId = TemplateId(2);

/// The node, and what the bench remembers on the driver's behalf.
pub(crate) struct Bench {
    node: Node,
    actions: Vec<Action>,
    /// Dispatches that wait for their worker.
    due: VecDeque<(ClientId, Ticket)>,
    tasks: Vec<TaskId>,
    counter: u64,
    requests: u64,
    none: Bytes,
    stream: Option<(TaskId, ClientId, Ticket)>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with_workers(2)
    }

    /// So many CPUs, and a worker for each.
    pub(crate) fn with_workers(workers: u32) -> Self {
        let mut actions = Vec::new();
        let config = Config {
            resources: vec![(Arc::from("CPU"), u64::from(workers) * 10_000)],
            capacity: 1 << 30,
            spill: Ok(1 << 40),
            oom_retries: -1,
            prestart: workers,
            max_workers: 16 * workers,
        };
        let node = Node::new(&config, &mut actions);
        let mut bench = Self {
            node,
            actions: Vec::new(),
            due: VecDeque::new(),
            tasks: Vec::new(),
            counter: 0,
            requests: 0,
            none: NONE.into(),
            stream: None,
        };
        for action in actions {
            let Action::Spawn(worker) = action else { panic!("only workers are asked for") };
            bench.step(Event::WorkerStarted(worker));
        }
        for (id, returns) in [(PLAIN, Returns::Static(1)), (STREAMING, Returns::Streaming)] {
            let template = Template {
                name: Arc::from("no_op"),
                function: FunctionId(7),
                lane: 0,
                resources: Box::new([(Arc::from("CPU"), 10_000)]),
                returns,
                max_retries: 3,
                window: None,
                window_bytes: None,
                on_drop: OnDrop::RunOn,
                body: NONE.into(),
            };
            bench.driver(Request::Define(id, Arc::new(template), None));
        }
        bench
    }

    /// Room for what the bench itself remembers, so that only the node allocates later.
    pub(crate) fn reserve(&mut self, tasks: usize) {
        self.tasks.reserve_exact(tasks);
        self.due.reserve_exact(1_024);
        self.actions.reserve_exact(1_024);
    }

    fn step(&mut self, event: Event) {
        self.node.step(event, &mut self.actions);
        for action in self.actions.drain(..) {
            if let Action::Run(worker, run) = action {
                self.due.push_back((worker, run.ticket));
            }
        }
    }

    fn driver(&mut self, request: Request) {
        self.step(Event::Client(ClientId::DRIVER, request));
    }

    /// What the driver asks, and what it is answered at once.
    fn ask(&mut self, request: impl FnOnce(RequestId) -> Request) -> Reply {
        self.requests += 1;
        let request = request(RequestId(self.requests));
        self.node.step(Event::Client(ClientId::DRIVER, request), &mut self.actions);
        let mut replies = self.actions.drain(..).filter_map(|action| match action {
            Action::Reply(_, _, reply) => Some(reply),
            _ => None,
        });
        replies.next().expect("everything asked here is ready")
    }

    fn fresh(&mut self) -> TaskId {
        self.counter += 1;
        TaskId::new(ClientId::DRIVER, self.counter)
    }

    fn submit(&mut self, template: TemplateId) -> TaskId {
        let task = self.fresh();
        self.driver(Request::Submit(Submit {
            task,
            template,
            actor: None,
            parent: None,
            name: None,
            args: Args::Inline(self.none.clone()),
            waits: Box::default(),
            holds: Box::default(),
        }));
        task
    }

    fn value(&self) -> Value {
        Value::Data(Payload::Inline(self.none.clone()))
    }

    pub(crate) fn submit_task(&mut self) {
        let task = self.submit(PLAIN);
        self.tasks.push(task);
    }

    /// Until no worker has anything to do.
    pub(crate) fn run_tasks(&mut self) {
        while let Some((worker, ticket)) = self.due.pop_front() {
            let end = End::Returned(vec![(self.value(), Box::default())]);
            let outcome = Outcome { end, began_ns: 0, ran_ns: 500, unhandled: None };
            self.step(Event::Client(worker, Request::Finished(ticket, outcome)));
        }
    }

    fn take(&mut self, object: ObjectId) {
        let reply = self.ask(|request| Request::Get(request, Box::new([object])));
        assert!(matches!(reply, Reply::Values { .. }), "{reply:?}");
        self.driver(Request::Release(Held::Object(object)));
    }

    pub(crate) fn get_and_release(&mut self) {
        for at in 0..self.tasks.len() {
            self.take(self.tasks[at].item(0));
        }
        self.tasks.clear();
    }

    pub(crate) fn begin_stream(&mut self) {
        let task = self.submit(STREAMING);
        let (worker, ticket) = self.due.pop_front().expect("a worker is idle");
        self.stream = Some((task, worker, ticket));
    }

    /// The worker yields.
    pub(crate) fn yield_item(&mut self, index: u64) {
        let (_, worker, ticket) = self.stream.expect("begun");
        let yielded = Request::Yielded(ticket, index, self.value(), Box::default(), 0);
        self.step(Event::Client(worker, yielded));
    }

    /// The driver takes the next one.
    pub(crate) fn take_item(&mut self) {
        let (task, ..) = self.stream.expect("begun");
        let reply = self.ask(|request| Request::Next(request, task, None));
        let Reply::Items(items) = reply else { panic!("no items: {reply:?}") };
        self.take(items.ids[0]);
    }

    pub(crate) fn end_stream(&mut self, items: u64) {
        let (task, worker, ticket) = self.stream.take().expect("begun");
        let end = End::Exhausted(items, self.value(), Box::default());
        let outcome = Outcome { end, began_ns: 0, ran_ns: 500, unhandled: None };
        self.step(Event::Client(worker, Request::Finished(ticket, outcome)));
        self.driver(Request::Release(Held::Stream(task)));
    }

    /// Whether the node has forgotten everything.
    pub(crate) fn is_clean(&self) -> bool {
        let statistics = self.node.statistics();
        statistics.tasks == 0 && statistics.objects == 0 && statistics.driver_handles == 0
    }
}
