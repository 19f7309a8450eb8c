//! Where other processes of the same user may look at this one.
//!
//! ```text
//!   @skate-<pid>-<session>  (abstract: in no file system, gone with the process; a worker's: …-worker)
//!   watcher, or sentinel: accept ─▶ same uid, or root? ─▶ a thread for this connection: line in, line out, …
//!                                      └ no: closed       └ ends with it, after silence, or with the process
//!
//!   a driver answers by the node's tables and counters, and both answer "stacks"
//! ```
//!
//! Invariants: who connects can only look, and makes no thread of the engine wait: reading and writing
//! happen in a thread of the connection's own, of which there are at most [`MOST`], each with a time
//! limit. While nobody looks there is no thread and no turn of the watcher, and none is left when the process
//! may open nothing more.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::intern;
use pyo3::prelude::*;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
    sockopt,
};
use serde_json::json;
use skate_shm::thread::block_all_signals;

use super::{query, text};
use crate::host::Host;
use crate::modules;

/// Connections at once.
const MOST: usize = 16;
/// Of the thread that serves a guest: JSON may be 128 levels deep, which takes 300 KB with a sanitizer.
const STACK: usize = 1 << 20;
/// Connections that wait to be taken.
const BACKLOG: i32 = 64;
/// A connection that says nothing for so long, or does not read, is closed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest question.
const LONGEST: u64 = 64 << 10;

/// Who answers a line. None: there is nobody any more.
type Answer = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The socket, and who is there.
pub(crate) struct Listener {
    socket: OwnedFd,
    /// Given up for a moment when the process may open nothing more: who cannot be let in is turned away.
    spare: Mutex<Option<OwnedFd>>,
    answer: Arc<Answer>,
    open: Arc<AtomicUsize>,
}

impl Listener {
    /// A driver's; None if the system refuses, which nobody but who looks has to know.
    pub(crate) fn of_driver(nonce: u64, host: &Arc<Host>) -> Option<Self> {
        let host = Arc::downgrade(host);
        Self::open(nonce, "", Arc::new(move |line: &str| answer(&host, line, nonce)))
    }

    /// A worker's.
    pub(crate) fn of_worker(nonce: u64) -> Option<Self> {
        let answer = |line: &str| Some(if line == "stacks" { stacks() } else { error(NO_NODE) });
        Self::open(nonce, "-worker", Arc::new(answer))
    }

    fn open(nonce: u64, suffix: &str, answer: Arc<Answer>) -> Option<Self> {
        let name = format!("skate-{}-{nonce:016x}{suffix}", std::process::id());
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).ok()?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
        bind(&socket, &address).ok()?;
        listen(&socket, BACKLOG).ok()?;
        let spare = Mutex::new(socket.try_clone().ok());
        Some(Self { socket, spare, answer, open: Arc::default() })
    }

    pub(crate) const fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Takes the connections that are there.
    pub(crate) fn accept(&self) {
        loop {
            let connection = match accept_with(&self.socket, SocketFlags::CLOEXEC) {
                Ok(connection) => connection,
                Err(Errno::MFILE | Errno::NFILE) if self.turn_away() => continue,
                Err(_) => return,
            };
            if !is_allowed(&connection) {
                continue;
            }
            if self.open.fetch_add(1, Ordering::AcqRel) >= MOST {
                self.open.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let guest = Guest {
                stream: UnixStream::from(connection),
                answer: Arc::clone(&self.answer),
                open: Arc::clone(&self.open),
            };
            // If there can be no thread, the guest goes, and is counted out, with the closure.
            let _ = std::thread::Builder::new()
                .name("skate-inspect".into())
                .stack_size(STACK)
                .spawn(move || {
                    block_all_signals();
                    // Whatever ends the conversation is the other side's to see.
                    let _ = guest.serve();
                });
        }
    }

    /// Closes a connection for which there is no descriptor, and which would else be told of again and
    /// again; false if there is none. The system looks for a descriptor first, then for a connection.
    fn turn_away(&self) -> bool {
        let mut spare = self.spare.lock();
        drop(spare.take());
        let is_turned_away = accept_with(&self.socket, SocketFlags::CLOEXEC).is_ok();
        *spare = self.socket.try_clone().ok();
        is_turned_away
    }
}

/// Whether the process at the other end belongs to this user, or to root, who may do anything anyway.
fn is_allowed(connection: &OwnedFd) -> bool {
    let own = rustix::process::geteuid();
    sockopt::socket_peercred(connection).is_ok_and(|peer| peer.uid == own || peer.uid.is_root())
}

struct Guest {
    stream: UnixStream,
    answer: Arc<Answer>,
    open: Arc<AtomicUsize>,
}

impl Guest {
    fn serve(&self) -> std::io::Result<()> {
        self.stream.set_read_timeout(Some(PATIENCE))?;
        self.stream.set_write_timeout(Some(PATIENCE))?;
        let mut reader = BufReader::new(&self.stream);
        loop {
            let mut line = String::new();
            (&mut reader).take(LONGEST).read_line(&mut line)?;
            if line.is_empty() {
                return Ok(());
            }
            let is_whole = line.ends_with('\n');
            let Some(mut answer) = (self.answer)(line.trim_end()) else { return Ok(()) };
            answer.push('\n');
            (&self.stream).write_all(answer.as_bytes())?;
            if !is_whole {
                return Ok(());
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

const NO_NODE: &str = "a worker has no tables: ask the driver";

/// The driver's answer to a line: rows, counters, stacks, or `{"error": …}`.
fn answer(host: &Weak<Host>, question: &str, nonce: u64) -> Option<String> {
    if question == "stacks" {
        return Some(stacks());
    }
    let host = host.upgrade()?;
    if question == "statistics" {
        let counters =
            host.statistics().into_iter().map(|(name, count)| (name.into(), json!(count)));
        return Some(serde_json::Value::Object(counters.collect()).to_string());
    }
    let rows = query(question, nonce).and_then(|query| host.inspect(&query));
    Some(match rows {
        Ok(rows) => text(&rows, nonce),
        Err(why) => error(&why),
    })
}

/// What this process's Python code is doing. It takes the GIL, which nobody else has to wait for.
fn stacks() -> String {
    let ask = |py: Python<'_>| -> PyResult<String> {
        modules::stacks(py)?.call_method0(intern!(py, "here"))?.extract()
    };
    match Python::try_attach(ask) {
        Some(Ok(stacks)) => stacks,
        Some(Err(why)) => error(&why.to_string()),
        None => error("the interpreter is ending"),
    }
}

fn error(why: &str) -> String {
    json!({ "error": why }).to_string()
}
