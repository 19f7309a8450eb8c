//! Bytes that are nearly a message, of every type that passes between processes: decoding ends in a message
//! that encodes as itself again, or in an error; it takes little memory, and never panics.
//!
//! The sound messages are what the simulated node says and is told by a hostile worker's story, and
//! one of each kind that those do not have. `SKATE_FUZZ_SEEDS=n` plays the seeds 1 to n.

#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

mod common;
#[allow(dead_code, reason = "each of those who share it uses a part")]
#[path = "simulation/random.rs"]
mod random;

use common::{DRIVER, ONE, Stage, bytes, killed, value};
use peak_alloc::PeakAlloc;
use random::Random;
use serde::Serialize;
use serde::de::DeserializeOwned;
use skate_core::action::{Items, Reply, Run};
use skate_core::event::{
    ActorName, AfterKill, Args, Cancel, End, Held, OnDrop, Outcome, Patience, Request, Returns,
    Submit, Template, Waitable, Within,
};
use skate_core::group::GroupSpec;
use skate_core::id::{ActorId, FunctionId, RequestId, TaskId, TemplateId, Ticket};
use skate_core::value::{Extent, Failure, Inherited, Payload, Span, Value};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const USUAL_SEEDS: u64 = 400;
/// What decoding may take beside some memory for each byte of the message. The decoder reserves at most
/// 1 MiB ahead for what a length promises, at each of the few levels that a message has.
const SLACK: usize = 16 << 20;

fn task() -> TaskId {
    TaskId::new(DRIVER, 5)
}

fn held() -> Box<[Held]> {
    [
        Held::Object(task().item(1)),
        Held::Pin(task().item(0)),
        Held::Stream(task()),
        Held::Cursor(task(), 3),
        Held::Actor(ActorId(task())),
        Held::Lease(64),
    ]
    .into()
}

fn values() -> Vec<Value> {
    let failures = [
        Failure::Unknown,
        Failure::WorkerCrashed { task_name: "f".into(), death: killed() },
        Failure::OutOfMemory { task_name: "f".into(), why: "w".into() },
    ];
    let mut all: Vec<Value> = failures.into_iter().map(Value::from).collect();
    let inherited = Inherited {
        error: all[0].clone(),
        tasks: ["f".into()].into(),
        skipped: 2,
        actor: Some(ActorId(TaskId(7))),
    };
    all.extend([
        Value::Inherited(inherited.into()),
        Value::Stream(task()),
        Value::Raised(Payload::Inline(bytes())),
        Value::Data(Payload::Block(Span { offset: 64, len: 9 })),
        Value::Data(Payload::Spilled(Extent { offset: 4096, len: 9, checksum: 1 })),
        value(),
    ]);
    all
}

fn requests() -> Vec<Request> {
    let id = RequestId(9);
    let object = task().item(0);
    let submit = Submit {
        task: task(),
        template: TemplateId(1),
        actor: Some(ActorId(task())),
        parent: Some(task()),
        name: Some("name".into()),
        args: Args::Stored(object),
        waits: [object].into(),
        holds: held(),
    };
    let spec = GroupSpec {
        ready: object,
        key: "k".into(),
        name: "g".into(),
        strategy: "PACK".into(),
        bundles: [[("CPU".into(), ONE)].into()].into(),
    };
    let outcome = |end| Outcome { end, began_ns: 1, ran_ns: 2, unhandled: Some(bytes()) };
    let waits = [Waitable::Object(object), Waitable::Stream(task()), Waitable::Cursor(task(), 1)];
    let returned = values().into_iter().map(|value| (value, held())).collect();
    let raised = End::Raised { error: value(), holds: held(), retry: true, yielded: 4 };
    vec![
        Request::Define(TemplateId(1), template().into(), None),
        Request::Define(TemplateId(1), template().into(), Some(bytes())),
        Request::Undefine(TemplateId(1)),
        Request::Submit(submit),
        Request::Find(id, ActorName { namespace: "n".into(), name: "a".into() }),
        Request::Kill(ActorId(task()), AfterKill::MayRestart),
        Request::Reserve(spec.into()),
        Request::RemoveGroup("k".into()),
        Request::Put(object, value(), held()),
        Request::Get(id, [object; 3].into()),
        Request::Wait(id, waits.into(), 2, Patience::Until),
        Request::NextBatch(id, task(), Some(4), 7),
        Request::Untake(id, task(), None, [object].into()),
        Request::Taken(id, 2, Some(Ticket(7))),
        Request::Keep(Held::Object(object)),
        Request::Cancel(task(), Cancel { force: true, recursive: false }),
        Request::Allocate(id, 1 << 40, Within::MemoryOrDisk),
        Request::Yielded(Ticket(1), 2, value(), held(), 3),
        Request::Finished(Ticket(1), outcome(End::Returned(returned))),
        Request::Finished(Ticket(1), outcome(End::Exhausted(3, value(), held()))),
        Request::Finished(Ticket(1), outcome(raised)),
    ]
}

fn template() -> Template {
    Template {
        name: "f".into(),
        function: FunctionId(1),
        lane: 1,
        resources: [("CPU".into(), ONE)].into(),
        returns: Returns::Static(3),
        max_retries: -1,
        window: Some(4),
        window_bytes: Some(1 << 30),
        on_drop: OnDrop::Close,
        body: bytes(),
    }
}

/// Dispatches and answers of a node with a few tasks.
fn said_by_the_node() -> (Vec<Run>, Vec<Reply>) {
    let mut stage = Stage::new(2, 4);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    stage.define(2, Returns::Streaming, &[]);
    let first = stage.submit(1, &[]);
    let second = stage.submit(1, &[first.item(0)]);
    let stream = stage.submit(2, &[]);
    stage.finish_one(first);
    stage.finish_one(second);
    stage.yields(stream, 0);
    stage.get(DRIVER, &[second.item(0), first.item(0)]);
    for _ in 0..2 {
        let id = RequestId(stage.count());
        stage.say(DRIVER, Request::Next(id, stream, None));
    }
    stage.wait(DRIVER, &[Waitable::Object(first.item(0))], 1);
    for question in [Request::Names, Request::Groups, Request::Waits, Request::Resources] {
        let id = RequestId(stage.count());
        stage.say(DRIVER, question(id));
    }
    let mut replies: Vec<_> = stage.replies.iter().map(|(_, _, reply)| reply.clone()).collect();
    let named = ActorName { namespace: "n".into(), name: "a".into() };
    replies.extend([
        Reply::Error { place: 1, value: value(), pin: Some(task().item(0)) },
        Reply::Items(Items {
            ids: [task().item(0); 3][..].into(),
            values: vec![value(), value()],
            has_window: true,
        }),
        Reply::Lease(Span { offset: 0, len: 1 << 20 }),
        Reply::Actor { actor: ActorId(task()), body: bytes(), name: Some(named), is_new: true },
        Reply::Failed(Failure::Unknown),
        Reply::Values { values: values(), pins: vec![task().item(1)] },
    ]);
    (stage.runs.into_iter().map(|(_, run)| run).collect(), replies)
}

/// The same bytes, but for a few.
fn scribbled(sound: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for _ in 0..=random.below(3) {
        let place = random.place(bytes.len());
        match random.below(6) {
            0 => bytes[place] ^= 1 << random.below(8),
            1 => bytes[place] = random.next() as u8,
            2 => bytes.truncate(place.max(1)),
            3 => bytes.insert(place, random.next() as u8),
            // A length or number as long as there can be one.
            4 => drop(bytes.splice(place..place, [0xff; 9])),
            _ => bytes.extend_from_slice(&sound[random.place(sound.len())..]),
        }
    }
    bytes
}

/// Decodes what is nearly one of these; how many of them were messages.
fn attack<T: Serialize + DeserializeOwned>(sound: &[T], seed: u64) -> u64 {
    let random = &mut Random::new(seed);
    let mut messages = 0;
    for message in sound {
        let bytes = scribbled(&postcard::to_stdvec(message).unwrap(), random);
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        let decoded = postcard::from_bytes::<T>(&bytes);
        let taken = HEAP.peak_usage() - before;
        assert!(taken <= SLACK + 256 * bytes.len(), "{taken} B for {} B, seed {seed}", bytes.len());
        if let Ok(decoded) = decoded {
            messages += 1;
            let once = postcard::to_stdvec(&decoded).unwrap();
            let again: T = postcard::from_bytes(&once).unwrap();
            assert_eq!(postcard::to_stdvec(&again).unwrap(), once, "seed {seed}");
        }
    }
    messages
}

#[test]
fn bytes_that_are_nearly_a_message_are_one_or_an_error() {
    let seeds =
        std::env::var("SKATE_FUZZ_SEEDS").map_or(USUAL_SEEDS, |seeds| seeds.parse().unwrap());
    let (runs, replies) = said_by_the_node();
    let requests = requests();
    assert!(!runs.is_empty() && replies.len() > 10);
    let tried = seeds * (runs.len() + replies.len() + requests.len()) as u64;
    let messages: u64 = (1..=seeds)
        .map(|seed| attack(&runs, seed) + attack(&replies, seed) + attack(&requests, seed))
        .sum();
    assert!(messages > 0 && messages < tried);
    eprintln!("{tried} messages with other bytes: {messages} were messages all the same");
}
