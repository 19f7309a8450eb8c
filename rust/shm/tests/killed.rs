//! A writer is killed (SIGKILL), at a random moment and after every single instruction. Story: the node
//! drains a dead worker's ring before it settles the death, so a torn message would corrupt the
//! node, and a message that is neither whole nor absent would be settled twice or never.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Child, Ended, fork};
use skate_shm::control::Control;
use skate_shm::doorbell::{Parked, Sleeper, Urgency};
use skate_shm::hub::Hub;
use skate_shm::ring::{Push, RingReader};

/// The n-th message: its number, then a pattern; now and then longer than the ring.
fn message(n: u32) -> Vec<u8> {
    let len = if n % 50 == 49 { 300_000 } else { (n as usize * 37) % 5_000 };
    let mut message = n.to_le_bytes().to_vec();
    message.extend((0..len).map(|at| (at as u32 ^ n) as u8));
    message
}

#[test]
fn reader_sees_a_prefix_of_whole_messages_of_a_killed_writer() {
    for round in 0..40 {
        let (control, fd) = Control::create().unwrap();
        let (_, mut reader) = control.node_end().unwrap();
        let mut child = fork(|| {
            let control = Control::open(fd.as_fd()).unwrap();
            let (mut writer, _) = control.worker_end().unwrap();
            for n in 0.. {
                let message = message(n);
                while writer.push(&message) == Push::Full {
                    thread::yield_now();
                }
            }
        });
        let mut got = Vec::new();
        let mut seen = 0;
        let mut check = |reader: &mut RingReader| {
            while reader.pop(&mut got).expect("the writer is honest") {
                assert!(got == message(seen), "round {round}: message {seen} is torn");
                seen += 1;
            }
        };
        // Its start is no part of the claim: the random moment counts from the first message on.
        while reader.is_empty() {
            thread::yield_now();
        }
        let until = Instant::now() + Duration::from_micros(500 + round * 731);
        while Instant::now() < until {
            check(&mut reader);
        }
        child.kill();
        assert_eq!(child.wait(), Ended::Signal(libc::SIGKILL));
        check(&mut reader);
        assert!(!reader.pop(&mut got).unwrap());
    }
}

fn ptrace(request: libc::c_uint, pid: u32) -> libc::c_long {
    // SAFETY: TRACEME and SINGLESTEP use neither address nor data here.
    unsafe { libc::ptrace(request, pid.cast_signed(), 0, 0) }
}

/// Steps a child that is stopped at its start by `steps` instructions; false if it ended before.
fn step(child: &mut Child, steps: usize) -> bool {
    for _ in 0..steps {
        assert_eq!(ptrace(libc::PTRACE_SINGLESTEP, child.pid()), 0);
        if !libc::WIFSTOPPED(child.wait_status()) {
            return false;
        }
    }
    true
}

/// The child pushes one message and rings a sleeping node; it dies after `steps` instructions.
/// Returns whether it came to its end, and whether the message was there.
fn push_and_die(steps: usize) -> (bool, bool) {
    let (control, control_fd) = Control::create().unwrap();
    let (hub, hub_fd) = Hub::create().unwrap();
    let hub = Arc::new(hub);
    let (_, mut reader) = control.node_end().unwrap();
    let mut child = fork(|| {
        let control = Control::open(control_fd.as_fd()).unwrap();
        let hub = Hub::open(hub_fd.as_fd()).unwrap();
        let (mut writer, _) = control.worker_end().unwrap();
        ptrace(libc::PTRACE_TRACEME, 0);
        // SAFETY: stops this process, so that the parent can begin to count.
        unsafe { libc::raise(libc::SIGSTOP) };
        let _ = writer.push(b"a message of three words");
        hub.bell().ring(Urgency::Urgent);
    });
    assert!(libc::WIFSTOPPED(child.wait_status()));

    // The sleeper is in place before the first step.
    let (about_to_park, parks) = mpsc::channel();
    let sleeper = thread::spawn({
        let hub = Arc::clone(&hub);
        move || {
            let announce = || about_to_park.send(()).is_err();
            hub.bell().park(Sleeper::Leader, announce, Some(Duration::from_secs(20)))
        }
    });
    parks.recv().unwrap();

    let ended = !step(&mut child, steps);
    drop(child); // SIGKILL, and reaped: what the pidfd tells the node
    hub.bell().ring_always();
    assert_eq!(sleeper.join().unwrap(), Parked::Rung, "{steps} steps: the sleeper is stranded");

    let mut got = Vec::new();
    let there = reader.pop(&mut got).unwrap();
    if there {
        assert_eq!(got, b"a message of three words", "{steps} steps");
        assert!(!reader.pop(&mut got).unwrap());
    }
    (ended, there)
}

#[test]
fn a_writer_killed_after_any_instruction_leaves_a_whole_message_or_none() {
    // Unoptimised code takes some ten times the instructions: there, every 41st will do.
    let stride = if cfg!(debug_assertions) { 41 } else { 1 };
    let (mut absent, mut present) = (0, 0);
    for steps in (0..).step_by(stride) {
        let (ended, there) = push_and_die(steps);
        assert!(there || present == 0, "{steps} steps: the message is gone again");
        *(if there { &mut present } else { &mut absent }) += 1;
        if ended {
            break;
        }
    }
    assert!(absent > 5 && present > 5, "{absent} runs before, {present} after the publication");
}

/// The child claims a dispatch and dies after `steps` instructions. Returns whether it came to its end,
/// and whether it had started.
fn claim_and_die(steps: usize) -> (bool, bool) {
    const TICKET: u64 = 5;
    let (control, fd) = Control::create().unwrap();
    control.slot(TICKET as usize).offer(TICKET);
    let mut child = fork(|| {
        let control = Control::open(fd.as_fd()).unwrap();
        ptrace(libc::PTRACE_TRACEME, 0);
        // SAFETY: stops this process, so that the parent can begin to count.
        unsafe { libc::raise(libc::SIGSTOP) };
        assert!(control.slot(TICKET as usize).claim(TICKET));
    });
    assert!(libc::WIFSTOPPED(child.wait_status()));
    let ended = !step(&mut child, steps);
    drop(child);
    let slot = control.slot(TICKET as usize);
    let has_started = slot.is_started(TICKET);
    assert_ne!(slot.revoke(TICKET), has_started, "{steps} steps: both or neither have the task");
    (ended, has_started)
}

#[test]
fn a_worker_killed_after_any_instruction_has_claimed_its_task_or_left_it() {
    let stride = if cfg!(debug_assertions) { 7 } else { 1 };
    let (mut left, mut claimed) = (0, 0);
    for steps in (0..).step_by(stride) {
        let (ended, has_started) = claim_and_die(steps);
        assert!(has_started || claimed == 0, "{steps} steps: a claim was undone");
        *(if has_started { &mut claimed } else { &mut left }) += 1;
        if ended {
            break;
        }
    }
    assert!(left > 0 && claimed > 0, "{left} runs before, {claimed} after the claim");
}
