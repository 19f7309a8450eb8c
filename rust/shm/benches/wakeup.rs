//! What does a round trip between two processes cost, asleep and spinning?
//!
//! ```text
//!   parent (core 0) ── message, ring bell ──▶ child (core 1): thinks, answers ── message, ring bell ──▶ parent
//!   each waits like the pump: look, spin at most so long (adaptively), park on the futex
//! ```
//!
//! Real rings, bells and spins, in the real segments. "Busy": a third process burns the child's core. "One
//! core": both on core 0. Up to 2,000 round trips a row, or as many as one second takes.
#![allow(clippy::print_stdout, reason = "the table is the result")]

mod common;
#[path = "../tests/common/mod.rs"]
mod processes;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use common::{line, pin, quantile};
use skate_shm::control::Control;
use skate_shm::doorbell::{Doorbell, Sleeper, Urgency};
use skate_shm::hub::Hub;
use skate_shm::ring::{Push, RingReader, RingWriter};
use skate_shm::spin::Spin;

const TRIPS: usize = 2_000;
const AT_MOST: Duration = Duration::from_secs(1);
const STOP: &[u8] = b"stop";

/// One end: what it reads, what it writes, the bell it sleeps on, the bell it rings.
struct End<'a> {
    reader: RingReader,
    writer: RingWriter,
    own: &'a Doorbell,
    peer: &'a Doorbell,
    spin: Spin,
    message: Vec<u8>,
}

impl End<'_> {
    fn send(&mut self, message: &[u8]) {
        assert_eq!(self.writer.push(message), Push::Done);
        self.peer.ring(Urgency::Urgent);
    }

    fn receive(&mut self) {
        self.own.awake();
        while !self.reader.pop(&mut self.message).expect("both ends are honest") {
            let reader = &self.reader;
            if !self.spin.wait(true, || !reader.is_empty()) {
                let _ = self.own.park(Sleeper::Leader, || !reader.is_empty(), None);
            }
        }
    }
}

fn burn(span: Duration) {
    let start = Instant::now();
    while start.elapsed() < span {
        std::hint::spin_loop();
    }
}

#[derive(Clone, Copy)]
struct Case {
    spin: Duration,
    think: Duration,
    child_core: usize,
    is_busy: bool,
}

/// Sorted times of round trips.
fn measure(case: Case) -> Vec<Duration> {
    let (hub, hub_fd) = Hub::create().expect("memfd");
    let (control, control_fd) = Control::create().expect("memfd");
    let burner = case.is_busy.then(|| {
        processes::fork(|| {
            pin(case.child_core);
            burn(Duration::from_secs(30));
        })
    });
    let child = processes::fork(|| {
        pin(case.child_core);
        let hub = Hub::open(hub_fd.as_fd()).expect("the parent made it");
        let control = Control::open(control_fd.as_fd()).expect("the parent made it");
        let (writer, reader) = control.worker_end().expect("the only one");
        let (own, peer) = (control.bell(), hub.bell());
        let spin = Spin::with_max(case.spin);
        let mut end = End { reader, writer, own, peer, spin, message: Vec::new() };
        loop {
            end.receive();
            if end.message == STOP {
                return;
            }
            if !case.think.is_zero() {
                burn(case.think);
            }
            end.send(b"sixteen bytes ..");
        }
    });
    pin(0);
    let (writer, reader) = control.node_end().expect("the only one");
    let (own, peer) = (hub.bell(), control.bell());
    let spin = Spin::with_max(case.spin);
    let mut end = End { reader, writer, own, peer, spin, message: Vec::new() };
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < 100 + TRIPS && (begin.elapsed() < AT_MOST || times.len() < 120) {
        let start = Instant::now();
        end.send(b"sixteen bytes ..");
        end.receive();
        times.push(start.elapsed());
    }
    end.send(STOP);
    drop((child, burner));
    times.drain(..100); // until both processes are warm
    times.sort_unstable();
    times
}

fn main() {
    println!("wakeup: round trip in µs, p50 / p99, by how long a waiter spins before it parks\n");
    let spins = [0, 5, 20, 50].map(Duration::from_micros);
    let heads = spins.map(|spin| format!("spin {} µs", spin.as_micros()));
    line("", &heads);
    for (name, think, child_core, is_busy) in [
        ("other core idle", 0, 1, false),
        ("other core idle, answer after 30 µs", 30, 1, false),
        ("other core idle, answer after 200 µs", 200, 1, false),
        ("other core busy", 0, 1, true),
        ("one core for both", 0, 0, false),
    ] {
        let cells = spins.map(|spin| {
            let think = Duration::from_micros(think);
            let times = measure(Case { spin, think, child_core, is_busy });
            format!("{:.1} / {:.0}", quantile(&times, 50), quantile(&times, 99))
        });
        line(name, &cells);
    }
}
