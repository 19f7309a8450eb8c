//! How a process gets its session: `start` makes the driver, `join` a worker.

use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyType;
use skate_core::id::ClientId;
use skate_core::node::Config;
use skate_shm::hub::Hub;
use skate_shm::killpoint::{Point, Role, enter, reached};
use skate_shm::segment::{Pages, Segment};
use skate_shm::spill_file::{SpillFile, is_in_memory};
use skate_shm::watch::{Poller, Process};

use crate::answer::Answers;
use crate::background;
use crate::client::Client;
use crate::disk::{Disk, Place};
use crate::error::Error;
use crate::handles::Handles;
use crate::host::Host;
use crate::inspect::listener::Listener;
use crate::memory::{Monitor, Watching};
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

/// Where and how much may be spilled.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Spilling {
    /// Directories to try, and whether the user has named them.
    directories: Vec<(PathBuf, bool)>,
    /// Most bytes.
    quota: Option<u64>,
    /// Of 1000 parts of the file system, so many are kept for others.
    kept: u64,
    /// Why nothing is to be spilled.
    off: Option<String>,
}

/// The first directory that serves, or why there is none. One that the user has named has to.
fn find_place(spilling: &Spilling) -> PyResult<Result<Place, Arc<str>>> {
    if let Some(off) = &spilling.off {
        return Ok(Err(off.as_str().into()));
    }
    let mut notes = Vec::new();
    for (directory, is_named) in &spilling.directories {
        let made = match is_in_memory(directory) {
            Ok(true) if !is_named => Err("it is in memory, where nothing would be gained".into()),
            Ok(_) => SpillFile::create(directory).map_err(|errno| errno.to_string()),
            Err(errno) => Err(errno.to_string()),
        };
        let shown = directory.display();
        match made {
            Ok(file) => {
                let (directory, kept) = (directory.clone(), spilling.kept);
                return Ok(Ok(Place { directory, file: Arc::new(file), kept }));
            }
            Err(why) if *is_named => {
                let text = format!("init: values cannot be spilled to {shown}: {why}");
                return Err(PyValueError::new_err(text));
            }
            Err(why) => notes.push(format!("{shown}: {why}")),
        }
    }
    let notes = notes.join("; ");
    Ok(Err(format!("there is no directory to spill values to ({notes})").into()))
}

/// Starts a node in this process, and its zygote.
#[pyfunction]
#[pyo3(signature = (session, zygote_argv, hello, resources, capacity, prestart, log_to_driver, spilling, memory, may_be_looked_at, /))]
#[allow(clippy::too_many_arguments, reason = "each is one fact about the session")]
pub(crate) fn start(
    session: &str,
    zygote_argv: Vec<String>,
    hello: Vec<u8>,
    resources: Vec<(String, u64)>,
    capacity: u64,
    prestart: u32,
    log_to_driver: bool,
    spilling: Spilling,
    memory: Watching,
    may_be_looked_at: bool,
) -> PyResult<Client> {
    if zygote_argv.is_empty() {
        return Err(PyValueError::new_err("start: zygote_argv is empty"));
    }
    let nonce = nonce("start", session)?;
    enter(Role::Driver);
    let made = Segment::create("skate-data", capacity, Pages::Huge);
    let (segment, data) = made.map_err(Error::from)?;
    let segment = Arc::new(segment);
    let (hub, hub_fd) = Hub::create().map_err(Error::from)?;
    let place = find_place(&spilling)?;
    let this =
        Process::open(std::process::id()).map_err(|errno| Error::System("pidfd_open", errno))?;
    let config = Config {
        resources: resources.into_iter().map(|(name, amount)| (name.into(), amount)).collect(),
        capacity,
        spill: place.as_ref().map(|_| spilling.quota.unwrap_or(u64::MAX)).map_err(Clone::clone),
        oom_retries: memory.oom_retries,
        prestart,
        max_workers: MOST_WORKERS_AT_LEAST.max(WORKERS_PER_CPU * crate::usable_cpus()),
    };
    let (handles, answers) = (Arc::<Handles>::default(), Arc::<Answers>::default());
    let watcher = Watcher::new()?;
    let place = place.ok();
    let spill_file = place.as_ref().map(|place| Arc::clone(&place.file));
    let shared = spill_file.as_ref().map(|file| file.share()).transpose();
    let spill = shared.map_err(|errno| Error::System("dup", errno))?;
    let disk = Disk::new(place);
    let (ours, theirs) = (Arc::clone(&handles), Arc::clone(&answers));
    let host = Host::new(config, hub, &segment, ours, theirs, watcher, disk)?;
    let session = Session::new(
        nonce,
        ClientId::DRIVER,
        segment,
        spill_file,
        handles,
        answers,
        Arc::clone(&host) as Arc<dyn crate::session::Transport>,
    );
    let recipe = Recipe { argv: zygote_argv, hello, driver: this, hub: hub_fd, data, spill };
    let listener = may_be_looked_at.then(|| Listener::of_driver(nonce, &host)).flatten();
    Watcher::start(&host, &session, recipe, log_to_driver, Monitor::new(memory), listener)?;
    // From here on, whatever fails drops it, which ends what has been started.
    let client = Client::driver(Arc::clone(&session), host);
    background::start(Arc::clone(&session))?;
    session.make_current();
    Ok(client)
}

/// Becomes a worker of a session.
#[pyfunction]
#[pyo3(signature = (hub_fd, data_fd, control_fd, driver_pidfd, spill_fd, client_id, session, may_be_looked_at, /))]
#[allow(clippy::too_many_arguments, reason = "each is one thing that the zygote hands over")]
pub(crate) fn join(
    hub_fd: RawFd,
    data_fd: RawFd,
    control_fd: RawFd,
    driver_pidfd: RawFd,
    spill_fd: Option<RawFd>,
    client_id: u32,
    session: &str,
    may_be_looked_at: bool,
) -> PyResult<Client> {
    let nonce = nonce("join", session)?;
    let [hub, data, control, driver] = [hub_fd, data_fd, control_fd, driver_pidfd].map(own);
    let spill_file = spill_fd.map(|fd| Arc::new(SpillFile::open(own(fd))));
    // A second join in one process would be a bug of skate; the first thread stays the main one.
    let _ = crate::MAIN_THREAD.set(std::thread::current().id());
    let segment = Segment::open(data.as_fd()).map_err(Error::from)?;
    let poller = Poller::new().map_err(|errno| Error::System("epoll", errno))?;
    let ticker = Arc::new(Ticker::new(poller.waker()));
    let (handles, answers) = (Arc::<Handles>::default(), Arc::<Answers>::default());
    let driver = Arc::new(driver);
    let worker = Worker::join(
        hub.as_fd(),
        control.as_fd(),
        Arc::clone(&driver),
        ClientId(client_id),
        Arc::clone(&handles),
        Arc::clone(&answers),
        Arc::clone(&ticker),
    )?;
    let session = Session::new(
        nonce,
        ClientId(client_id),
        Arc::new(segment),
        spill_file,
        handles,
        answers,
        Arc::clone(&worker) as Arc<dyn crate::session::Transport>,
    );
    let listener = may_be_looked_at.then(|| Listener::of_worker(nonce)).flatten();
    sentinel::start(poller, ticker, driver, Arc::clone(&session), listener)?;
    session.make_current();
    reached(Point::Joined);
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
