//! Where other processes of the same user may look at this driver.
//!
//! ```text
//!   @skate-<pid>-<session>  (abstract: in no file system, gone with the process)
//!   skate-watch: accept ─▶ same uid, or root? ─▶ a thread for this connection: line in, line out, …
//!                             └ no: closed       └ ends with it, after silence, or with the driver
//! ```
//!
//! Invariants: who connects can only look, and makes no thread of the engine wait: reading and writing
//! happen in a thread of the connection's own, of which there are at most [`MOST`], each with a time
//! limit. While nobody looks there is no thread and no turn of the watcher.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
    sockopt,
};
use serde_json::json;
use skate_shm::thread::block_all_signals;

use super::{query, text};
use crate::host::Host;

/// Connections at once.
const MOST: usize = 16;
/// Connections that wait to be taken.
const BACKLOG: i32 = 64;
/// A connection that says nothing for so long, or does not read, is closed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest question.
const LONGEST: u64 = 64 << 10;

/// The socket, and who is there.
pub(crate) struct Listener {
    socket: OwnedFd,
    nonce: u64,
    open: Arc<AtomicUsize>,
}

impl Listener {
    /// Listens; None if the system refuses, which nobody but who looks has to know.
    pub(crate) fn open(nonce: u64) -> Option<Self> {
        let name = format!("skate-{}-{nonce:016x}", std::process::id());
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).ok()?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
        bind(&socket, &address).ok()?;
        listen(&socket, BACKLOG).ok()?;
        Some(Self { socket, nonce, open: Arc::default() })
    }

    pub(crate) const fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Takes the connections that are there.
    pub(crate) fn accept(&self, host: &Arc<Host>) {
        while let Ok(connection) = accept_with(&self.socket, SocketFlags::CLOEXEC) {
            if !is_allowed(&connection) || self.open.fetch_add(1, Ordering::AcqRel) >= MOST {
                // Both kinds find their connection closed.
                if is_allowed(&connection) {
                    self.open.fetch_sub(1, Ordering::AcqRel);
                }
                continue;
            }
            let guest = Guest {
                stream: UnixStream::from(connection),
                host: Arc::downgrade(host),
                nonce: self.nonce,
                open: Arc::clone(&self.open),
            };
            // If there can be no thread, the guest goes, and is counted out, with the closure.
            let _ = std::thread::Builder::new()
                .name("skate-inspect".into())
                .stack_size(256 << 10)
                .spawn(move || {
                    block_all_signals();
                    // Whatever ends the conversation is the other side's to see.
                    let _ = guest.serve();
                });
        }
    }
}

/// Whether the process at the other end belongs to this user, or to root, who may do anything anyway.
fn is_allowed(connection: &OwnedFd) -> bool {
    let own = rustix::process::geteuid();
    sockopt::socket_peercred(connection).is_ok_and(|peer| peer.uid == own || peer.uid.is_root())
}

struct Guest {
    stream: UnixStream,
    host: Weak<Host>,
    nonce: u64,
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
            let Some(host) = self.host.upgrade() else { return Ok(()) };
            let mut answer = answer(&host, line.trim_end(), self.nonce);
            drop(host);
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

/// The answer to a line: rows, counters, or `{"error": …}`.
fn answer(host: &Host, question: &str, nonce: u64) -> String {
    if question == "statistics" {
        let counters =
            host.statistics().into_iter().map(|(name, count)| (name.into(), json!(count)));
        return serde_json::Value::Object(counters.collect()).to_string();
    }
    let rows = query(question, nonce).and_then(|query| host.inspect(&query));
    match rows {
        Ok(rows) => text(&rows, nonce),
        Err(why) => json!({ "error": why }).to_string(),
    }
}
