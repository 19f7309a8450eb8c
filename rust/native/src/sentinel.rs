//! A worker's sentinel: one thread that ends the worker with its driver, flushes its drops, and lets in
//! who wants to look.
//!
//! ```text
//!   forked ── end_with_zygote ──▶ unknown to the node ── first task ──▶ known ── driver gone ──▶ killed
//!                                   └─ zygote gone: killed by the kernel
//! ```
//!
//! Invariants: when the driver's process is gone, this process and everything that its tasks started
//! (less what moved to another session) is killed, whatever the main thread is doing. A worker that
//! the node may not know of, because the zygote has not told it yet, ends with the zygote.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use skate_shm::killpoint::{Point, Role, enter, reached};
use skate_shm::thread::{block_all_signals, kill_own_group};
use skate_shm::watch::{Poller, wait_for_end};

use crate::error::{Error, Result};
use crate::guard;
use crate::inspect::listener::Listener;
use crate::session::Session;
use crate::ticker::{Quiet, Ticker};

const DRIVER: u64 = 0;
const LISTENER: u64 = 1;

/// Starts it.
pub(crate) fn start(
    poller: Poller,
    ticker: Arc<Ticker>,
    driver: Arc<OwnedFd>,
    session: Arc<Session>,
    listener: Option<Listener>,
) -> Result<()> {
    let failed = |errno| Error::System("epoll_ctl", errno);
    poller.add(&driver, DRIVER).map_err(failed)?;
    if let Some(listener) = &listener {
        poller.add(listener.socket(), LISTENER).map_err(failed)?;
    }
    std::thread::Builder::new()
        .name("skate-sentinel".into())
        .stack_size(256 << 10)
        .spawn(move || {
            block_all_signals();
            let _driver = driver;
            let ended = guard::run("skate-sentinel", || {
                watch(&poller, &ticker, &session, listener.as_ref());
                Ok(())
            });
            if ended.is_err() {
                // Nothing would end this process with its driver any more.
                end_group();
            }
        })
        .map(drop)
        .map_err(|error| Error::Thread(error.to_string()))
}

/// In a child just forked by the zygote: it is killed with it from now on. False if the zygote, process
/// `zygote`, has gone already.
#[pyfunction]
#[pyo3(signature = (zygote, /))]
pub(crate) fn end_with_zygote(zygote: i32) -> PyResult<bool> {
    enter(Role::Worker);
    reached(Point::Born);
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| Error::System("prctl", errno))?;
    Ok(getppid().is_some_and(|parent| parent.as_raw_nonzero().get() == zygote))
}

/// In the zygote: wakes it when the driver ends (or a thread of it, which does no harm), so that it
/// notices although somebody has stopped it.
#[pyfunction]
pub(crate) fn wake_with_driver() -> PyResult<()> {
    enter(Role::Zygote);
    set_parent_process_death_signal(Some(Signal::CONT))
        .map_err(|errno| Error::System("prctl", errno).into())
}

/// The node knows this worker: it lives on without the zygote.
pub(crate) fn outlive_zygote() {
    // Clearing it does not fail; if it did, the worker would only die earlier.
    let _ = set_parent_process_death_signal(None);
}

/// For a thread that waits until the driver has read something: ends this process if it never will.
pub(crate) fn end_with_driver(driver: &OwnedFd) {
    if wait_for_end(driver, Some(Duration::ZERO)) {
        end_group();
    }
}

/// Kills this process and what its tasks started.
fn end_group() -> ! {
    let _ = kill_own_group();
    std::process::abort()
}

fn watch(poller: &Poller, ticker: &Ticker, session: &Session, listener: Option<&Listener>) {
    let mut quiet = Quiet::default();
    let mut ready = Vec::new();
    loop {
        let timeout = ticker.timeout(&mut quiet, || session.is_dirty());
        let waited = poller.wait(timeout, &mut ready);
        if waited.is_err() || ready.iter().any(|ready| ready.token == DRIVER) {
            end_group();
        }
        if let Some(listener) = listener
            && ready.iter().any(|ready| ready.token == LISTENER)
        {
            listener.accept();
        }
        if session.is_dirty() {
            session.transport.try_flush(session);
            session.transport.ring_untold();
        }
    }
}
