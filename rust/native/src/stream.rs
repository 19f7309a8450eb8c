//! `Stream`: one handle on a generator. The Python classes on top give it Ray's names.
//!
//! A streaming generator has one cursor, kept by the node and shared by all handles. A dynamic one
//! has a cursor of its own in each handle, which holds the items from there on.
//!
//! Invariant: `next` that ends by timeout or an exception has taken nothing.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::exceptions::{PyStopIteration, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::MutexExt as _;
use pyo3::types::PyTuple;
use skate_core::action::Reply;
use skate_core::event::{Held, Request, Waitable};
use skate_core::id::TaskId;

use crate::error::{self, Error, Result};
use crate::modules;
use crate::object_ref::{ObjectRef, hex, task_bytes};
use crate::pack;
use crate::session::Session;

/// What a new handle is made of; used up by `Stream.__new__`.
#[pyclass(frozen, module = "skate._native")]
pub(crate) struct Seed(Mutex<Option<Parts>>);

struct Parts {
    session: Arc<Session>,
    task: TaskId,
    cursor: Cursor,
}

/// Whose position counts.
enum Cursor {
    /// The node's; here only how many came through this handle, and whether the end has.
    Shared { taken: u64, ended: bool },
    /// Ours. `ended` once `next` has seen the end.
    Own { at: u64, ended: bool },
}

/// One handle on a generator.
#[pyclass(frozen, subclass, module = "skate._native")]
pub(crate) struct Stream {
    session: Arc<Session>,
    task: TaskId,
    /// Never held while waiting. Threads that share an own cursor take turns by `moving`.
    cursor: Mutex<Cursor>,
    moving: std::sync::Mutex<()>,
}

fn make<'py>(
    py: Python<'py>,
    class: &Py<pyo3::types::PyType>,
    parts: Parts,
) -> PyResult<Bound<'py, PyAny>> {
    class.bind(py).call1((Bound::new(py, Seed(Mutex::new(Some(parts))))?,))
}

/// The Python generator for a stream on which this client has just got a handle.
pub(crate) fn streaming<'py>(
    py: Python<'py>,
    session: &Arc<Session>,
    task: TaskId,
) -> PyResult<Bound<'py, PyAny>> {
    let cursor = Cursor::Shared { taken: 0, ended: false };
    let parts = Parts { session: Arc::clone(session), task, cursor };
    make(py, &modules::generators(py)?.0, parts)
}

/// The Python generator for a cursor that this client holds.
pub(crate) fn dynamic<'py>(
    py: Python<'py>,
    session: &Arc<Session>,
    task: TaskId,
    at: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let parts =
        Parts { session: Arc::clone(session), task, cursor: Cursor::Own { at, ended: false } };
    make(py, &modules::generators(py)?.1, parts)
}

/// The dynamic generator that `Stream.__reduce__` wrote.
#[pyfunction]
pub(crate) fn rebuild_dynamic(
    py: Python<'_>,
    nonce: u64,
    task: u64,
    at: u64,
) -> PyResult<Py<PyAny>> {
    let session = Session::require()?;
    let task = TaskId(task);
    if session.nonce != nonce {
        return Err(Error::Stale("the generator".into()).into());
    }
    session.hold(Held::Cursor(task, at));
    Ok(dynamic(py, &session, task, at)?.unbind())
}

impl Stream {
    fn position_if_own(&self) -> Option<u64> {
        match *self.cursor.lock() {
            Cursor::Shared { .. } => None,
            Cursor::Own { at, .. } => Some(at),
        }
    }

    /// What `wait` waits for.
    pub(crate) fn waitable(&self) -> Waitable {
        match self.position_if_own() {
            None => Waitable::Stream(self.task),
            Some(at) => Waitable::Cursor(self.task, at),
        }
    }

    pub(crate) const fn task(&self) -> TaskId {
        self.task
    }

    fn check(&self) -> Result<()> {
        self.session.check()
    }

    fn advance(&self, reply: &Reply) {
        match &mut *self.cursor.lock() {
            Cursor::Shared { taken: place, ended } | Cursor::Own { at: place, ended } => {
                match reply {
                    Reply::Item(_) => *place += 1,
                    Reply::End => *ended = true,
                    _ => {}
                }
            }
        }
    }

    fn take(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<Option<Py<ObjectRef>>> {
        self.check()?;
        // An own cursor moves by one at a time; a shared one is moved by the node.
        let _turn = self.position_if_own().map(|_| self.moving.lock_py_attached(py));
        let at = self.position_if_own();
        let reply =
            self.session.ask(py, timeout, |request| Request::Next(request, self.task, at))?;
        self.advance(&reply);
        match reply {
            Reply::Item(id) => Ok(Some(self.session.own(py, id)?)),
            Reply::End => Ok(None),
            Reply::Failed(failure) => Err(Error::Failed(failure).into()),
            other => unreachable!("the node answers a next with {other:?}"),
        }
    }

    fn stop(&self, py: Python<'_>) -> PyErr {
        if self.position_if_own().is_some() {
            return PyStopIteration::new_err((py.None(),));
        }
        // The return value travels in the task's own object; after a failure there is none.
        let value = self.whole_ref(py).and_then(|whole| {
            let client = crate::client::Client::of(&self.session);
            client.get_one(py, whole.bind(py), None)
        });
        match value {
            Ok(value) => PyStopIteration::new_err((value,)),
            Err(_) => PyStopIteration::new_err((py.None(),)),
        }
    }

    fn whole_ref(&self, py: Python<'_>) -> PyResult<Py<ObjectRef>> {
        self.check()?;
        let whole = self.task.whole();
        self.session.hold(Held::Object(whole));
        self.session.own(py, whole)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.session.release(match *self.cursor.lock() {
            Cursor::Shared { .. } => Held::Stream(self.task),
            Cursor::Own { at, .. } => Held::Cursor(self.task, at),
        });
    }
}

#[pymethods]
impl Stream {
    #[new]
    fn new(seed: &Bound<'_, PyAny>) -> PyResult<Self> {
        let parts = seed.cast_exact::<Seed>().ok().and_then(|seed| seed.get().0.lock().take());
        let Some(Parts { session, task, cursor }) = parts else {
            return Err(PyTypeError::new_err(
                "ObjectRefGenerator: generators are made by calling a remote function, not directly",
            ));
        };
        Ok(Self { session, task, cursor: Mutex::new(cursor), moving: std::sync::Mutex::default() })
    }

    const fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Py<ObjectRef>> {
        self.take(py, None)?.ok_or_else(|| self.stop(py))
    }

    #[pyo3(signature = (timeout_s, /))]
    fn next_within(&self, py: Python<'_>, timeout_s: Option<f64>) -> PyResult<Py<ObjectRef>> {
        let timeout = error::timeout("ObjectRefGenerator.next", timeout_s)?;
        self.take(py, timeout)?.ok_or_else(|| self.stop(py))
    }

    fn is_ready(&self, py: Python<'_>) -> PyResult<bool> {
        self.check()?;
        let ready = self.session.wait(py, &[self.waitable()], 1, Some(Duration::ZERO))?;
        Ok(!ready.is_empty() && !self.is_finished(py)?)
    }

    fn is_finished(&self, py: Python<'_>) -> PyResult<bool> {
        self.check()?;
        match self.session.ask(py, None, |request| {
            Request::Progress(request, self.task, self.position_if_own())
        })? {
            Reply::Progress { left, ended } => Ok(ended && left == 0),
            Reply::Failed(failure) => Err(Error::Failed(failure).into()),
            other => unreachable!("the node answers a progress with {other:?}"),
        }
    }

    fn whole(&self, py: Python<'_>) -> PyResult<Py<ObjectRef>> {
        self.whole_ref(py)
    }

    fn size(&self, py: Python<'_>) -> PyResult<u64> {
        self.check()?;
        match self
            .session
            .ask(py, None, |request| Request::Length(request, self.task, self.position_if_own()))?
        {
            Reply::Progress { left, .. } => Ok(left),
            Reply::Failed(failure) => Err(Error::Failed(failure).into()),
            other => unreachable!("the node answers a length with {other:?}"),
        }
    }

    #[getter]
    fn position(&self) -> u64 {
        match *self.cursor.lock() {
            Cursor::Shared { taken: place, .. } | Cursor::Own { at: place, .. } => place,
        }
    }

    fn task_id(&self) -> String {
        hex(&task_bytes(self.session.nonce, self.task))
    }

    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let py = slf.py();
        let this = slf.get();
        this.check()?;
        let Some(at) = this.position_if_own() else {
            return Err(PyTypeError::new_err(
                "You cannot return or pass a generator to other task. Serializing a \
                 ObjectRefGenerator is not allowed.",
            ));
        };
        let held = Held::Cursor(this.task, at);
        if !pack::note_contained(held) {
            // As for refs: a pickle that skate does not see keeps the items for the session.
            this.session.hold(held);
        }
        let rebuild = py.import("skate._native")?.getattr(intern!(py, "rebuild_dynamic"))?;
        Ok((rebuild, (this.session.nonce, this.task.0, at).into_pyobject(py)?))
    }
}
