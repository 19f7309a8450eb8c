//! The bell between real processes. What loom cannot know: the futex, time, signals.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use common::{Ended, fork};
use skate_shm::OverlayError;
use skate_shm::control::Control;
use skate_shm::doorbell::{Doorbell, Parked, Sleeper, Urgency};
use skate_shm::hub::Hub;
use skate_shm::ring::{Push, RingReader};

const SOON: Option<Duration> = Some(Duration::from_millis(5));
/// Far longer than anything here takes: ends a test that would hang.
const LATE: Option<Duration> = Some(Duration::from_secs(30));

fn pop(bell: &Doorbell, reader: &mut RingReader, into: &mut Vec<u8>) {
    while !reader.pop(into).unwrap() {
        let parked = bell.park(Sleeper::Leader, || !reader.is_empty(), LATE);
        assert_ne!(parked, Parked::TimedOut, "a wake-up was lost");
    }
}

#[test]
fn two_processes_that_always_sleep_lose_no_wake_up() {
    const ROUNDS: u32 = 20_000;
    let (hub, hub_fd) = Hub::create().unwrap();
    let (control, control_fd) = Control::create().unwrap();
    let mut child = fork(|| {
        let hub = Hub::open(hub_fd.as_fd()).unwrap();
        let control = Control::open(control_fd.as_fd()).unwrap();
        let (mut writer, mut reader) = control.worker_end().unwrap();
        let mut message = Vec::new();
        for _ in 0..ROUNDS {
            pop(control.bell(), &mut reader, &mut message);
            assert_eq!(writer.push(&message), Push::Done);
            hub.bell().ring(Urgency::Urgent);
        }
    });
    let (mut writer, mut reader) = control.node_end().unwrap();
    let mut message = Vec::new();
    for n in 0..ROUNDS {
        assert_eq!(writer.push(&n.to_ne_bytes()), Push::Done);
        control.bell().ring(Urgency::Urgent);
        pop(hub.bell(), &mut reader, &mut message);
        assert_eq!(message, n.to_ne_bytes());
    }
    assert_eq!(child.wait(), Ended::Exit(0));
}

#[test]
fn a_ring_wakes_only_whom_its_urgency_concerns() {
    let bell = Doorbell::new();
    assert!(!bell.ring(Urgency::Urgent), "everyone is awake");
    bell.arm_background();
    assert!(!bell.ring(Urgency::Relaxed), "the background thread sleeps on");
    assert!(bell.ring(Urgency::Urgent));
    assert!(!bell.ring(Urgency::Urgent), "the duty was taken");
    let parked = bell.park(Sleeper::Background, || unreachable!(), LATE);
    assert_eq!(parked, Parked::Rung, "the call came before the park, and is remembered");
    assert_eq!(bell.park(Sleeper::Background, || false, SOON), Parked::TimedOut);
    bell.arm_background();
    bell.awake();
    assert!(!bell.ring(Urgency::Urgent), "a leader has taken over");
    assert_eq!(bell.park(Sleeper::Background, || false, SOON), Parked::TimedOut);
}

#[test]
fn a_leader_that_finds_work_does_not_sleep() {
    let bell = Doorbell::new();
    assert_eq!(bell.park(Sleeper::Leader, || true, LATE), Parked::Work);
    assert_eq!(bell.park(Sleeper::Leader, || false, SOON), Parked::TimedOut);
    let rung_before_sleep = bell.park(Sleeper::Leader, || !bell.ring(Urgency::Relaxed), LATE);
    assert_eq!(rung_before_sleep, Parked::Rung);
    assert!(!bell.ring(Urgency::Urgent), "awake again");
}

/// Leaders come and go while two threads ring; what no leader sees, the background thread must.
#[test]
fn every_message_is_seen_while_the_bell_changes_hands() {
    const MESSAGES: u32 = 20_000;
    let bell = Arc::new(Doorbell::new());
    let (published, seen) = (AtomicU32::new(0), AtomicU32::new(0));
    let (lead, stop) = (std::sync::Mutex::new(()), AtomicBool::new(false));
    let has_work = || published.load(Ordering::Relaxed) != seen.load(Ordering::Relaxed);
    let poll = || seen.store(published.load(Ordering::Acquire), Ordering::Relaxed);
    let leave = || {
        bell.arm_background();
        if has_work() {
            bell.ring_always();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if let Ok(_lead) = lead.try_lock() {
                    bell.awake();
                    poll();
                    leave();
                }
                let _ = bell.park(Sleeper::Background, || stop.load(Ordering::Relaxed), LATE);
            }
        });
        let ringer = || {
            for n in 0..MESSAGES / 2 {
                let ticket = published.fetch_add(1, Ordering::Release);
                bell.ring(Urgency::Urgent);
                // Now and then wait to be seen: a lost wake-up would be hidden by the next ring.
                while n % 8 == 0 && seen.load(Ordering::Relaxed) <= ticket {
                    thread::yield_now();
                }
            }
        };
        let ringers = [scope.spawn(ringer), scope.spawn(ringer)];
        for turn in 0..4_000_u32 {
            let guard = lead.lock().unwrap();
            bell.awake();
            poll();
            let timeout = Duration::from_micros((turn % 50).into());
            let _ = bell.park(Sleeper::Leader, has_work, Some(timeout));
            leave();
            drop(guard);
            thread::yield_now();
        }
        for ringer in ringers {
            ringer.join().unwrap();
        }
        while has_work() {
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        bell.ring_always();
    });
    assert_eq!(seen.into_inner(), MESSAGES);
}

#[test]
fn a_signal_handler_interrupts_a_park() {
    extern "C" fn nothing(_: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: the handler does nothing; USR1 is used by no other test of this process.
    unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
    let bell = Doorbell::new();
    // SAFETY: no preconditions.
    let sleeper = unsafe { libc::pthread_self() };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Until it hits the sleep: a signal may come too early.
            while !done.load(Ordering::Relaxed) {
                // SAFETY: the scope keeps the sleeper alive.
                unsafe { libc::pthread_kill(sleeper, libc::SIGUSR1) };
                thread::yield_now();
            }
        });
        let parked = bell.park(Sleeper::Leader, || false, LATE);
        done.store(true, Ordering::Relaxed);
        assert_eq!(parked, Parked::Interrupted);
    });
}

#[test]
fn control_and_hub_refuse_each_others_descriptors_and_second_owners() {
    let (hub, hub_fd) = Hub::create().unwrap();
    let (control, control_fd) = Control::create().unwrap();
    assert!(matches!(Hub::open(control_fd.as_fd()), Err(OverlayError::Size { .. })));
    assert!(matches!(Control::open(hub_fd.as_fd()), Err(OverlayError::Size { .. })));
    assert!(control.node_end().is_some() && control.node_end().is_none());
    assert!(control.worker_end().is_some() && control.worker_end().is_none());

    let hints = Hub::open(hub_fd.as_fd()).unwrap();
    hub.hints().set_backlog(true);
    hub.hints().set_running(2);
    hub.hints().set_urgent(true);
    let hints = hints.hints();
    assert_eq!((hints.has_backlog(), hints.running(), hints.is_urgent()), (true, 2, true));
}

#[test]
fn another_build_is_known_by_its_control_memory_and_the_hub_is_opened_whatever_it_holds() {
    let (_hub, hub_fd) = Hub::create().unwrap();
    let (_control, control_fd) = Control::create().unwrap();
    assert!(Control::open(control_fd.as_fd()).is_ok());
    let (hub_file, control_file) = (File::from(hub_fd), File::from(control_fd));
    for byte in [0, 0xFF] {
        control_file.write_all_at(&[byte; 8], 0).unwrap();
        let refused = Control::open(control_file.as_fd());
        assert!(matches!(refused, Err(OverlayError::Stamp { .. })), "{refused:?}");
        let size = hub_file.metadata().unwrap().len() as usize;
        hub_file.write_all_at(&vec![byte; size], 0).unwrap();
        assert!(Hub::open(hub_file.as_fd()).is_ok());
    }
}

#[test]
fn words_of_a_slot_are_for_one_ticket() {
    let (node, fd) = Control::create().unwrap();
    let worker = Control::open(fd.as_fd()).unwrap();
    let (node, worker) = (node.slot(5), worker.slot(5 + skate_shm::control::SLOTS));
    node.offer(41);
    node.grant(9);
    node.cancel(40);
    assert!(!worker.claim(40) && worker.claim(41) && !worker.claim(41));
    assert!(node.is_started(41) && !node.revoke(41));
    assert!(worker.credit() == 9 && !worker.is_cancelled(41));
    node.cancel(41);
    assert!(worker.is_cancelled(41) && !worker.is_stream_dropped(41));
    node.drop_stream(41);
    assert!(worker.is_cancelled(41) && worker.is_stream_dropped(41));
    assert!(!worker.is_stream_closed(41));
    node.close_stream(41);
    node.grant_bytes(1 << 40);
    assert!(worker.is_stream_closed(41) && worker.credit_bytes() == 1 << 40);
    node.offer(42);
    assert!(!worker.is_stream_closed(42) && worker.credit_bytes() == 0);
    assert!(!worker.is_cancelled(42) && !worker.is_cancelled(41) && worker.credit() == 0);
    assert!(node.revoke(42) && !worker.claim(42) && !node.is_started(42));
}
