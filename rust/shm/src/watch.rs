//! Who is alive, as the kernel says: no heartbeat, no pid that could have been reused.
//!
//! ```text
//!   Process::open(pid) ─▶ pidfd ─┬─ Poller::add ──▶ ready exactly when the process has ended
//!                                ├─ signal          never hits a stranger
//!                                └─ has_ended       looks, without waiting
//! ```
//!
//! Invariant: a pidfd becomes readable once, when the process is gone as a writer of shared memory.
//! The node settles a death only then, so nothing that it reads of the dead can change any more.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::fstat;
use rustix::io::{self, Errno};
use rustix::process::{self, Pid, PidfdFlags, Signal};

use crate::fd::Event;

/// A process, held by its pidfd.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    pidfd: OwnedFd,
}

/// Waits, at most `timeout`, for the end of a process; true if it has ended.
pub fn wait_for_end(pidfd: impl AsFd, timeout: Option<Duration>) -> bool {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    io::retry_on_intr(|| poll(&mut fds, timeout.as_ref())).is_ok_and(|ready| ready > 0)
}

impl Process {
    /// Takes hold of the process that has this pid now. Sure to be the one that is meant only while
    /// its parent has not reaped it.
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        let pidfd = process::pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { pid, pidfd })
    }

    /// A process whose parent has opened the pidfd and sent it here; an error if it is none. No parent has
    /// init as a child, and the group of that number stands for every process there is.
    pub fn from_parts(pid: u32, pidfd: OwnedFd) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        if pid.is_init() {
            return Err(Errno::SRCH);
        }
        // Since Linux 6.9 each process has an inode of its own; before, all pidfds share one.
        let inode = |pidfd: &OwnedFd| fstat(pidfd).map(|stat| (stat.st_dev, stat.st_ino));
        let process = Self { pid, pidfd };
        let is_it = process.has_ended()
            || inode(&process.pidfd)? == inode(&process::pidfd_open(pid, PidfdFlags::empty())?)?;
        if is_it { Ok(process) } else { Err(Errno::BADF) }
    }

    /// Its pid, for messages to people.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal; `ESRCH` if it has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        process::pidfd_send_signal(&self.pidfd, signal)
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.wait(Some(Duration::ZERO))
    }

    /// Waits, at most `timeout`, for its end; true if it has ended.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        wait_for_end(&self.pidfd, timeout)
    }

    /// Kills the process group that it leads. Call it before the leader is reaped: then the
    /// group's id cannot have been given to another one.
    pub fn kill_group(&self) -> io::Result<()> {
        process::kill_process_group(self.pid, Signal::KILL)
    }

    /// Whether somebody is left in that group, be it that nobody has reaped them.
    pub fn has_group(&self) -> bool {
        process::test_kill_process_group(self.pid).is_ok()
    }
}

/// Waits, at most `timeout`, until nobody holds the other end of a pipe; true if so.
pub fn wait_for_hang_up(pipe: impl AsFd, timeout: Duration) -> bool {
    let timeout = Timespec::try_from(timeout).ok();
    let mut fds = [PollFd::new(&pipe, PollFlags::empty())];
    io::retry_on_intr(|| poll(&mut fds, timeout.as_ref())).is_ok_and(|ready| ready > 0)
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// What a [`Poller`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The token that the descriptor was added with.
    pub token: u64,
    /// There is something to read, or the end of it; of a pidfd: the process has ended.
    pub readable: bool,
    /// The peer has closed its end.
    pub hung_up: bool,
}

/// Wakes a [`Poller`] from any thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Event>);

impl Waker {
    /// Ends the current wait, or the next one.
    pub fn wake(&self) {
        self.0.set();
    }
}

/// Waits for many descriptors at once (epoll, level-triggered, for reading).
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    waker: Arc<Event>,
}

/// Events fetched by one system call.
const BATCH: usize = 64;

impl Poller {
    const WAKER: u64 = u64::MAX;

    /// A poller that watches nothing yet.
    pub fn new() -> io::Result<Self> {
        let poller =
            Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, waker: Arc::new(Event::new()?) };
        poller.add(&*poller.waker, Self::WAKER)?;
        Ok(poller)
    }

    /// Watches `fd` until [`remove`](Self::remove). `token` must not be `u64::MAX`.
    pub fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        let interest = EventFlags::IN | EventFlags::RDHUP;
        epoll::add(&self.epoll, fd, EventData::new_u64(token), interest)
    }

    /// Watches `fd` no more. Do so before it is closed, if another process has it open as well.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        epoll::delete(&self.epoll, fd)
    }

    /// What wakes this poller.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.waker))
    }

    /// Replaces `ready` by what is ready, after waiting at most `timeout` (`None`: for ever) for it.
    /// Nothing: the time is over, the waker was used, or a signal came.
    pub fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut events = [const { std::mem::MaybeUninit::uninit() }; BATCH];
        let events = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        for event in events {
            let (flags, token) = (event.flags, event.data.u64());
            if token == Self::WAKER {
                self.waker.clear();
                continue;
            }
            let hung_up = flags.intersects(EventFlags::HUP | EventFlags::RDHUP | EventFlags::ERR);
            let readable = flags.contains(EventFlags::IN);
            ready.push(Ready { token, readable, hung_up });
        }
        Ok(())
    }
}
