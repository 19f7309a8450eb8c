//! `Call`: one call of an actor with an event loop, from its start on the loop to its end.
//!
//! ```text
//!   start ─▶ coroutine ─ awaited in Python ─▶ finish(value) ─┐
//!         ├▶ async generator ─ publish(item) … ─▶ exhausted ─┼▶ Finished
//!         ├▶ anything else: finished at once ────────────────┤
//!         └▶ an exception ───────────────────── fail(error) ─┘
//! ```
//!
//! Invariant: each call ends in exactly one `Finished`; a second end is ignored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use pyo3::prelude::*;
use skate_core::action::Run;
use skate_core::value::{NONE, Payload, Value};

use crate::current::Running;
use crate::execute::{Stop, Success, Task, conclude};
use crate::pack::Packed;
use crate::prepared::{Limits, Prepared};
use crate::session::Session;
use crate::wire::RetryOn;
use crate::worker::{Credit, Worker};

/// One call on the loop.
#[pyclass(frozen, module = "skate._native")]
pub(crate) struct Call {
    worker: Arc<Worker>,
    session: Arc<Session>,
    run: Box<Run>,
    lane: usize,
    running: Arc<Running>,
    began_ns: u64,
    yielded: AtomicU64,
    stored_bytes: AtomicU64,
    /// An item that is not sent yet.
    kept: Mutex<Option<(Why, Packed)>>,
    has_ended: AtomicBool,
}

/// Why an item is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It does not fit beside the unread ones.
    Waiting,
    /// It is the last return of a strict generator, which must end first.
    Last,
}

/// What an async generator does next.
const GO_ON: u8 = 0;
const WAIT: u8 = 1;
const CLOSED: u8 = 2;
const OVER: u8 = 3;

impl Call {
    pub(crate) fn new(
        worker: &Arc<Worker>,
        session: &Arc<Session>,
        run: Box<Run>,
        lane: usize,
    ) -> Self {
        worker.nap(session, |naps, tell| naps.began(run.ticket, lane, tell));
        let stored_bytes = run.skip_bytes;
        Self {
            running: Arc::new(worker.running(&run)),
            worker: Arc::clone(worker),
            session: Arc::clone(session),
            run,
            lane,
            began_ns: crate::monotonic_ns(),
            yielded: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(stored_bytes),
            kept: Mutex::new(None),
            has_ended: AtomicBool::new(false),
        }
    }

    /// Once it has begun.
    fn prepared(&self) -> Option<&Arc<Prepared>> {
        self.running.prepared.get()
    }

    pub(crate) const fn running(&self) -> &Arc<Running> {
        &self.running
    }

    fn task<'a, 'py>(&'a self, py: Python<'py>) -> Task<'a, 'py> {
        let name = Arc::clone(&self.running.name);
        let mut task = Task::new(&self.worker, &self.session, py, &self.run, name);
        task.yielded = self.yielded.load(Ordering::Relaxed);
        task.stored_bytes = self.stored_bytes.load(Ordering::Relaxed);
        task
    }

    /// Reports how it ended.
    fn end<'a, 'py>(
        &'a self,
        py: Python<'py>,
        end: impl FnOnce(&mut Task<'a, 'py>) -> Result<Success<'a>, Stop>,
    ) -> PyResult<()> {
        if self.has_ended.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let mut task = self.task(py);
        let result = end(&mut task);
        let retry = self.prepared().map_or(RetryOn::Nothing, |prepared| prepared.retry.clone());
        self.worker.unpause(self.run.ticket);
        let concluded = conclude(&mut task, result, &retry, self.began_ns);
        self.worker.loop_call_ended(self.lane);
        concluded
    }
}

#[pymethods]
impl Call {
    /// Name of the call.
    #[getter]
    fn name(&self) -> &str {
        &self.running.name
    }

    #[getter]
    fn ticket(&self) -> u64 {
        self.run.ticket.0
    }

    /// Calls the method: what is to be awaited or iterated, or None if it has ended. The caller has made it
    /// the context's, which finding the method belongs to.
    fn start<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let prepared = self.worker.prepared(py, self.run.template, &self.running);
        let begun = prepared.map_err(Stop::from).and_then(|prepared| {
            let result = self.task(py).invoke(&prepared).map_err(Stop::from)?;
            Ok((prepared, result))
        });
        let (prepared, result) = match begun {
            Ok(begun) => begun,
            Err(stop) => {
                self.end(py, |_| Err(stop))?;
                return Ok(None);
            }
        };
        let kind = result.get_type();
        let is_kind = |name| kind.name().is_ok_and(|kind| kind == name);
        if is_kind("coroutine") || is_kind("async_generator") {
            return Ok(Some(result));
        }
        self.end(py, |task| task.settle(&prepared, result))?;
        Ok(None)
    }

    #[pyo3(signature = (value, /))]
    fn finish(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<()> {
        let Some(prepared) = self.prepared() else { return Ok(()) };
        self.end(py, |task| task.settle(prepared, value.into_bound(py)))
    }

    #[pyo3(signature = (error, /))]
    fn fail(&self, py: Python<'_>, error: Bound<'_, PyAny>) -> PyResult<()> {
        let error = PyErr::from_value(error);
        let kind = error.get_type(py).name();
        let is_cancelled = kind.is_ok_and(|name| name == "CancelledError")
            && self.worker.slot(self.run.ticket).is_cancelled(self.run.ticket.0);
        // What a closed generator raises has no reader left.
        let stop = if is_cancelled {
            Stop::Cancelled
        } else if self.task(py).is_closed() {
            Stop::Unhandled(error)
        } else {
            Stop::from(error)
        };
        self.end(py, |_| Err(stop))
    }

    /// Publishes an item of an async generator, or begins to.
    #[pyo3(signature = (item, /))]
    fn publish(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<u8> {
        let Some(prepared) = self.prepared() else { return Ok(OVER) };
        let mut task = self.task(py);
        let limits = prepared.limits;
        if let Some(limit) = limits.items.filter(|limit| task.yielded >= *limit) {
            let stop = task.too_many(limit, limits.is_strict);
            self.end(py, |_| Err(stop))?;
            return Ok(OVER);
        }
        if let Some(packed) = task.packed_item(item.into_bound(py))? {
            if limits.is_strict && limits.items == Some(task.yielded + 1) {
                *self.kept.lock() = Some((Why::Last, packed));
            } else if self.has_room(&task, packed.len() as u64, limits) {
                self.store(&mut task, packed)?;
            } else {
                *self.kept.lock() = Some((Why::Waiting, packed));
                return Ok(WAIT);
            }
        }
        Ok(self.advance(&task))
    }

    /// Whether what a wait waits for is there.
    fn may_go_on(&self) -> bool {
        let Some(prepared) = self.prepared() else { return true };
        let ticket = self.run.ticket;
        match &*self.kept.lock() {
            Some((Why::Waiting, packed)) => {
                let need = packed.len() as u64;
                self.worker.loop_may_go_on(self.lane, ticket, self.room(need, prepared.limits))
            }
            _ => prepared.limits.window.is_none_or(|window| {
                let yielded = self.yielded.load(Ordering::Relaxed);
                let until = (yielded + 1).saturating_sub(u64::from(window));
                self.worker.loop_may_go_on(self.lane, ticket, Credit::Items(until))
            }),
        }
    }

    /// Goes on after a wait: as `publish`.
    fn proceed(&self, py: Python<'_>) -> PyResult<u8> {
        let mut task = self.task(py);
        if let Some(packed) = self.unkeep(Why::Waiting) {
            if !task.is_closed() {
                self.store(&mut task, packed)?;
            }
            return Ok(self.advance(&task));
        }
        Ok(self.state())
    }

    /// An async generator has ended, or was closed.
    fn exhausted(&self, py: Python<'_>) -> PyResult<()> {
        let Some(prepared) = self.prepared() else { return Ok(()) };
        let last = self.unkeep(Why::Last);
        self.end(py, |task| {
            if let Some(packed) = last {
                let placed = task.place_packed(packed)?;
                task.send_item(task.yielded - 1, placed);
            }
            let count = prepared.limits.items.unwrap_or_default();
            if task.yielded < count && task.yielded >= self.run.skip {
                return Err(task.wrong_count(task.yielded, count).into());
            }
            let none = Value::Data(Payload::Inline(NONE.into()));
            Ok(Success::Exhausted(none, Box::default(), self.session.owed()))
        })
    }
}

impl Call {
    /// How much room an item needs beside the unread ones.
    fn room(&self, need: u64, limits: Limits) -> Credit {
        let stored = self.stored_bytes.load(Ordering::Relaxed);
        Credit::Bytes { stored, need, limit: limits.window_bytes.unwrap_or(u64::MAX) }
    }

    fn has_room(&self, task: &Task<'_, '_>, need: u64, limits: Limits) -> bool {
        task.is_closed() || self.worker.may_go_on(self.run.ticket, self.room(need, limits))
    }

    fn store<'a>(&'a self, task: &mut Task<'a, '_>, packed: Packed) -> PyResult<()> {
        let placed = task.place_packed(packed)?;
        task.send_item(task.yielded, placed);
        self.stored_bytes.store(task.stored_bytes, Ordering::Relaxed);
        Ok(())
    }

    /// One item more: what the generator does next.
    fn advance(&self, task: &Task<'_, '_>) -> u8 {
        self.yielded.store(task.yielded + 1, Ordering::Relaxed);
        self.state()
    }

    fn state(&self) -> u8 {
        if self.worker.slot(self.run.ticket).is_stream_closed(self.run.ticket.0) {
            CLOSED
        } else if self.may_go_on() {
            GO_ON
        } else {
            WAIT
        }
    }

    /// The item that was kept, if that is why.
    fn unkeep(&self, why: Why) -> Option<Packed> {
        self.kept.lock().take_if(|kept| kept.0 == why).map(|(_, packed)| packed)
    }
}
