//! A worker's sentinel: one thread that ends the worker with its driver, and flushes its drops.
//!
//! Invariant: when the driver's process is gone, this process and everything that its tasks started
//! (less what moved to another session) is killed, whatever the main thread is doing.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use skate_shm::thread::{block_all_signals, kill_own_group};
use skate_shm::watch::Poller;

use crate::error::{Error, Result};
use crate::session::Session;
use crate::ticker::{Quiet, Ticker};

const DRIVER: u64 = 0;

/// Starts it.
pub(crate) fn start(
    poller: Poller,
    ticker: Arc<Ticker>,
    driver: OwnedFd,
    session: Arc<Session>,
) -> Result<()> {
    poller.add(&driver, DRIVER).map_err(|errno| Error::System("epoll_ctl", errno))?;
    std::thread::Builder::new()
        .name("skate-sentinel".into())
        .stack_size(256 << 10)
        .spawn(move || {
            block_all_signals();
            let _driver = driver;
            watch(&poller, &ticker, &session);
        })
        .map(drop)
        .map_err(|error| Error::Thread(error.to_string()))
}

fn watch(poller: &Poller, ticker: &Ticker, session: &Session) {
    let mut quiet = Quiet::default();
    let mut ready = Vec::new();
    loop {
        let timeout = ticker.timeout(&mut quiet, || session.is_dirty());
        let waited = poller.wait(timeout, &mut ready);
        if waited.is_err() || ready.iter().any(|ready| ready.token == DRIVER) {
            let _ = kill_own_group();
            std::process::abort();
        }
        if session.is_dirty() {
            session.transport.try_flush(session);
        }
    }
}
