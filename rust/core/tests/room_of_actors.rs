//! Space for actors that run several calls at once: who is paused when the store is nearly full.

#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

mod common;

use common::{DRIVER, Stage};
use skate_core::action::Reply;
use skate_core::event::{End, Held, Order, Request, Returns, Within};
use skate_core::id::{ClientId, RequestId, Ticket};
use skate_core::value::{Payload, Span, Value};

const CLASS: u64 = 1;
const METHOD: u64 = 2;
/// Of the stage's megabyte: with a second one of them the store is nearly full.
const LARGE: u64 = 600_000;
const SMALL: u64 = 300_000;

/// An actor that runs so many generators at once, and two calls of it.
fn two_calls(stage: &mut Stage, at_once: u32) -> [(ClientId, Ticket); 2] {
    stage.define(CLASS, Returns::Static(0), &[]);
    stage.define(METHOD, Returns::Streaming, &[]);
    let constructor = stage.of_actor(CLASS, None, &[]);
    let actor = stage.create(constructor, 0, Order::Readiness, &[at_once]);
    stage.finish(actor.0, End::Returned(Vec::new()));
    [(); 2].map(|()| {
        let call = stage.of_actor(METHOD, Some(actor), &[]);
        let task = call.task;
        stage.say(DRIVER, Request::Submit(call));
        stage.run_of(task).unwrap()
    })
}

fn allocate(stage: &mut Stage, client: ClientId, size: u64) -> Option<Span> {
    let id = RequestId(stage.count());
    stage.say(client, Request::Allocate(id, size, Within::Memory));
    stage.replies.iter().find_map(|(to, request, reply)| match reply {
        Reply::Lease(span) if (*to, *request) == (client, id) => Some(*span),
        _ => None,
    })
}

fn publish(stage: &mut Stage, (worker, ticket): (ClientId, Ticket), span: Span) {
    let value = Value::Data(Payload::Block(span));
    stage.say(worker, Request::Yielded(ticket, 0, value, Box::default(), 0));
    stage.say(worker, Request::Release(Held::Lease(span.offset)));
}

/// The second generator waited for a reader of the first, which might wait for the second.
#[test]
fn call_without_an_unread_item_is_not_paused_for_another_of_its_actor() {
    let mut stage = Stage::new(1, 4);
    let [first, second] = two_calls(&mut stage, 2);
    let span = allocate(&mut stage, first.0, LARGE).unwrap();
    publish(&mut stage, first, span);
    let span = allocate(&mut stage, second.0, SMALL).unwrap();
    publish(&mut stage, second, span);
    assert_eq!(allocate(&mut stage, first.0, 64), None, "now both have unread items");
}

/// What waits behind in the process of an actor that takes turns is not what runs.
#[test]
fn call_of_an_actor_that_takes_turns_is_paused_alone() {
    let mut stage = Stage::new(1, 4);
    let [first, _] = two_calls(&mut stage, 1);
    let span = allocate(&mut stage, first.0, LARGE).unwrap();
    publish(&mut stage, first, span);
    assert_eq!(allocate(&mut stage, first.0, SMALL), None);
}
