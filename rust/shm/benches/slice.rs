//! What does one task cost on its way to a worker and back, without Python?
//!
//! ```text
//!   node: encode Run ▸ offer ▸ push ──ring──▶ worker: pop ▸ decode ▸ claim ▸ encode Finished ▸ push
//!   node: pop ▸ decode Finished      ◀──ring──
//! ```
//!
//! Messages, slots, rings and bells are the real ones, between two processes; a limited number of tasks is
//! in flight. Wall time is that of the slower side; CPU time is what each side spends, waiting included. Then the
//! parts, each alone in one process.
#![allow(clippy::print_stdout, reason = "the table is the result")]

mod common;
#[path = "../tests/common/mod.rs"]
mod processes;

use std::hint::black_box;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Spread, each, line, pin};
use serde::{Deserialize, Serialize};
use skate_core::action::Run;
use skate_core::event::{End, Outcome, Request};
use skate_core::id::{ClientId, TaskId, TemplateId, Ticket};
use skate_core::value::{NONE, Payload, Value};
use skate_shm::control::Control;
use skate_shm::doorbell::{Doorbell, Sleeper, Urgency};
use skate_shm::hub::Hub;
use skate_shm::ring::{self, Push, RingReader, RingWriter};
use skate_shm::spin::Spin;

const TASKS: usize = 200_000;
const RUNS: usize = 5;
const PART: usize = 100_000;

/// The shape of the binding's messages, as far as a plain task needs them.
#[derive(Serialize, Deserialize)]
enum ToWorker {
    Run(Box<Run>),
    Leave,
}

fn inline(size: usize) -> Value {
    Value::Data(Payload::Inline(vec![7u8; size].as_slice().into()))
}

fn run(number: usize, payload: usize) -> ToWorker {
    ToWorker::Run(Box::new(Run {
        ticket: Ticket(number as u64),
        task: TaskId::new(ClientId::DRIVER, number as u64 + 1),
        attempt: 0,
        skip: 0,
        skip_bytes: 0,
        template: TemplateId(1),
        name: None,
        args: inline(payload),
        args_object: None,
        resolved: Vec::new(),
        devices: Box::default(),
    }))
}

fn finished(ticket: Ticket, value: Value) -> Request {
    let end = End::Returned(vec![(value, Box::default())]);
    Request::Finished(ticket, Outcome { end, began_ns: 0, ran_ns: 500, unhandled: None })
}

fn encode<T: Serialize>(message: &T, buffer: &mut Vec<u8>) {
    buffer.clear();
    let taken = std::mem::take(buffer);
    *buffer = postcard::to_extend(message, taken).expect("a Vec takes any message");
}

/// Waits as the pump does.
fn wait(reader: &RingReader, bell: &Doorbell, spin: &mut Spin) {
    let ready = || !reader.is_empty();
    if !spin.wait(true, ready) {
        let _ = bell.park(Sleeper::Leader, ready, None);
    }
}

fn worker(control: &Control, hub: &Hub) {
    let (mut writer, mut reader) = control.worker_end().expect("the only one");
    let (mut message, mut answer) = (Vec::new(), Vec::new());
    let mut spin = Spin::default();
    loop {
        control.bell().awake();
        while !reader.pop(&mut message).expect("both ends are honest") {
            wait(&reader, control.bell(), &mut spin);
        }
        let run = match postcard::from_bytes(&message).expect("an honest message") {
            ToWorker::Run(run) => run,
            ToWorker::Leave => return,
        };
        assert!(control.slot(run.ticket.0 as usize).claim(run.ticket.0));
        let Value::Data(value) = run.args else { panic!("runs carry data") };
        encode(&finished(run.ticket, Value::Data(value)), &mut answer);
        assert_eq!(writer.push(&answer), Push::Done);
        hub.bell().ring(Urgency::Urgent);
    }
}

/// CPU time of the calling process.
fn cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(spent).expect("a clock that runs forward")
}

/// Nanoseconds a task: wall, CPU of the node's side, CPU of the worker's side.
fn pipeline(payload: usize, count: usize, in_flight: usize) -> [f64; 3] {
    let (hub, hub_fd) = Hub::create().expect("memfd");
    let (control, control_fd) = Control::create().expect("memfd");
    let (mut report, mut reports) = ring::pair(64);
    let mut child = processes::fork(|| {
        pin(1);
        let hub = Hub::open(hub_fd.as_fd()).expect("the parent made it");
        let control = Control::open(control_fd.as_fd()).expect("the parent made it");
        let before = cpu();
        worker(&control, &hub);
        let spent = u64::try_from(cpu().saturating_sub(before).as_nanos()).expect("a few seconds");
        assert_eq!(report.push(&spent.to_ne_bytes()), Push::Done);
    });
    pin(0);
    let (mut writer, mut reader) = control.node_end().expect("the only one");
    let (mut message, mut answer) = (Vec::new(), Vec::new());
    let mut spin = Spin::default();
    let (mut sent, mut done) = (0, 0);
    let (start, before) = (Instant::now(), cpu());
    while done < count {
        let due = (count - sent).min(in_flight - (sent - done));
        // A window that is half open is worth a batch; less waits for more answers.
        if due >= in_flight / 2 || (due > 0 && sent + due == count) {
            for _ in 0..due {
                encode(&run(sent, payload), &mut message);
                control.slot(sent).offer(sent as u64);
                assert_eq!(writer.push(&message), Push::Done);
                sent += 1;
            }
            control.bell().ring(Urgency::Urgent);
        }
        hub.bell().awake();
        while reader.pop(&mut answer).expect("both ends are honest") {
            let decoded: Request = postcard::from_bytes(&answer).expect("an honest message");
            black_box(decoded);
            done += 1;
        }
        if done < sent {
            wait(&reader, hub.bell(), &mut spin);
        }
    }
    let (wall, node) = (start.elapsed(), cpu().saturating_sub(before));
    encode(&ToWorker::Leave, &mut message);
    assert_eq!(writer.push(&message), Push::Done);
    control.bell().ring(Urgency::Urgent);
    child.wait();
    let mut told = Vec::new();
    assert!(reports.pop(&mut told).expect("both ends are honest"));
    let theirs = u64::from_ne_bytes(told.try_into().expect("eight bytes"));
    [each(count, wall), each(count, node), each(count, Duration::from_nanos(theirs))]
}

fn part(name: &str, mut work: impl FnMut()) {
    let time = || {
        let start = Instant::now();
        (0..PART).for_each(|_| work());
        each(PART, start.elapsed())
    };
    line(name, &[Spread::of_runs(RUNS, time).to_string()]);
}

fn push_pop(writer: &mut RingWriter, reader: &mut RingReader, message: &[u8], into: &mut Vec<u8>) {
    assert_eq!(writer.push(message), Push::Done);
    assert!(reader.pop(into).expect("both ends are honest"));
}

fn parts() {
    let mut buffer = Vec::new();
    part("make and encode a Run", || encode(&run(300, NONE.len()), &mut buffer));
    let message = buffer.clone();
    part("decode a Run", || {
        black_box(postcard::from_bytes::<ToWorker>(&message).expect("encoded above"));
    });
    part("make and encode a Finished", || {
        encode(&finished(Ticket(300), inline(NONE.len())), &mut buffer);
    });
    let answer = buffer.clone();
    part("decode a Finished", || {
        black_box(postcard::from_bytes::<Request>(&answer).expect("encoded above"));
    });
    let (mut writer, mut reader) = ring::pair(ring::RING_CAPACITY);
    part("push and pop, one process", || {
        push_pop(&mut writer, &mut reader, &message, &mut buffer);
    });
    let bell = Doorbell::new();
    part("ring a bell at which nobody sleeps", || {
        black_box(bell.ring(Urgency::Urgent));
    });
    let name: Arc<str> = Arc::from("name");
    part("clone and drop an Arc (for scale)", || drop(black_box(Arc::clone(&name))));
}

fn main() {
    println!("slice: ns a task, median (min..max)\n");
    line("pipelined between two processes", &["wall", "node CPU", "worker CPU"].map(String::from));
    for (name, payload, count, in_flight) in [
        ("2 B in and out, 128 in flight", NONE.len(), TASKS, 128),
        ("256 B in and out, 128 in flight", 256, TASKS, 128),
        ("4 KiB in and out, 32 in flight", 4 << 10, TASKS / 10, 32),
        ("2 B in and out, one at a time", NONE.len(), TASKS / 40, 1),
    ] {
        let runs: Vec<_> = (0..RUNS).map(|_| pipeline(payload, count, in_flight)).collect();
        let column = |at: usize| Spread::of(runs.iter().map(|run| run[at]).collect()).to_string();
        line(name, &[column(0), column(1), column(2)]);
    }
    println!();
    parts();
}
