//! Descriptors between processes, and what the kernel says about their lives.
//!
//! One test at a time: a child that another test has forked meanwhile holds a copy of every descriptor,
//! and then the end of a socket or pipe does not come before that child's.
#![cfg(not(loom))]

mod common;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{Ended, fork};
use rustix::io::Errno;
use rustix::process::Signal;
use skate_shm::fd::{self, Event};
use skate_shm::segment::{Pages, Segment, Span};
use skate_shm::thread::{block_all_signals, kill_own_group};
use skate_shm::watch::{Poller, Process, Ready};

const LATE: Option<Duration> = Some(Duration::from_secs(30));

/// No other test of this file runs while it is held.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn descriptors_arrive_with_their_message() {
    let _alone = alone();
    let (here, there) = fd::socket_pair().unwrap();
    let mut child = fork(|| {
        let mut buffer = [0; 64];
        let received = fd::recv_with_fds(&there, &mut buffer).unwrap();
        assert_eq!(&buffer[..received.len], b"two of them");
        let segment = Segment::open(received.fds[0].as_fd()).unwrap();
        assert_eq!(segment.bytes(Span { offset: 0, len: 2 }).unwrap(), [0, 0]);
        assert_eq!(received.fds.len(), 2);
        let flags = rustix::io::fcntl_getfd(&received.fds[1]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        fd::send_with_fds(&there, b"ok", &[]).unwrap();
    });
    let (_segment, segment_fd) = Segment::create("test", 4096, Pages::Small).unwrap();
    let event = Event::new().unwrap();
    let fds = [segment_fd.as_fd(), event.as_fd()];
    fd::send_with_fds(&here, b"two of them", &fds).unwrap();
    let mut buffer = [0; 64];
    let received = fd::recv_with_fds(&here, &mut buffer).unwrap();
    assert_eq!((&buffer[..received.len], received.fds.len()), (&b"ok"[..], 0));
    assert_eq!(child.wait(), Ended::Exit(0));
}

#[test]
fn a_message_that_is_cut_is_an_error_and_the_end_is_an_empty_one() {
    let _alone = alone();
    let (here, there) = fd::socket_pair().unwrap();
    fd::set_nonblocking(&there).unwrap();
    let mut buffer = [0; 4];
    assert_eq!(fd::recv_with_fds(&there, &mut buffer).unwrap_err(), Errno::AGAIN);
    fd::send_with_fds(&here, b"12345", &[here.as_fd()]).unwrap();
    assert_eq!(fd::recv_with_fds(&there, &mut buffer).unwrap_err(), Errno::MSGSIZE);
    assert_eq!(fd::send_with_fds(&here, b"", &[]).unwrap_err(), Errno::INVAL);
    let many = [here.as_fd(); fd::MAX_FDS + 1];
    assert_eq!(fd::send_with_fds(&here, b"1", &many).unwrap_err(), Errno::INVAL);
    fd::send_with_fds(&here, b"1", &many[1..]).unwrap();
    assert_eq!(fd::recv_with_fds(&there, &mut buffer).unwrap().fds.len(), fd::MAX_FDS);
    drop(here);
    let end = fd::recv_with_fds(&there, &mut buffer).unwrap();
    assert_eq!((end.len, end.fds.len()), (0, 0));
    assert_eq!(fd::send_with_fds(&there, b"1", &[]).unwrap_err(), Errno::PIPE);
}

#[test]
fn a_death_is_seen_by_poller_and_process() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let mut ready = Vec::new();
    let mut child = fork(|| std::thread::sleep(Duration::from_secs(60)));
    let process = Process::open(child.pid()).unwrap();
    poller.add(&process, 7).unwrap();
    poller.wait(Some(Duration::ZERO), &mut ready).unwrap();
    assert!(ready.is_empty() && !process.has_ended());
    assert_eq!(process.pid(), child.pid());
    process.signal(Signal::KILL).unwrap();
    poller.wait(LATE, &mut ready).unwrap();
    assert_eq!(
        ready.iter().map(|ready| (ready.token, ready.readable)).collect::<Vec<_>>(),
        [(7, true)]
    );
    assert!(process.has_ended() && process.wait(None));
    assert_eq!(child.wait(), Ended::Signal(libc::SIGKILL));
    assert_eq!(process.signal(Signal::KILL), Err(Errno::SRCH));
    poller.remove(&process).unwrap();
    poller.wait(Some(Duration::ZERO), &mut ready).unwrap();
    assert!(ready.is_empty());
}

/// A garbled report of the zygote made a worker out of any descriptor: its end was never seen.
#[test]
fn what_is_no_process_is_refused() {
    let _alone = alone();
    let mut child = fork(|| std::thread::sleep(Duration::from_secs(60)));
    let pidfd = || {
        let pid = rustix::process::Pid::from_raw(child.pid().cast_signed()).unwrap();
        rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap()
    };
    let (read, _write) = rustix::pipe::pipe().unwrap();
    assert_eq!(Process::from_parts(child.pid(), read).unwrap_err(), Errno::BADF);
    let other =
        Process::open(rustix::process::getppid().unwrap().as_raw_nonzero().get().unsigned_abs());
    let other = rustix::io::fcntl_dupfd_cloexec(other.unwrap(), 0).unwrap();
    // Before Linux 6.9 nothing tells pidfds apart.
    let inode = |pidfd: &OwnedFd| rustix::fs::fstat(pidfd).unwrap().st_ino;
    if inode(&other) != inode(&pidfd()) {
        assert_eq!(Process::from_parts(child.pid(), other).unwrap_err(), Errno::BADF);
    }
    for pid in [0, 1, u32::MAX] {
        assert_eq!(Process::from_parts(pid, pidfd()).unwrap_err(), Errno::SRCH, "{pid}");
    }
    let process = Process::from_parts(child.pid(), pidfd()).unwrap();
    process.signal(Signal::KILL).unwrap();
    assert_eq!(child.wait(), Ended::Signal(libc::SIGKILL));
    // A worker that has been reaped already is one all the same.
    let pidfd = rustix::io::fcntl_dupfd_cloexec(&process, 0).unwrap();
    assert!(Process::from_parts(process.pid(), pidfd).unwrap().has_ended());
}

#[test]
fn a_waker_ends_a_wait_once() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let mut ready = vec![Ready { token: 1, readable: true, hung_up: false }];
    let waker = poller.waker();
    std::thread::scope(|scope| {
        scope.spawn(move || waker.wake());
        poller.wait(LATE, &mut ready).unwrap();
    });
    assert!(ready.is_empty());
    let start = Instant::now();
    poller.wait(Some(Duration::from_millis(20)), &mut ready).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(20), "the waker was not cleared");
}

#[test]
fn a_closed_socket_hangs_up() {
    let _alone = alone();
    let poller = Poller::new().unwrap();
    let (here, there) = fd::socket_pair().unwrap();
    poller.add(&here, 3).unwrap();
    drop(there);
    let mut ready = Vec::new();
    poller.wait(LATE, &mut ready).unwrap();
    assert!(ready.len() == 1 && ready[0].token == 3 && ready[0].hung_up);
}

#[test]
fn a_group_dies_with_one_call() {
    let _alone = alone();
    // A leader with a child of its own; both hold the write end of a pipe.
    for by_leader in [true, false] {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let (go, gone) = rustix::pipe::pipe().unwrap();
        let mut leader = fork(|| {
            rustix::process::setpgid(None, None).unwrap();
            // Leaked: it must die with the group, not by `Drop`.
            std::mem::forget(fork(|| std::thread::sleep(Duration::from_secs(60))));
            rustix::io::write(&write, b"!").unwrap();
            if by_leader {
                rustix::io::read(&go, &mut [0; 1]).unwrap();
                kill_own_group().unwrap();
            }
            std::thread::sleep(Duration::from_secs(60));
        });
        drop(write);
        assert_eq!(rustix::io::read(&read, &mut [0; 1]), Ok(1));
        if by_leader {
            rustix::io::write(&gone, b"!").unwrap();
        } else {
            Process::open(leader.pid()).unwrap().kill_group().unwrap();
        }
        assert_eq!(leader.wait(), Ended::Signal(libc::SIGKILL));
        // End of file: the last holder of the write end is gone, too.
        assert_eq!(rustix::io::read(&read, &mut [0; 1]), Ok(0));
    }
}

#[test]
fn a_thread_that_blocks_all_signals_gets_none() {
    let _alone = alone();
    let mut child = fork(|| {
        block_all_signals();
        // SAFETY: TERM would end the process, were it not blocked.
        unsafe { libc::raise(libc::SIGTERM) };
    });
    assert_eq!(child.wait(), Ended::Exit(0));
}
