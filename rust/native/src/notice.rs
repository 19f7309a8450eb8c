//! What people should see: lines of workers, errors that no ref carries, tasks that cannot start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;

use crate::problem::Problem;

/// One thing that people should see.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A line that a worker wrote.
    Line { is_stderr: bool, pid: u32, label: Arc<str>, text: String },
    /// Lines that a worker wrote and nobody took in time; counted until this is shown.
    Dropped { is_stderr: bool, pid: u32, label: Arc<str>, count: Arc<AtomicU64> },
    /// An error that nobody fetched.
    Unhandled(Problem),
    /// A task that asks for more than there is: resource, asked, there (in 1/10000).
    Infeasible { task_name: Arc<str>, missing: Vec<(Arc<str>, u64, u64)> },
    /// The store is full, and nothing can be spilled.
    CannotSpill(Arc<str>),
}

impl Notice {
    /// The token under which it is posted.
    pub(crate) const fn kind(&self) -> u64 {
        match self {
            Self::Line { .. } | Self::Dropped { .. } => 0,
            Self::Unhandled(_) => 1,
            Self::Infeasible { .. } => 2,
            Self::CannotSpill(_) => 3,
        }
    }

    pub(crate) fn to_python(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(match self {
            Self::Line { is_stderr, pid, label, text } => {
                (*is_stderr, *pid, &**label, text).into_pyobject(py)?.into_any().unbind()
            }
            Self::Dropped { is_stderr, pid, label, count } => {
                let text = format!("[{} lines were dropped]", count.swap(0, Ordering::AcqRel));
                (*is_stderr, *pid, &**label, text).into_pyobject(py)?.into_any().unbind()
            }
            Self::Unhandled(problem) => problem.to_python(py)?,
            Self::CannotSpill(why) => (&**why,).into_pyobject(py)?.into_any().unbind(),
            Self::Infeasible { task_name, missing } => {
                let missing: Vec<_> = missing
                    .iter()
                    .map(|(name, asked, there)| {
                        (name.to_string(), *asked as f64 / 1e4, *there as f64 / 1e4)
                    })
                    .collect();
                (&**task_name, missing).into_pyobject(py)?.into_any().unbind()
            }
        })
    }
}
