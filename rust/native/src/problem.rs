//! Errors that nobody fetched, as data.
//!
//! Invariant: a problem owns its bytes: the block that the error lay in may be free by now.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use skate_core::id::TaskId;
use skate_core::value::{Bytes, Payload, Value};
use skate_shm::segment::Span;

use crate::error;
use crate::object_ref::{hex, task_bytes};
use crate::session::Session;
use crate::unpack;

/// The latest that are kept.
const MOST: usize = 10_000;
/// Of these, so many bytes; the last one in any case.
const MOST_BYTES: usize = 64 << 20;

/// One error that nobody fetched.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    task: TaskId,
    task_name: Arc<str>,
    /// Static returns of the task, if all were made before the error.
    returns: Option<u64>,
    /// Without a block.
    error: Value,
    /// Since 1970.
    time_s: f64,
}

impl Problem {
    /// Copies what lies in a block, while it still does.
    pub(crate) fn new(
        task: TaskId,
        task_name: Arc<str>,
        returns: Option<u64>,
        error: &Value,
    ) -> Self {
        let error = match error.origin() {
            Value::Raised(Payload::Block(span)) => {
                let span = Span { offset: span.offset, len: span.len };
                let segment = Session::current().and_then(|session| session.segment().ok());
                let bytes = segment.as_ref().and_then(|segment| segment.bytes(span).ok());
                Value::Raised(Payload::Inline(Bytes::from(bytes.unwrap_or_default())))
            }
            other => other.clone(),
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { task, task_name, returns, error, time_s: since.as_secs_f64() }
    }

    fn len(&self) -> usize {
        self.error.payload().map_or(0, |payload| match payload {
            Payload::Inline(bytes) => bytes.len(),
            Payload::Block(_) | Payload::Spilled(_) => 0,
        })
    }

    /// `(task id, name, returns or None, exception, time)`.
    pub(crate) fn to_python(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let nonce = Session::current().map_or(0, |session| session.nonce);
        let error = match &self.error {
            Value::Raised(payload) => unpack::payload(py, payload, None)
                .unwrap_or_else(|reason| error::unreadable(py, &reason).into_value(py).into_any()),
            Value::Failed(failure) => error::failure(py, failure).into_value(py).into_any(),
            Value::Data(_) | Value::Inherited(_) | Value::Stream(_) => py.None(),
        };
        let task = hex(&task_bytes(nonce, self.task));
        let row = (task, &*self.task_name, self.returns, error, self.time_s);
        Ok(row.into_pyobject(py)?.into_any().unbind())
    }
}

/// The latest of them.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    rows: VecDeque<Problem>,
    bytes: usize,
}

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        self.bytes += problem.len();
        self.rows.push_back(problem);
        while self.rows.len() > MOST || (self.bytes > MOST_BYTES && self.rows.len() > 1) {
            self.bytes -= self.rows.pop_front().map_or(0, |oldest| oldest.len());
        }
    }

    pub(crate) fn list(&self) -> Vec<Problem> {
        self.rows.iter().cloned().collect()
    }
}
