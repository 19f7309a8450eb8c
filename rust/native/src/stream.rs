//! `Stream`: one handle on a generator. The Python classes on top give it Ray's names.
//!
//! A streaming generator has one cursor, kept by the node and shared by all handles. A dynamic one
//! has a cursor of its own in each handle, which holds the items from there on.
//!
//! ```text
//!   next ─▶ there? (driver: one look under the node's lock) ─▶ refs
//!     └─no─▶ ask ─▶ items ─▶ Consumed, refs
//!                     └ an exception came first ─▶ Untake: back to the front
//! ```
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
use skate_core::id::{ObjectId, TaskId};
use smallvec::SmallVec;

use crate::error::{self, Error, Result};
use crate::modules;
use crate::object_ref::{ObjectRef, hex, task_bytes};
use crate::pack;
use crate::session::{Consumed, Session};

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
    /// The node's; here only how many came through this handle, and whether it came from elsewhere.
    Shared { taken: u64, is_passed_on: bool },
    /// Ours.
    Own { at: u64 },
    /// Was ours until this handle was closed.
    Closed { at: u64 },
}

/// What `next` found.
type Items = SmallVec<[ObjectId; 1]>;

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
    let cursor = Cursor::Shared { taken: 0, is_passed_on: false };
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
    let parts = Parts { session: Arc::clone(session), task, cursor: Cursor::Own { at } };
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

/// The generator for a stream that came with a value; the value keeps it alive until `hold` is out.
pub(crate) fn passed_on<'py>(
    py: Python<'py>,
    session: &Arc<Session>,
    task: TaskId,
) -> PyResult<Bound<'py, PyAny>> {
    session.hold(Held::Stream(task));
    let cursor = Cursor::Shared { taken: 0, is_passed_on: true };
    let parts = Parts { session: Arc::clone(session), task, cursor };
    make(py, &modules::generators(py)?.0, parts)
}

/// The streaming generator that `Stream.__reduce__` wrote.
#[pyfunction]
pub(crate) fn rebuild_streaming(py: Python<'_>, nonce: u64, task: u64) -> PyResult<Py<PyAny>> {
    let session = Session::require()?;
    if session.nonce != nonce {
        return Err(Error::Stale("the generator".into()).into());
    }
    Ok(passed_on(py, &session, TaskId(task))?.unbind())
}

impl Stream {
    /// The task of a stream whose cursor is shared.
    pub(crate) fn shared_task(&self) -> Option<TaskId> {
        matches!(*self.cursor.lock(), Cursor::Shared { .. }).then_some(self.task)
    }

    fn position_if_own(&self) -> Option<u64> {
        match *self.cursor.lock() {
            Cursor::Shared { .. } | Cursor::Closed { .. } => None,
            Cursor::Own { at } => Some(at),
        }
    }

    /// Whether it is of the session that calls use now.
    pub(crate) fn is_current(&self) -> bool {
        self.check().is_ok()
    }

    fn is_shut(&self) -> bool {
        matches!(*self.cursor.lock(), Cursor::Closed { .. })
    }

    /// What `wait` waits for.
    pub(crate) fn waitable(&self) -> Waitable {
        match *self.cursor.lock() {
            Cursor::Shared { .. } => Waitable::Stream(self.task),
            Cursor::Own { at } => Waitable::Cursor(self.task, at),
            // A stream that is not there has ended.
            Cursor::Closed { .. } => Waitable::Stream(TaskId(0)),
        }
    }

    pub(crate) const fn task(&self) -> TaskId {
        self.task
    }

    fn check(&self) -> Result<()> {
        self.session.check()
    }

    fn advance(&self, count: u64) {
        match &mut *self.cursor.lock() {
            Cursor::Shared { taken: place, .. } | Cursor::Own { at: place } => *place += count,
            Cursor::Closed { .. } => {}
        }
    }

    /// One item (`most` is None) or up to `most`. `Err` within is the end, with whether a return
    /// value is to be had.
    fn take(
        &self,
        py: Python<'_>,
        timeout: Option<Duration>,
        most: Option<u32>,
    ) -> PyResult<std::result::Result<Items, Ending>> {
        self.check()?;
        // An own cursor moves by itself, one reader at a time; a shared one is moved by the node.
        let _turn = self.position_if_own().map(|_| self.moving.lock_py_attached(py));
        if self.is_shut() {
            return Ok(Err(Ending::Empty));
        }
        let at = self.position_if_own();
        let reply = match self.session.transport.take(self.task, at, most) {
            Some(reply) => reply,
            None => self.ask(py, timeout, at, most)?,
        };
        let items = match reply {
            Reply::Item(item) => SmallVec::from_buf([item]),
            Reply::Items(items) => SmallVec::from_vec(items),
            Reply::End => return Ok(Err(Ending::Empty)),
            Reply::Returned => return Ok(Err(Ending::Returned)),
            Reply::Failed(failure) => return Err(Error::Failed(failure).into()),
            other => unreachable!("the node answers a next with {other:?}"),
        };
        self.advance(items.len() as u64);
        Ok(Ok(items))
    }

    fn ask(
        &self,
        py: Python<'_>,
        timeout: Option<Duration>,
        at: Option<u64>,
        most: Option<u32>,
    ) -> PyResult<Reply> {
        let request = self.session.next_request();
        let message = match most {
            None => Request::Next(request, self.task, at),
            Some(most) => Request::NextBatch(request, self.task, at, most),
        };
        let reply = self.session.ask_as(py, request, timeout, message, |reply| {
            let items: Box<[ObjectId]> = match reply {
                Reply::Item(item) => [item].into(),
                Reply::Items(items) => items.into(),
                _ => return,
            };
            self.session.send(Request::Untake(request, self.task, at, items));
        })?;
        let count = match &reply {
            Reply::Item(_) => 1,
            Reply::Items(items) => items.len() as u64,
            _ => 0,
        };
        let is_passed_on = match *self.cursor.lock() {
            Cursor::Shared { is_passed_on, .. } => Some(is_passed_on),
            Cursor::Own { .. } | Cursor::Closed { .. } => None,
        };
        if let Some(is_passed_on) = is_passed_on.filter(|_| count > 0) {
            let consumed = Consumed { request, stream: self.task, count, is_passed_on };
            self.session.transport.consume(&self.session, &consumed);
        }
        Ok(reply)
    }

    fn next_ref(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<Py<ObjectRef>> {
        match self.take(py, timeout, None)? {
            Ok(items) => self.session.own(py, items[0]),
            Err(ending) => Err(self.stop(py, &ending)),
        }
    }

    fn stop(&self, py: Python<'_>, ending: &Ending) -> PyErr {
        let value = match ending {
            Ending::Empty => Ok(py.None()),
            // It travels in the task's own object. What comes in the way, such as Ctrl-C, is raised:
            // the end is still there for the next `next`.
            Ending::Returned => self.whole_ref(py).and_then(|whole| {
                let client = crate::client::Client::of(&self.session);
                client.get_one(py, whole.bind(py), None)
            }),
        };
        value.map_or_else(|error| error, |value| PyStopIteration::new_err((value,)))
    }

    fn whole_ref(&self, py: Python<'_>) -> PyResult<Py<ObjectRef>> {
        self.check()?;
        let whole = self.task.whole();
        self.session.hold(Held::Object(whole));
        self.session.own(py, whole)
    }
}

/// How a generator has ended.
enum Ending {
    /// With None, an error, or by being closed.
    Empty,
    /// With a value.
    Returned,
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Without the lock: another thread of the parent may have held it when this child was forked.
        self.session.release(match *self.cursor.get_mut() {
            Cursor::Shared { .. } => Held::Stream(self.task),
            Cursor::Own { at } => Held::Cursor(self.task, at),
            Cursor::Closed { .. } => return,
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
        self.next_ref(py, None)
    }

    #[pyo3(signature = (timeout_s, /))]
    fn next_within(&self, py: Python<'_>, timeout_s: Option<f64>) -> PyResult<Py<ObjectRef>> {
        let timeout = error::timeout("ObjectRefGenerator.next", timeout_s)?;
        self.next_ref(py, timeout)
    }

    #[pyo3(signature = (most, timeout_s, /))]
    fn batch_within(
        &self,
        py: Python<'_>,
        most: u32,
        timeout_s: Option<f64>,
    ) -> PyResult<Vec<Py<ObjectRef>>> {
        let timeout = error::timeout("ObjectRefGenerator.next_batch", timeout_s)?;
        match self.take(py, timeout, Some(most))? {
            Ok(items) => items.into_iter().map(|item| self.session.own(py, item)).collect(),
            Err(ending) => Err(self.stop(py, &ending)),
        }
    }

    /// Ends the stream for all who hold it; of a dynamic generator, this handle.
    fn shut(&self, py: Python<'_>) -> PyResult<()> {
        self.check()?;
        let _turn = self.position_if_own().map(|_| self.moving.lock_py_attached(py));
        let mut cursor = self.cursor.lock();
        match *cursor {
            Cursor::Shared { .. } => {
                drop(cursor);
                self.session.send(Request::Close(self.task));
            }
            Cursor::Own { at } => {
                *cursor = Cursor::Closed { at };
                drop(cursor);
                self.session.release(Held::Cursor(self.task, at));
            }
            Cursor::Closed { .. } => {}
        }
        Ok(())
    }

    fn is_ready(&self, py: Python<'_>) -> PyResult<bool> {
        self.check()?;
        let ready = self.session.wait(py, &[self.waitable()], 1, Some(Duration::ZERO))?;
        Ok(!ready.is_empty() && !self.is_finished(py)?)
    }

    fn is_finished(&self, py: Python<'_>) -> PyResult<bool> {
        self.check()?;
        if self.is_shut() {
            return Ok(true);
        }
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
        if self.is_shut() {
            return Ok(0);
        }
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
            Cursor::Shared { taken: place, .. }
            | Cursor::Own { at: place }
            | Cursor::Closed { at: place } => place,
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
        let native = py.import("skate._native")?;
        let Some(at) = this.position_if_own() else {
            // Only skate sees to it that somebody holds the stream until it arrives.
            if this.is_shut() || !pack::note_contained(Held::Stream(this.task)) {
                return Err(PyTypeError::new_err(
                    "You cannot return or pass a generator to other task. Serializing a \
                     ObjectRefGenerator is not allowed.",
                ));
            }
            let rebuild = native.getattr(intern!(py, "rebuild_streaming"))?;
            return Ok((rebuild, (this.session.nonce, this.task.0).into_pyobject(py)?));
        };
        let held = Held::Cursor(this.task, at);
        if !pack::note_contained(held) {
            // As for refs: a pickle that skate does not see keeps the items for the session.
            this.session.hold(held);
        }
        let rebuild = native.getattr(intern!(py, "rebuild_dynamic"))?;
        Ok((rebuild, (this.session.nonce, this.task.0, at).into_pyobject(py)?))
    }
}
