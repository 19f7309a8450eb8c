//! The protocols between processes, in every interleaving and memory order that loom knows (up to
//! three preemptions). Run by `ci/loom.sh`. A lost wake-up shows as a deadlock, a torn or
//! unpublished message as a data race in the ring's cells.
#![cfg(loom)]

use std::time::Duration;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use skate_shm::claim::Slot;
use skate_shm::doorbell::{Doorbell, Parked, Sleeper, Urgency};
use skate_shm::flags::Flags;
use skate_shm::ring::{self, Push, RingWriter};

const FOR_EVER: Option<Duration> = None;

fn check(test: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(test);
}

fn push(writer: &mut RingWriter, message: &[u8]) {
    while writer.push(message) == Push::Full {
        thread::yield_now();
    }
}

/// Four records fill the ring, so the last ones wrap and wait for room.
#[test]
fn ring_returns_messages_whole_and_in_order() {
    check(|| {
        let (mut writer, mut reader) = ring::pair(64);
        let peer = thread::spawn(move || {
            for n in 0..5 {
                push(&mut writer, &[n; 7]);
            }
        });
        let mut message = Vec::new();
        let mut expected = 0;
        while expected < 5 {
            if reader.pop(&mut message).expect("the peer is honest") {
                assert_eq!(message, [expected; 7]);
                expected += 1;
            } else {
                thread::yield_now();
            }
        }
        peer.join().unwrap();
    });
}

/// 100 bytes through a ring of 64, then a short message behind them.
#[test]
fn ring_puts_fragments_together() {
    check(|| {
        let (mut writer, mut reader) = ring::pair(64);
        let long: Vec<u8> = (0..100).collect();
        let expected = long.clone();
        let peer = thread::spawn(move || {
            push(&mut writer, &long);
            push(&mut writer, b"end");
        });
        let mut message = Vec::new();
        for expected in [expected.as_slice(), b"end"] {
            while !reader.pop(&mut message).expect("the peer is honest") {
                thread::yield_now();
            }
            assert_eq!(message, expected);
        }
        peer.join().unwrap();
    });
}

/// A writer that found the ring full sleeps until the reader, having drained, rings.
#[test]
fn ring_wakes_a_writer_that_found_no_room() {
    check(|| {
        let bell = Arc::new(Doorbell::new());
        let (mut writer, mut reader) = ring::pair(64);
        for _ in 0..4 {
            assert_eq!(writer.push(&[1; 8]), Push::Done);
        }
        let writers_bell = Arc::clone(&bell);
        let peer = thread::spawn(move || {
            while writer.push(&[1; 8]) == Push::Full {
                // No recheck of the room: that is what the flag and its fences are for.
                let _ = writers_bell.park(Sleeper::Leader, || writer.room_for(8), FOR_EVER);
            }
        });
        let mut message = Vec::new();
        let mut popped = 0;
        while popped < 5 {
            while reader.pop(&mut message).expect("the peer is honest") {
                popped += 1;
            }
            if reader.take_stalled() {
                bell.ring(Urgency::Urgent);
            }
            thread::yield_now();
        }
        peer.join().unwrap();
    });
}

/// What a pump does with a bell, reduced to counting messages.
struct Process {
    bell: Doorbell,
    lead: Mutex<bool>,
    published: AtomicU32,
    seen: AtomicU32,
}

impl Process {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            bell: Doorbell::new(),
            lead: Mutex::new(false),
            published: AtomicU32::new(0),
            seen: AtomicU32::new(0),
        })
    }

    fn publish_and_ring(&self) {
        self.published.fetch_add(1, Ordering::Release);
        self.bell.ring(Urgency::Urgent);
    }

    fn has_work(&self) -> bool {
        self.published.load(Ordering::Relaxed) != self.seen.load(Ordering::Relaxed)
    }

    fn poll(&self) {
        self.seen.store(self.published.load(Ordering::Acquire), Ordering::Relaxed);
    }

    fn take_lead(&self) -> bool {
        let taken = !std::mem::replace(&mut *self.lead.lock().unwrap(), true);
        if taken {
            self.bell.awake();
        }
        taken
    }

    fn leave(&self) {
        let mut lead = self.lead.lock().unwrap();
        *lead = false;
        self.bell.arm_background();
        if self.has_work() {
            self.bell.ring_always();
        }
    }

    /// The background thread, until `all` messages were seen by whomever.
    fn background(&self, all: u32) {
        loop {
            if self.take_lead() {
                self.poll();
                self.leave();
            }
            if self.seen.load(Ordering::Relaxed) == all {
                return;
            }
            let _ = self.bell.park(Sleeper::Background, || false, FOR_EVER);
        }
    }
}

#[test]
fn doorbell_wakes_a_leader_for_each_of_two_ringers() {
    check(|| {
        let process = Process::new();
        let ringers: Vec<_> = (0..2)
            .map(|_| {
                let process = Arc::clone(&process);
                thread::spawn(move || process.publish_and_ring())
            })
            .collect();
        process.bell.awake();
        loop {
            process.poll();
            if process.seen.load(Ordering::Relaxed) == 2 {
                break;
            }
            let _ = process.bell.park(Sleeper::Leader, || process.has_work(), FOR_EVER);
        }
        for ringer in ringers {
            ringer.join().unwrap();
        }
    });
}

/// The leader leaves at any moment; what it did not see, the background thread must hear of.
#[test]
fn doorbell_passes_from_leader_to_background() {
    check(|| {
        let process = Process::new();
        let ringer = thread::spawn({
            let process = Arc::clone(&process);
            move || {
                process.publish_and_ring();
                process.publish_and_ring();
            }
        });
        let background = thread::spawn({
            let process = Arc::clone(&process);
            move || process.background(2)
        });
        if process.take_lead() {
            process.poll();
            process.leave();
            if process.seen.load(Ordering::Relaxed) == 2 {
                process.bell.ring_always(); // the background thread has nothing left to wait for
            }
        }
        ringer.join().unwrap();
        background.join().unwrap();
    });
}

#[test]
fn doorbell_wakes_the_background_for_each_of_two_ringers() {
    check(|| {
        let process = Process::new();
        let ringers: Vec<_> = (0..2)
            .map(|_| {
                let process = Arc::clone(&process);
                thread::spawn(move || process.publish_and_ring())
            })
            .collect();
        process.background(2);
        for ringer in ringers {
            ringer.join().unwrap();
        }
    });
}

/// A leader that parks and then leaves, while the background thread goes to sleep.
#[test]
fn doorbell_hears_a_ring_while_leader_and_background_change_places() {
    check(|| {
        let process = Process::new();
        let ringer = thread::spawn({
            let process = Arc::clone(&process);
            move || {
                process.publish_and_ring();
                process.publish_and_ring();
            }
        });
        let background = thread::spawn({
            let process = Arc::clone(&process);
            move || process.background(2)
        });
        if process.take_lead() {
            // One park only: the first message or the second one ends it, unless the background
            // thread has had both before.
            let ready = || process.has_work() || process.seen.load(Ordering::Relaxed) == 2;
            let _ = process.bell.park(Sleeper::Leader, ready, FOR_EVER);
            process.leave();
        }
        ringer.join().unwrap();
        background.join().unwrap();
    });
}

/// A ringer that died after it took the duty to wake: the death handler makes up for it.
#[test]
fn doorbell_ring_always_wakes_whoever_sleeps() {
    check(|| {
        let process = Process::new();
        let handler = thread::spawn({
            let process = Arc::clone(&process);
            move || {
                process.published.fetch_add(1, Ordering::Release);
                process.bell.ring_always();
            }
        });
        let background = thread::spawn({
            let process = Arc::clone(&process);
            move || process.bell.park(Sleeper::Background, || false, FOR_EVER)
        });
        while !process.has_work() {
            let _ = process.bell.park(Sleeper::Leader, || process.has_work(), FOR_EVER);
        }
        assert_eq!(background.join().unwrap(), Parked::Rung);
        handler.join().unwrap();
    });
}

/// Two workers publish beside each other; the node takes the flags while they do, and once more in the end.
/// What it has not read then is lost.
#[test]
fn flag_is_up_or_its_message_read() {
    check(|| {
        let flags = Arc::new(Flags::default());
        let rings = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let workers: Vec<_> = (0..2)
            .map(|worker| {
                let (flags, rings) = (Arc::clone(&flags), Arc::clone(&rings));
                thread::spawn(move || {
                    for _ in 0..2 - worker {
                        rings[worker].fetch_add(1, Ordering::Release);
                        flags.raise(worker);
                    }
                })
            })
            .collect();
        let mut read = [0, 0];
        while !flags.is_any() {
            thread::yield_now();
        }
        flags.take(|seat| read[seat] = rings[seat].load(Ordering::Acquire));
        for worker in workers {
            worker.join().unwrap();
        }
        flags.take(|seat| read[seat] = rings[seat].load(Ordering::Acquire));
        assert_eq!(read, [2, 1]);
        assert!(!flags.is_any());
    });
}

#[test]
fn claim_and_revoke_never_both_win() {
    check(|| {
        let slot = Arc::new(Slot::default());
        slot.offer(7);
        let worker = thread::spawn({
            let slot = Arc::clone(&slot);
            move || slot.claim(7)
        });
        let revoked = slot.revoke(7);
        let claimed = worker.join().unwrap();
        assert!(revoked ^ claimed);
        assert_eq!(slot.is_started(7), claimed);
    });
}

/// The slot's next task is offered while the worker is late with the last one.
#[test]
fn claim_of_an_earlier_ticket_fails() {
    check(|| {
        let slot = Arc::new(Slot::default());
        slot.offer(7);
        assert!(slot.revoke(7));
        let worker = thread::spawn({
            let slot = Arc::clone(&slot);
            move || (slot.claim(7), slot.is_cancelled(7))
        });
        slot.offer(8);
        slot.cancel(8);
        assert_eq!(worker.join().unwrap(), (false, false));
        assert!(slot.claim(8));
        assert!(slot.is_cancelled(8));
    });
}
