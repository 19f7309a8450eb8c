//! How a process gets its session: `start` makes the driver, `join` a worker.

use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyType;
use skate_core::id::ClientId;
use skate_core::node::Config;
use skate_shm::hub::Hub;
use skate_shm::segment::{Pages, Segment};
use skate_shm::watch::{Poller, Process};

use crate::answer::Answers;
use crate::background;
use crate::client::Client;
use crate::error::Error;
use crate::handles::Handles;
use crate::host::Host;
use crate::modules;
use crate::sentinel;
use crate::session::Session;
use crate::ticker::Ticker;
use crate::watcher::Watcher;
use crate::worker::Worker;
use crate::zygote::Recipe;

/// Soft cap on worker processes, per CPU and at least.
const WORKERS_PER_CPU: u32 = 16;
const MOST_WORKERS_AT_LEAST: u32 = 64;

/// Starts a node in this process, and its zygote.
#[pyfunction]
#[pyo3(signature = (session, zygote_argv, hello, resources, capacity, prestart, log_to_driver, /))]
#[allow(clippy::too_many_arguments, reason = "each is one fact about the session")]
pub(crate) fn start(
    session: &str,
    zygote_argv: Vec<String>,
    hello: Vec<u8>,
    resources: Vec<(String, u64)>,
    capacity: u64,
    prestart: u32,
    log_to_driver: bool,
) -> PyResult<Client> {
    if zygote_argv.is_empty() {
        return Err(PyValueError::new_err("start: zygote_argv is empty"));
    }
    let nonce = nonce("start", session)?;
    let made = Segment::create("skate-data", capacity, Pages::Huge);
    let (segment, data) = made.map_err(Error::from)?;
    let segment = Arc::new(segment);
    let (hub, hub_fd) = Hub::create().map_err(Error::from)?;
    let this =
        Process::open(std::process::id()).map_err(|errno| Error::System("pidfd_open", errno))?;
    let config = Config {
        resources: resources.into_iter().map(|(name, amount)| (name.into(), amount)).collect(),
        capacity,
        prestart,
        max_workers: MOST_WORKERS_AT_LEAST.max(WORKERS_PER_CPU * crate::usable_cpus()),
    };
    let (handles, answers) = (Arc::<Handles>::default(), Arc::<Answers>::default());
    let watcher = Watcher::new()?;
    let host =
        Host::new(config, hub, &segment, Arc::clone(&handles), Arc::clone(&answers), watcher)?;
    let session = Session::new(
        nonce,
        ClientId::DRIVER,
        segment,
        handles,
        answers,
        Arc::clone(&host) as Arc<dyn crate::session::Transport>,
    );
    let recipe = Recipe { argv: zygote_argv, hello, driver: this, hub: hub_fd, data };
    Watcher::start(&host, &session, recipe, log_to_driver)?;
    background::start(Arc::clone(&session))?;
    session.make_current();
    Ok(Client::driver(session, host))
}

/// Becomes a worker of a session.
#[pyfunction]
#[pyo3(signature = (hub_fd, data_fd, control_fd, driver_pidfd, client_id, session, /))]
pub(crate) fn join(
    hub_fd: RawFd,
    data_fd: RawFd,
    control_fd: RawFd,
    driver_pidfd: RawFd,
    client_id: u32,
    session: &str,
) -> PyResult<Client> {
    let nonce = nonce("join", session)?;
    let [hub, data, control, driver] = [hub_fd, data_fd, control_fd, driver_pidfd].map(own);
    // A second join in one process would be a bug of skate; the first thread stays the main one.
    let _ = crate::MAIN_THREAD.set(std::thread::current().id());
    let segment = Segment::open(data.as_fd()).map_err(Error::from)?;
    let poller = Poller::new().map_err(|errno| Error::System("epoll", errno))?;
    let ticker = Arc::new(Ticker::new(poller.waker()));
    let (handles, answers) = (Arc::<Handles>::default(), Arc::<Answers>::default());
    let worker = Worker::join(
        hub.as_fd(),
        control.as_fd(),
        Arc::clone(&handles),
        Arc::clone(&answers),
        Arc::clone(&ticker),
    )?;
    let session = Session::new(
        nonce,
        ClientId(client_id),
        Arc::new(segment),
        handles,
        answers,
        Arc::clone(&worker) as Arc<dyn crate::session::Transport>,
    );
    sentinel::start(poller, ticker, driver, Arc::clone(&session))?;
    session.make_current();
    Ok(Client::worker(session, worker))
}

/// The number of a session; 0 marks refs that belong to none.
fn nonce(function: &str, session: &str) -> PyResult<u64> {
    u64::from_str_radix(session, 16).ok().filter(|nonce| *nonce != 0).ok_or_else(|| {
        PyValueError::new_err(format!("{function}: {session:?} is not 16 hex digits, not all 0"))
    })
}

fn own(fd: RawFd) -> OwnedFd {
    #[allow(unsafe_code, reason = "descriptors come from Python as numbers")]
    // SAFETY: the zygote's child hands over descriptors that it received and uses no more.
    unsafe {
        OwnedFd::from_raw_fd(fd)
    }
}

/// Names the classes for generators.
#[pyfunction]
#[pyo3(signature = (streaming, dynamic, /))]
pub(crate) fn bind_types(py: Python<'_>, streaming: Bound<'_, PyType>, dynamic: Bound<'_, PyType>) {
    modules::bind_generators(py, streaming.unbind(), dynamic.unbind());
}

/// In the child of a fork: says on every call that the session is the parent's.
#[pyfunction]
pub(crate) fn disable_in_child() {
    Session::disable_in_child();
}
