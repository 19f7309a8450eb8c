//! `Serving`: what an actor's process does after its constructor, seen from Python.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::Arc;

use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;

use crate::call::Call;
use crate::current::Current;
use crate::lanes::Lanes;
use crate::session::Session;
use crate::wire::Serves;
use crate::worker::Worker;

/// The calls of an actor that runs several at once.
#[pyclass(frozen, module = "skate._native")]
pub(crate) struct Serving {
    pub(crate) worker: Arc<Worker>,
    pub(crate) session: Arc<Session>,
    pub(crate) lanes: Arc<Lanes>,
}

#[pymethods]
impl Serving {
    #[getter]
    fn is_loop(&self) -> bool {
        self.lanes.serves() == Serves::Loop
    }

    #[getter]
    fn lanes(&self) -> usize {
        self.lanes.len()
    }

    #[pyo3(signature = (lane, spawn, /))]
    fn serve(&self, py: Python<'_>, lane: usize, spawn: &Bound<'_, PyAny>) -> PyResult<()> {
        Current::own_thread();
        let ended = self.worker.serve(&self.session, py, &self.lanes, lane, spawn);
        // The call that an exception ended.
        self.worker.current.set(None);
        ended
    }

    fn wait(&self, py: Python<'_>) -> PyResult<u8> {
        self.worker.wait_until_leaving(py)
    }

    /// The first who says so decides on the exit code.
    #[pyo3(signature = (exit_code, /))]
    fn leave(&self, exit_code: u8) {
        if !self.worker.is_leaving() {
            self.worker.leave(exit_code);
        }
    }

    /// The calling thread runs the loop of a lane from now on. The descriptor that is readable when
    /// there is something for it to do.
    #[pyo3(signature = (lane, variable, /))]
    fn use_loop(&self, py: Python<'_>, lane: usize, variable: Py<PyAny>) -> PyResult<i32> {
        let event = self.lanes.event(lane).ok_or_else(|| PyIndexError::new_err(lane))?;
        self.worker.current.use_variable(py, variable);
        Current::run_loop(lane);
        self.session.listen();
        Ok(event.as_fd().as_raw_fd())
    }

    /// Calls to start now in a lane, running calls to cancel (by ticket), and whether to leave.
    #[pyo3(signature = (lane, /))]
    fn take(&self, py: Python<'_>, lane: usize) -> PyResult<(Vec<Py<Call>>, Vec<u64>, bool)> {
        self.lanes.loop_looks(lane);
        let mut calls = Vec::new();
        while let Some(run) = self.lanes.next_for_loop(lane) {
            // The constructor was claimed before the loop began.
            let is_claimed = self.worker.actor().is_some_and(|actor| actor.0 == run.task);
            if !is_claimed && !self.worker.slot(run.ticket).claim(run.ticket.0) {
                self.lanes.ended(lane);
                continue;
            }
            calls.push(Py::new(py, Call::new(&self.worker, &self.session, run, lane))?);
        }
        let cancelled =
            self.lanes.take_cancelled(lane).into_iter().map(|ticket| ticket.0).collect();
        Ok((calls, cancelled, self.worker.is_leaving()))
    }
}
