//! Who waits for space in the store, who goes first, and when it is an error.

use std::sync::Arc;

use skate_core::action::{Action, Reply, Run};
use skate_core::event::{Args, Event, Held, OnDrop, Request, Returns, Submit, Template, Within};
use skate_core::id::{ClientId, FunctionId, RequestId, TaskId, TemplateId, Ticket};
use skate_core::node::{Config, Node};
use skate_core::value::{Failure, NONE, Payload, Span, Value};

const CAPACITY: u64 = 1000 * 64;
const DRIVER: ClientId = ClientId::DRIVER;
const CHECK_NS: u64 = 25_000_000;

/// A node with as many streaming tasks as workers, each running.
struct Bench {
    node: Node,
    now_ns: u64,
    runs: Vec<(ClientId, Run)>,
    replies: Vec<(ClientId, RequestId, Reply)>,
}

impl Bench {
    fn new(tasks: u64) -> Self {
        let config = Config {
            resources: vec![("CPU".into(), 10_000 * tasks)],
            capacity: CAPACITY,
            spill: Err("it is off".into()),
            oom_retries: -1,
            prestart: tasks as u32,
            max_workers: 10,
        };
        let mut actions = Vec::new();
        let node = Node::new(&config, &mut actions);
        let mut bench = Self { node, now_ns: 0, runs: Vec::new(), replies: Vec::new() };
        for action in actions {
            let Action::Spawn(worker) = action else { panic!("only workers are asked for") };
            bench.step(Event::WorkerStarted(worker));
        }
        let template = Template {
            name: "produce".into(),
            function: FunctionId(1),
            resources: Box::new([("CPU".into(), 10_000)]),
            returns: Returns::Streaming,
            max_retries: 0,
            window: None,
            window_bytes: None,
            on_drop: OnDrop::RunOn,
            lane: 0,
            body: NONE.into(),
        };
        bench.ask(DRIVER, Request::Define(TemplateId(1), Arc::new(template), None));
        for counter in 1..=tasks {
            bench.ask(
                DRIVER,
                Request::Submit(Submit {
                    task: TaskId::new(DRIVER, counter),
                    template: TemplateId(1),
                    actor: None,
                    parent: None,
                    name: None,
                    args: Args::Inline(NONE.into()),
                    waits: Box::default(),
                    holds: Box::default(),
                }),
            );
        }
        bench
    }

    fn step(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.node.step(event, &mut actions);
        self.node.check();
        for action in actions {
            match action {
                Action::Run(worker, run) => self.runs.push((worker, run)),
                Action::Reply(client, request, reply) => {
                    self.replies.push((client, request, reply));
                }
                _ => {}
            }
        }
    }

    fn ask(&mut self, client: ClientId, request: Request) {
        self.step(Event::Client(client, request));
    }

    fn allocate(&mut self, client: ClientId, request: u64, size: u64) {
        self.ask(client, Request::Allocate(RequestId(request), size, Within::Memory));
    }

    /// The answer to a request, if it has come.
    fn answer(&self, client: ClientId, request: u64) -> Option<Reply> {
        let is_it =
            |row: &&(ClientId, RequestId, Reply)| (row.0, row.1) == (client, RequestId(request));
        self.replies.iter().find(is_it).map(|row| row.2.clone())
    }

    fn lease(&self, client: ClientId, request: u64) -> Span {
        match self.answer(client, request) {
            Some(Reply::Lease(span)) => span,
            other => panic!("no lease for {client:?}: {other:?}"),
        }
    }

    /// The task's next item is in that lease, which ends.
    fn yields(&mut self, run: usize, index: u64, lease: Span) {
        let (worker, ticket) = self.dispatch(run);
        let value = Value::Data(Payload::Block(lease));
        self.ask(worker, Request::Yielded(ticket, index, value, Box::default(), 0));
        self.ask(worker, Request::Release(Held::Lease(lease.offset)));
    }

    fn dispatch(&self, run: usize) -> (ClientId, Ticket) {
        let (worker, run) = &self.runs[run];
        (*worker, run.ticket)
    }

    fn tick(&mut self, later_ns: u64) {
        self.now_ns += later_ns;
        self.step(Event::Tick(self.now_ns));
    }

    /// The driver waits for a task's end: it can free nothing meanwhile.
    fn driver_waits(&mut self, counter: u64) {
        let whole = TaskId::new(DRIVER, counter).whole();
        self.ask(DRIVER, Request::Hold(Held::Object(whole)));
        self.ask(DRIVER, Request::Get(RequestId(99), [whole].into()));
    }
}

#[test]
fn space_that_comes_free_goes_to_the_first_in_the_queue() {
    let mut bench = Bench::new(2);
    let (one, two) = (bench.dispatch(0).0, bench.dispatch(1).0);
    bench.allocate(DRIVER, 1, CAPACITY);
    bench.allocate(one, 1, 64);
    bench.allocate(two, 1, 64);
    assert_eq!((bench.answer(one, 1), bench.answer(two, 1)), (None, None));
    let all = bench.lease(DRIVER, 1);
    bench.ask(DRIVER, Request::Release(Held::Lease(all.offset)));
    assert!(bench.lease(one, 1).offset < bench.lease(two, 1).offset);
}

#[test]
fn small_one_does_not_overtake_a_large_one() {
    let mut bench = Bench::new(2);
    let (one, two) = (bench.dispatch(0).0, bench.dispatch(1).0);
    bench.allocate(DRIVER, 1, CAPACITY / 2);
    bench.allocate(one, 1, CAPACITY);
    bench.allocate(two, 1, 64);
    assert_eq!(bench.answer(two, 1), None);
    let half = bench.lease(DRIVER, 1);
    bench.ask(DRIVER, Request::Release(Held::Lease(half.offset)));
    assert_eq!(bench.lease(one, 1).len, CAPACITY);
}

#[test]
fn what_is_larger_than_the_store_fails_at_once() {
    let mut bench = Bench::new(1);
    bench.allocate(DRIVER, 1, CAPACITY + 1);
    let Some(Reply::Failed(Failure::StoreFull { need, .. })) = bench.answer(DRIVER, 1) else {
        panic!("it can never fit")
    };
    assert_eq!(need, CAPACITY + 1);
}

#[test]
fn producer_with_unread_items_leaves_a_fifth_to_one_without() {
    let mut bench = Bench::new(2);
    let (producer, other) = (bench.dispatch(0).0, bench.dispatch(1).0);
    bench.allocate(producer, 1, CAPACITY * 3 / 4);
    let lease = bench.lease(producer, 1);
    bench.yields(0, 0, lease);
    bench.allocate(producer, 2, CAPACITY / 8);
    assert_eq!(bench.answer(producer, 2), None, "it has an unread item");
    bench.allocate(other, 1, CAPACITY / 8);
    bench.lease(other, 1);
    let item = TaskId::new(DRIVER, 1).item(0);
    bench.ask(DRIVER, Request::Next(RequestId(1), TaskId::new(DRIVER, 1), None));
    bench.ask(DRIVER, Request::Release(Held::Object(item)));
    bench.lease(producer, 2);
}

#[test]
fn paused_producer_goes_on_when_nobody_has_read_for_a_second() {
    let mut bench = Bench::new(1);
    let producer = bench.dispatch(0).0;
    bench.allocate(producer, 1, CAPACITY * 3 / 4);
    let lease = bench.lease(producer, 1);
    bench.yields(0, 0, lease);
    bench.allocate(producer, 2, CAPACITY / 8);
    for _ in 0..39 {
        bench.tick(CHECK_NS);
    }
    assert_eq!(bench.answer(producer, 2), None);
    bench.tick(CHECK_NS);
    bench.lease(producer, 2);
}

#[test]
fn allocation_fails_only_when_all_who_could_free_wait() {
    let mut bench = Bench::new(2);
    let one = bench.dispatch(0).0;
    bench.allocate(DRIVER, 1, CAPACITY);
    bench.lease(DRIVER, 1);
    bench.allocate(one, 1, 64);
    // The driver runs: it may let go at any time.
    for _ in 0..100 {
        bench.tick(CHECK_NS);
    }
    assert_eq!(bench.answer(one, 1), None);
    // Now it waits, but the other worker runs.
    bench.driver_waits(1);
    for _ in 0..100 {
        bench.tick(CHECK_NS);
    }
    assert_eq!(bench.answer(one, 1), None);
    // Now that one sleeps, too.
    let (other, ticket) = bench.dispatch(1);
    bench.ask(other, Request::Blocked(ticket));
    bench.tick(CHECK_NS);
    assert_eq!(bench.answer(one, 1), None, "an event came between");
    for _ in 0..3 {
        bench.tick(CHECK_NS);
    }
    assert!(matches!(bench.answer(one, 1), Some(Reply::Failed(Failure::StoreFull { .. }))));
}

#[test]
fn forgotten_allocation_is_out_of_the_queue() {
    let mut bench = Bench::new(1);
    let worker = bench.dispatch(0).0;
    bench.allocate(DRIVER, 1, CAPACITY);
    bench.allocate(worker, 1, CAPACITY);
    bench.allocate(worker, 2, 64);
    bench.ask(worker, Request::Forget(RequestId(1)));
    assert_eq!(bench.answer(worker, 1), Some(Reply::Forgotten));
    let all = bench.lease(DRIVER, 1);
    bench.ask(DRIVER, Request::Release(Held::Lease(all.offset)));
    bench.lease(worker, 2);
    assert!(!bench.node.wants_room());
}

#[test]
fn death_of_one_who_waits_lets_the_next_one_go() {
    let mut bench = Bench::new(2);
    let (one, two) = (bench.dispatch(0).0, bench.dispatch(1).0);
    bench.allocate(DRIVER, 1, CAPACITY / 2);
    bench.allocate(one, 1, CAPACITY);
    bench.allocate(two, 1, 64);
    let death =
        skate_core::value::Death { pid: 1, exit_code: Some(1), signal: None, note: "".into() };
    bench.step(Event::WorkerDied(one, death, Vec::new()));
    bench.lease(two, 1);
}

/// Seed 161652 of the simulation: a paused producer whose patience ended in the check that found all
/// others waiting was told that the store is full, while what it asked for was free.
#[test]
fn producer_that_has_paused_for_long_enough_is_served_before_anybody_fails() {
    let mut bench = Bench::new(1);
    let worker = bench.dispatch(0).0;
    bench.allocate(worker, 1, 64);
    let lease = bench.lease(worker, 1);
    bench.yields(0, 0, lease);
    bench.driver_waits(1);
    bench.allocate(worker, 2, CAPACITY - 64);
    assert_eq!(bench.answer(worker, 2), None, "it has an unread item, and the store would be full");
    bench.ask(worker, Request::Blocked(bench.dispatch(0).1));
    bench.tick(CHECK_NS);
    bench.tick(1_500_000_000);
    assert_eq!(bench.lease(worker, 2).len, CAPACITY - 64);
}
