//! The only place where Rust errors become Python ones. The classes live in `skate.exceptions`.

use std::time::Duration;

use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use skate_core::event::Leave;
use skate_core::value::{ActorEnd, Cause, Failure, Inherited};
use skate_shm::segment::SegmentError;

use crate::actor_ref::actor_bytes;
use crate::modules;
use crate::object_ref::{hex, object_bytes};
use crate::session::Session;

/// What can go wrong here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No `init`, or after `shutdown`.
    #[error("Ray has not been started yet. You can start Ray with 'ray.init()'.")]
    NotStarted,
    /// In a process that was forked by user code.
    #[error(
        "this process was forked from one that uses skate; the session belongs to the parent. Start \
         processes that use skate with `multiprocessing.get_context(\"spawn\")`, or call skate only \
         in the parent"
    )]
    Forked,
    /// The session cannot go on.
    #[error("the session is lost: {0}. Start another one with ray.shutdown() and ray.init()")]
    Lost(String),
    /// A ref that another session made.
    #[error("{0} belongs to an earlier session: it was made before the last shutdown")]
    Stale(String),
    /// A ref that no session made: nil, or a random one.
    #[error("{0}")]
    Nowhere(String),
    /// The deadline of a call has passed.
    #[error("Get timed out: some object(s) not ready.")]
    TimedOut,
    /// The node refused.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// A value is too long for what the process can still have.
    #[error("no memory for a value of {0} bytes")]
    NoMemory(usize),
    /// A system call failed.
    #[error("{0} failed: {1}")]
    System(&'static str, rustix::io::Errno),
    /// The data segment refused.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A control segment does not map.
    #[error("mapping shared memory failed: {0}")]
    Mapping(String),
    /// A thread cannot be started.
    #[error("starting a thread failed: {0}")]
    Thread(String),
    /// The zygote cannot be started.
    #[error("starting the process that forks workers failed: {0}")]
    Zygote(String),
    /// Something that only the driver can be asked.
    #[error("{0} works in the driver only")]
    DriverOnly(&'static str),
}

/// Of this crate.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        Python::attach(|py| {
            let class = match &error {
                Error::Failed(reason) => return failure(py, reason),
                Error::NoMemory(_) => return PyMemoryError::new_err(error.to_string()),
                Error::TimedOut => "GetTimeoutError",
                Error::Nowhere(_) => "ObjectLostError",
                Error::NotStarted
                | Error::Forked
                | Error::Lost(_)
                | Error::Stale(_)
                | Error::System(..)
                | Error::Segment(_)
                | Error::Mapping(_)
                | Error::Thread(_)
                | Error::Zygote(_)
                | Error::DriverOnly(_) => "RaySystemError",
            };
            exception(py, class, &error.to_string())
        })
    }
}

fn exception(py: Python<'_>, class: &str, text: &str) -> PyErr {
    modules::exceptions(py)
        .and_then(|exceptions| exceptions.getattr(class)?.call1((text,)))
        .map_or_else(|error| error, PyErr::from_value)
}

/// The exception for a failure that the node saw.
pub(crate) fn failure(py: Python<'_>, failure: &Failure) -> PyErr {
    let make = || -> PyResult<Bound<'_, PyAny>> {
        let fields = PyDict::new(py);
        let kind = match failure {
            Failure::WorkerCrashed { task_name, death } => {
                fields.set_item("task_name", &**task_name)?;
                fields.set_item("death", death.to_string())?;
                "WorkerCrashed"
            }
            Failure::WorkerStart { task_name, death } => {
                fields.set_item("task_name", &**task_name)?;
                fields.set_item("death", death.to_string())?;
                "WorkerStart"
            }
            Failure::Cancelled { task_name, pid } => {
                fields.set_item("task_name", &**task_name)?;
                fields.set_item("pid", pid)?;
                "Cancelled"
            }
            Failure::StoreFull { need, free, capacity, why } => {
                fields.set_item("need", need)?;
                fields.set_item("free", free)?;
                fields.set_item("capacity", capacity)?;
                fields.set_item("why", &**why)?;
                "StoreFull"
            }
            Failure::OutOfDisk { need, spilled, trouble } => {
                fields.set_item("need", need)?;
                fields.set_item("spilled", spilled)?;
                fields.set_item("trouble", trouble.to_string())?;
                "OutOfDisk"
            }
            Failure::OutOfMemory { task_name, why } => {
                fields.set_item("task_name", &**task_name)?;
                fields.set_item("why", &**why)?;
                "OutOfMemory"
            }
            Failure::Lost { object, trouble } => {
                let nonce = Session::current().map_or(0, |session| session.nonce);
                fields.set_item("object_id", hex(&object_bytes(nonce, *object)))?;
                fields.set_item("trouble", trouble.to_string())?;
                "Lost"
            }
            Failure::ReplayInconsistent { task_name, yielded, published } => {
                fields.set_item("task_name", &**task_name)?;
                fields.set_item("yielded", yielded)?;
                fields.set_item("published", published)?;
                "ReplayInconsistent"
            }
            Failure::ActorDied { task_name, actor } => {
                fields.set_item("task_name", &**task_name)?;
                describe_end(actor, &fields)?;
                "ActorDied"
            }
            Failure::ActorUnavailable { task_name, actor } => {
                fields.set_item("task_name", &**task_name)?;
                describe_end(actor, &fields)?;
                "ActorUnavailable"
            }
            Failure::GroupRemoved { task_name } => {
                fields.set_item("task_name", &**task_name)?;
                "GroupRemoved"
            }
            Failure::Deadlock { chain } => {
                fields.set_item("chain", &**chain)?;
                "Deadlock"
            }
            Failure::NoSuchActor(name) => {
                fields.set_item("name", &*name.name)?;
                fields.set_item("namespace", &*name.namespace)?;
                "NoSuchActor"
            }
            Failure::Unknown => "Unknown",
        };
        let from_failure = modules::exceptions(py)?.getattr(intern!(py, "from_failure"))?;
        from_failure.call((kind,), Some(&fields))
    };
    make().map_or_else(|error| error, PyErr::from_value)
}

/// The same error with a note that names the tasks which did not run because of it.
pub(crate) fn inherited(py: Python<'_>, error: PyErr, how: &Inherited) -> PyErr {
    let tell = || -> PyResult<PyErr> {
        let tell = py.import("skate._advice")?.getattr("inherited")?;
        let names = PyTuple::new(py, how.tasks.iter().map(|name| &**name))?;
        let nonce = Session::current().map_or(0, |session| session.nonce);
        let actor = how.actor.map(|actor| hex(&actor_bytes(nonce, actor)));
        tell.call1((error.value(py), names, how.skipped, actor)).map(PyErr::from_value)
    };
    tell().unwrap_or_else(|trouble| trouble)
}

/// Stands for an error whose class, say, cannot be imported here.
pub(crate) fn unreadable(py: Python<'_>, reason: &PyErr) -> PyErr {
    exception(py, "RaySystemError", &format!("the error cannot be read here: {reason}"))
}

/// What is known of an actor's end.
fn describe_end(end: &ActorEnd, fields: &Bound<'_, PyDict>) -> PyResult<()> {
    let nonce = Session::current().map_or(0, |session| session.nonce);
    fields.set_item("actor_id", hex(&actor_bytes(nonce, end.actor)))?;
    fields.set_item("class_name", &*end.class_name)?;
    fields.set_item("name", end.name.as_ref().map_or("", |name| &name.name))?;
    fields.set_item("namespace", end.name.as_ref().map_or("", |name| &name.namespace))?;
    let (cause, death) = match &end.cause {
        Cause::Crashed(death) => ("Crashed", Some(death)),
        Cause::NotStarted(death) => ("NotStarted", Some(death)),
        Cause::Killed => ("Killed", None),
        Cause::Left(Leave::ExitActor) => ("ExitActor", None),
        Cause::Left(Leave::Terminate) => ("Terminate", None),
        Cause::Left(Leave::ExitCodeZero) => ("ExitCodeZero", None),
        Cause::GroupRemoved => ("GroupRemoved", None),
        Cause::OutOfScope => ("OutOfScope", None),
    };
    fields.set_item("cause", cause)?;
    fields.set_item("pid", death.map_or(0, |death| death.pid))?;
    fields.set_item("death", death.map_or_else(String::new, ToString::to_string))
}

/// The exception to raise for an unpacked error: a `RayTaskError` is of the cause's class, too.
pub(crate) fn raised(error: Bound<'_, PyAny>) -> PyErr {
    if !error.hasattr(intern!(error.py(), "as_instanceof_cause")).unwrap_or(false) {
        return PyErr::from_value(error);
    }
    error
        .call_method0(intern!(error.py(), "as_instanceof_cause"))
        .map_or_else(|error| error, PyErr::from_value)
}

/// Checks a timeout in seconds; None is for ever.
pub(crate) fn timeout(function: &str, timeout_s: Option<f64>) -> PyResult<Option<Duration>> {
    match timeout_s {
        None => Ok(None),
        Some(seconds) if seconds >= 0.0 => {
            // Beyond what a Duration holds is for ever, too.
            Ok(Duration::try_from_secs_f64(seconds).ok())
        }
        Some(seconds) => Err(PyValueError::new_err(format!(
            "{function}: timeout is {seconds}, but must be at least 0 (or None to wait for ever)"
        ))),
    }
}

/// A `TypeError` that says what came and what was expected.
pub(crate) fn wrong_type(function: &str, what: &str, got: &Bound<'_, PyAny>) -> PyErr {
    let kind = got.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
    PyTypeError::new_err(format!("{function}: expected {what}, got {kind}"))
}

/// Whether it is our own timeout.
pub(crate) fn is_timeout(py: Python<'_>, error: &PyErr) -> bool {
    modules::exceptions(py)
        .and_then(|exceptions| exceptions.getattr(intern!(py, "GetTimeoutError")))
        .is_ok_and(|class| error.is_instance(py, &class))
}
