//! The zygote: one clean Python process without threads, which forks workers on request.
//!
//! ```text
//!   driver ── hello [what it says, driver's pidfd, hub, data, spill file?] ──▶ zygote     JSON, one message a packet
//!          ── preload module ──▶
//!          ── spawn n [control, stdout, stderr] ──▶   │ fork ──▶ worker n
//!          ── kill n ┊ exit ──▶                       │
//!          ◀── ready ┊ spawned n, pid [pidfd] ┊ failed n, error ┊ exited n, pid, status ──
//! ```
//!
//! What hello says is as long as the program's arguments and search path: it comes as a file in memory.
//!
//! Invariant: requests go out in order and are never lost: what the socket does not take waits here.
//! A zygote that died is replaced when the next worker is wanted; its workers live on.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use skate_shm::fd::{recv_with_fds, send_with_fds, set_nonblocking, socket_pair};
use skate_shm::watch::Process;

use crate::error::{Error, Result};

/// What to run, and what to tell it first.
pub(crate) struct Recipe {
    pub(crate) argv: Vec<String>,
    pub(crate) hello: Vec<u8>,
    /// This process.
    pub(crate) driver: Process,
    pub(crate) hub: OwnedFd,
    pub(crate) data: OwnedFd,
    /// The spill file.
    pub(crate) spill: Option<OwnedFd>,
}

#[derive(Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum ToZygote {
    Hello,
    Spawn {
        client: u32,
    },
    Preload {
        module: &'static str,
    },
    /// Of one whose pidfd did not arrive.
    Kill {
        client: u32,
    },
    Exit,
}

/// What the zygote reports.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(crate) enum FromZygote {
    Ready,
    Spawned { client: u32, pid: u32 },
    Failed { client: u32, error: String },
    Exited { client: u32, exit_code: Option<i32>, signal: Option<i32> },
}

/// What came from the zygote's socket.
pub(crate) enum Word {
    /// A report, and the descriptor that came with it.
    Report(FromZygote, Option<OwnedFd>),
    /// Nothing for now.
    Nothing,
    /// It is gone.
    Gone,
}

/// A file that nobody else can open.
fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("skate-hello", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file.into())
}

/// A running zygote.
pub(crate) struct Zygote {
    child: Child,
    socket: OwnedFd,
    /// Requests that the socket has not taken yet.
    outbox: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    buffer: Vec<u8>,
}

/// Longest message of the zygote.
const LONGEST: usize = 64 << 10;
/// How long it may take to end its workers and itself. One that is stopped never does.
const PATIENCE: Duration = Duration::from_secs(1);

impl Zygote {
    pub(crate) fn start(recipe: &Recipe) -> Result<Self> {
        let (ours, theirs) = socket_pair().map_err(|errno| Error::System("socketpair", errno))?;
        // Its first message waits for it in the socket, so a zygote that dies at once is like one that
        // dies later: its socket ends, and it is replaced.
        let said = memory_file(&recipe.hello)
            .map_err(|error| Error::Zygote(format!("what it is to be told: {error}")))?;
        let (driver, hub) = (recipe.driver.as_fd(), recipe.hub.as_fd());
        let mut fds = vec![said.as_fd(), driver, hub, recipe.data.as_fd()];
        fds.extend(recipe.spill.as_ref().map(AsFd::as_fd));
        let hello = serde_json::to_vec(&ToZygote::Hello).expect("plain JSON");
        send_with_fds(&ours, &hello, &fds)
            .and_then(|()| set_nonblocking(&ours))
            .map_err(|errno| Error::System("sendmsg", errno))?;
        let child = Command::new(&recipe.argv[0])
            .args(&recipe.argv[1..])
            .stdin(Stdio::from(theirs))
            // Ctrl-C at the terminal is for the driver alone.
            .process_group(0)
            .spawn()
            .map_err(|error| Error::Zygote(format!("{}: {error}", recipe.argv[0])))?;
        Ok(Self { child, socket: ours, outbox: VecDeque::new(), buffer: vec![0; LONGEST] })
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Asks for a worker.
    pub(crate) fn spawn(&mut self, client: u32, fds: Vec<OwnedFd>) {
        let message = serde_json::to_vec(&ToZygote::Spawn { client }).expect("plain JSON");
        self.outbox.push_back((message, fds));
        self.send_outbox();
    }

    /// Has it import a module, for workers that are forked later.
    pub(crate) fn preload(&mut self, module: &'static str) {
        let message = serde_json::to_vec(&ToZygote::Preload { module }).expect("plain JSON");
        self.outbox.push_back((message, Vec::new()));
        self.send_outbox();
    }

    /// Has it kill a worker that nobody else can.
    pub(crate) fn kill(&mut self, client: u32) {
        let message = serde_json::to_vec(&ToZygote::Kill { client }).expect("plain JSON");
        self.outbox.push_back((message, Vec::new()));
        self.send_outbox();
    }

    /// Sends what waits; true if all is out (or cannot be any more).
    pub(crate) fn send_outbox(&mut self) -> bool {
        while let Some((message, fds)) = self.outbox.front() {
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            if send_with_fds(&self.socket, message, &fds) == Err(Errno::AGAIN) {
                return false;
            }
            // Any other error: it is gone, which its socket tells, too.
            self.outbox.pop_front();
        }
        true
    }

    pub(crate) fn receive(&mut self) -> Word {
        match recv_with_fds(&self.socket, &mut self.buffer) {
            Err(Errno::AGAIN) => Word::Nothing,
            Ok(received) if received.len > 0 => {
                let report = serde_json::from_slice(&self.buffer[..received.len]);
                let fd = received.fds.into_iter().next();
                report.map_or(Word::Gone, |report| Word::Report(report, fd))
            }
            Ok(_) | Err(_) => Word::Gone,
        }
    }

    /// Has it kill and reap its workers, and waits until it is gone. False if it does not answer; it
    /// is still there then.
    pub(crate) fn exit(&mut self) -> bool {
        let message = serde_json::to_vec(&ToZygote::Exit).expect("plain JSON");
        let _ = send_with_fds(&self.socket, &message, &[]);
        // Not by closing the socket, which a forked child of this process may hold as well.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        // A child that has not been waited for: the pid is its own.
        let has_ended = Process::open(self.child.id()).map(|child| child.wait(Some(PATIENCE)));
        let has_ended = has_ended.unwrap_or(true);
        if has_ended {
            let _ = self.child.wait();
        }
        has_ended
    }

    /// Ends it by force; says how it has ended.
    pub(crate) fn end(&mut self) -> String {
        let _ = self.child.kill();
        self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}
