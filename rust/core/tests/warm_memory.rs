//! Free memory goes back to the kernel, but not at once and not all of it.

use skate_core::action::{Action, Reply};
use skate_core::event::{Event, Held, Request, Within};
use skate_core::id::{ClientId, RequestId, TaskId};
use skate_core::node::{Config, Node};
use skate_core::value::{Payload, Span, Value};

const GIB: u64 = 1 << 30;
const SECOND: u64 = 1_000_000_000;

fn config() -> Config {
    Config {
        resources: Vec::new(),
        capacity: 4 * GIB,
        spill: Err("it is off".into()),
        oom_retries: -1,
        prestart: 0,
        max_workers: 1,
    }
}

fn step(node: &mut Node, event: Event) -> Vec<Action> {
    let mut actions = Vec::new();
    node.step(event, &mut actions);
    node.check();
    actions
}

fn lease(node: &mut Node, request: u64, size: u64) -> Span {
    let ask = Request::Allocate(RequestId(request), size, Within::Memory);
    let actions = step(node, Event::Client(ClientId::DRIVER, ask));
    match &actions[..] {
        [Action::Reply(_, _, Reply::Lease(span))] => *span,
        other => panic!("no lease: {other:?}"),
    }
}

/// Lets the time pass until nothing more is due before `until`; the bytes that were given back.
fn punched(node: &mut Node, until: u64) -> u64 {
    let mut bytes = 0;
    while let Some(due) = node.deadline().filter(|due| *due <= until) {
        for action in step(node, Event::Tick(due)) {
            if let Action::Punch(span) = action {
                bytes += span.len;
            }
        }
    }
    bytes
}

#[test]
fn all_stays_warm_for_two_seconds_then_the_budget() {
    let mut node = Node::new(&config(), &mut Vec::new());
    let span = lease(&mut node, 1, GIB);
    step(&mut node, Event::Client(ClientId::DRIVER, Request::Release(Held::Lease(span.offset))));
    assert_eq!(node.statistics().warm_bytes, GIB);
    assert_eq!(punched(&mut node, 2 * SECOND - 1), 0);
    let again = lease(&mut node, 2, GIB);
    assert_eq!(again, span, "the warm block is used again");
    assert_eq!(node.statistics().warm_bytes, 0);
    step(&mut node, Event::Client(ClientId::DRIVER, Request::Release(Held::Lease(span.offset))));
    assert_eq!(punched(&mut node, 10 * SECOND), GIB - (256 << 20));
    assert_eq!(node.statistics().warm_bytes, 256 << 20);
    assert_eq!(node.deadline(), None, "an idle node has nothing to do");
}

#[test]
fn at_the_end_all_may_go_but_what_the_driver_sees() {
    let mut node = Node::new(&config(), &mut Vec::new());
    assert_eq!(node.given_up(), [Span { offset: 0, len: 4 * GIB }]);
    let spans: Vec<Span> = (1..5).map(|request| lease(&mut node, request, GIB / 2)).collect();
    for gone in [0, 2] {
        let gone = Request::Release(Held::Lease(spans[gone].offset));
        step(&mut node, Event::Client(ClientId::DRIVER, gone));
    }
    let [first, second, third, fourth] = spans[..] else { unreachable!("there are four") };
    let rest = Span { offset: fourth.end(), len: 4 * GIB - fourth.end() };
    assert_eq!(node.given_up(), [first, third, rest]);
    let id = TaskId::new(ClientId::DRIVER, 1).item(0);
    let put = Request::Put(id, Value::Data(Payload::Block(second)), Box::default());
    let end = Request::Release(Held::Lease(second.offset));
    let seen = Request::Hold(Held::Pin(id));
    for request in [put, end, seen] {
        step(&mut node, Event::Client(ClientId::DRIVER, request));
    }
    assert_eq!(node.given_up(), [first, third, rest], "the driver sees it");
    step(&mut node, Event::Client(ClientId::DRIVER, Request::Release(Held::Pin(id))));
    let both = Span { offset: 0, len: fourth.offset };
    assert_eq!(node.given_up(), [both, rest], "it only has a ref");
}
