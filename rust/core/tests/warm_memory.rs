//! Free memory goes back to the kernel, but not at once and not all of it.

use skate_core::action::{Action, Reply};
use skate_core::event::{Event, Held, Request, Within};
use skate_core::id::{ClientId, RequestId};
use skate_core::node::{Config, Node};
use skate_core::value::Span;

const GIB: u64 = 1 << 30;
const SECOND: u64 = 1_000_000_000;

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
    let config = Config {
        resources: Vec::new(),
        capacity: 4 * GIB,
        spill: Err("it is off".into()),
        oom_retries: -1,
        prestart: 0,
        max_workers: 1,
    };
    let mut node = Node::new(&config, &mut Vec::new());
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
