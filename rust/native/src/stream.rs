//! `Stream`: one handle on a generator. The Python classes on top give it Ray's names.
//!
//! A streaming generator has one cursor, kept by the node and shared by all handles. A dynamic one
//! has a cursor of its own in each handle, which holds the items from there on.
//!
//! ```text
//!   next ─▶ there? (driver: one look under the node's lock; worker: sent ahead) ─▶ refs
//!     └─no─▶ ask ─▶ items ─▶ Taken, refs
//!                     └ an exception came first ─▶ Untake: back to the front
//! ```
//!
//! Invariant: `next` that ends by timeout or an exception has taken nothing. Python itself may raise what a
//! signal asked for between its return and whoever wants the item: only `for` is free of that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyo3::exceptions::{PyStopIteration, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use skate_core::action::{Items as Granted, Reply};
use skate_core::ahead::{Ahead, Returned, Taken};
use skate_core::event::{Held, Request, Waitable};
use skate_core::id::{ObjectId, RequestId, TaskId};
use smallvec::SmallVec;

use crate::error::{self, Error, Result};
use crate::modules;
use crate::object_ref::{ObjectRef, hex, task_bytes};
use crate::pack;
use crate::session::{Consumed, Session};
use crate::turn::Turns;

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
    /// Ours, and what the thread asks whose turn it is.
    Own { at: u64, open: Option<RequestId> },
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
    /// Never held while waiting. Threads that share an own cursor take turns.
    cursor: Mutex<Cursor>,
    turns: Turns,
    /// Of a shared cursor.
    ahead: Mutex<Ahead>,
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
    let parts =
        Parts { session: Arc::clone(session), task, cursor: Cursor::Own { at, open: None } };
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
            Cursor::Own { at, .. } => Some(at),
        }
    }

    /// Whether it is of the session that calls use now.
    pub(crate) fn is_current(&self) -> bool {
        self.check().is_ok()
    }

    fn is_shut(&self) -> bool {
        matches!(*self.cursor.lock(), Cursor::Closed { .. })
    }

    /// What was sent ahead goes back, before anything but a `next` is done with this handle.
    pub(crate) fn return_ahead(&self) {
        let returned = self.ahead.lock().disturb();
        self.give_back(returned);
    }

    fn give_back(&self, returned: Option<Returned>) {
        if let Some((request, items)) = returned {
            self.session.send(Request::Untake(request, self.task, None, items));
        }
    }

    /// What `wait` waits for.
    pub(crate) fn waitable(&self) -> Waitable {
        self.return_ahead();
        match *self.cursor.lock() {
            Cursor::Shared { .. } => Waitable::Stream(self.task),
            Cursor::Own { at, .. } => Waitable::Cursor(self.task, at),
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
        if self.shared_task().is_none() {
            return self.take_in_turn(py, timeout, most);
        }
        let found = self.take_shared(py, timeout, most)?;
        if let (Ok(items), Cursor::Shared { taken, .. }) = (&found, &mut *self.cursor.lock()) {
            *taken += items.len() as u64;
        }
        Ok(found)
    }

    fn take_shared(
        &self,
        py: Python<'_>,
        timeout: Option<Duration>,
        most: Option<u32>,
    ) -> PyResult<std::result::Result<Items, Ending>> {
        if let Some(reply) = self.session.transport.take(self.task, None, most) {
            return Ok(found(reply)?.map(|granted| granted.ids));
        }
        let wanted = most.map_or(1, |most| most as usize);
        let here = self.ahead.lock().take_or_ask(wanted);
        if let Some(Taken { request, items, has_window }) = here {
            let (ids, values): (Items, Vec<_>) = items.into_iter().unzip();
            return Ok(Ok(self.hand_over(request, Granted { ids, values, has_window })));
        }
        let request = self.session.next_request();
        let reply = self.ask(py, request, timeout, None, most).and_then(found);
        let granted = reply.as_ref().ok().and_then(|found| found.as_ref().ok());
        let back = self.ahead.lock().answered(request, granted, wanted);
        let mut granted = match reply? {
            Ok(granted) => granted,
            Err(ending) => return Ok(Err(ending)),
        };
        granted.ids.truncate(wanted);
        let ids = self.hand_over(request, granted);
        self.give_back(back);
        Ok(Ok(ids))
    }

    /// Items have reached their caller: the node hears of it, and their values are known here.
    fn hand_over(&self, request: RequestId, granted: Granted) -> Items {
        let Granted { ids, values, has_window } = granted;
        self.session.transport.learn(ids.iter().copied().zip(values).collect());
        // Copied: to find the task that this belongs to may run Python, so no lock is held.
        let is_passed_on = match *self.cursor.lock() {
            Cursor::Shared { is_passed_on, .. } => Some(is_passed_on),
            Cursor::Own { .. } | Cursor::Closed { .. } => None,
        };
        if let Some(is_passed_on) = is_passed_on {
            let count = u32::try_from(ids.len()).expect("a batch is at most a u32");
            let consumed = Consumed { request, stream: self.task, count, is_passed_on, has_window };
            self.session.transport.consume(&self.session, &consumed);
        }
        ids
    }

    fn take_in_turn(
        &self,
        py: Python<'_>,
        timeout: Option<Duration>,
        most: Option<u32>,
    ) -> PyResult<std::result::Result<Items, Ending>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let Some(_turn) = self.turns.wait(py, &self.session, deadline)? else {
            return Err(Error::TimedOut.into());
        };
        let request = self.session.next_request();
        let at = {
            let mut cursor = self.cursor.lock();
            let Cursor::Own { at, open } = &mut *cursor else { return Ok(Err(Ending::Empty)) };
            if let Some(reply) = self.session.transport.take(self.task, Some(*at), most) {
                let found = found(reply)?.map(|granted| granted.ids);
                *at += found.as_ref().map_or(0, |ids| ids.len() as u64);
                return Ok(found);
            }
            *open = Some(request);
            // The node moves the cursor before this thread hears of it: whoever pickles the handle
            // meanwhile, or asks something of it, relies on the place that is left.
            self.session.hold(Held::Cursor(self.task, *at));
            *at
        };
        let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        let answer = self.ask(py, request, left, Some(at), most).and_then(found);
        let found = answer.map(|found| found.map(|granted| granted.ids));
        let moved = found.as_ref().ok().and_then(|found| found.as_ref().ok());
        let moved = at + moved.map_or(0, |ids| ids.len() as u64);
        let left_place = Held::Cursor(self.task, at);
        if let Cursor::Own { at, open } = &mut *self.cursor.lock() {
            (*at, *open) = (moved, None);
            self.session.release_soon(left_place);
            return found;
        }
        self.session.release_soon(left_place);
        // It was closed by another thread, which has left the cursor to this one.
        self.session.release(Held::Cursor(self.task, moved));
        match found {
            Err(error) if error::is_timeout(py, &error) => Ok(Err(Ending::Empty)),
            found => found,
        }
    }

    fn ask(
        &self,
        py: Python<'_>,
        request: RequestId,
        timeout: Option<Duration>,
        at: Option<u64>,
        most: Option<u32>,
    ) -> PyResult<Reply> {
        let message = match most {
            None => Request::Next(request, self.task, at),
            Some(most) => Request::NextBatch(request, self.task, at, most),
        };
        let send = || {
            // Whoever closes it takes this request back, and must find it sent.
            let cursor = self.cursor.lock();
            if matches!(*cursor, Cursor::Closed { .. }) {
                _ = self.session.answers.deliver(request, Reply::End);
            } else {
                self.session.send(message);
            }
        };
        self.session.ask_as(py, request, timeout, send, |reply| {
            if let Reply::Items(items) = reply {
                let items = items.ids.into_vec().into();
                self.session.send(Request::Untake(request, self.task, at, items));
            }
        })
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

/// What an answer to `next` says.
fn found(reply: Reply) -> PyResult<std::result::Result<Granted, Ending>> {
    match reply {
        Reply::Items(granted) => Ok(Ok(granted)),
        Reply::End => Ok(Err(Ending::Empty)),
        Reply::Returned => Ok(Err(Ending::Returned)),
        Reply::Failed(failure) => Err(Error::Failed(failure).into()),
        other => unreachable!("the node answers a next with {other:?}"),
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
        // Without the locks: another thread of the parent may have held them when this child was forked.
        if self.session.check().is_ok() {
            let returned = self.ahead.get_mut().disturb();
            self.give_back(returned);
        }
        self.session.release(match *self.cursor.get_mut() {
            Cursor::Shared { .. } => Held::Stream(self.task),
            Cursor::Own { at, .. } => Held::Cursor(self.task, at),
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
        let cursor = Mutex::new(cursor);
        Ok(Self { session, task, cursor, turns: Turns::default(), ahead: Mutex::default() })
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
    fn shut(&self) -> PyResult<()> {
        self.check()?;
        self.return_ahead();
        let mut cursor = self.cursor.lock();
        match *cursor {
            Cursor::Shared { .. } => {
                drop(cursor);
                self.session.send(Request::Close(self.task));
            }
            Cursor::Own { at, open } => {
                *cursor = Cursor::Closed { at };
                match open {
                    // Who waits lets go of the cursor, wherever it is then.
                    Some(request) => self.session.send(Request::Forget(request)),
                    None => self.session.release(Held::Cursor(self.task, at)),
                }
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
        self.return_ahead();
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
            | Cursor::Own { at: place, .. }
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
            let held = Held::Stream(this.task);
            if this.is_shut() || !pack::note_contained(&this.session, held) {
                return Err(PyTypeError::new_err(
                    "You cannot return or pass a generator to other task. Serializing a \
                     ObjectRefGenerator is not allowed.",
                ));
            }
            // Whoever gets it may read what is here.
            this.return_ahead();
            let rebuild = native.getattr(intern!(py, "rebuild_streaming"))?;
            return Ok((rebuild, (this.session.nonce, this.task.0).into_pyobject(py)?));
        };
        let held = Held::Cursor(this.task, at);
        if !pack::note_contained(&this.session, held) {
            this.session.keep(held);
        }
        let rebuild = native.getattr(intern!(py, "rebuild_dynamic"))?;
        Ok((rebuild, (this.session.nonce, this.task.0, at).into_pyobject(py)?))
    }
}
