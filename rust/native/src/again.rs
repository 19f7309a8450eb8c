//! What cannot be interrupted where it is, is interrupted once it has been left.
//!
//! ```text
//!   C code of Python ─▶ this ─▶ a function of Python: "again" ─▶ SIGINT is noted ─▶ back in C code
//!                                                      the handler, at the next look for signals ◀─┘
//! ```
//!
//! Python looks for signals after each call that its own code makes, so a handler that notes one itself
//! is called again before it has returned. Whom C code calls, as handlers and hooks are, has returned by
//! the next look.
//!
//! Invariant: the signal is noted when no more Python code of the callee will run.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyCFunction;

/// A function that does what `inner` does, and notes SIGINT as it leaves if that returned True. It is
/// made twice in a process and lives as long, so the collector need not know what it holds.
#[pyfunction]
#[pyo3(signature = (inner, /))]
pub(crate) fn and_again(py: Python<'_>, inner: Py<PyAny>) -> PyResult<Bound<'_, PyCFunction>> {
    let note = py.import("_thread")?.getattr(intern!(py, "interrupt_main"))?.unbind();
    PyCFunction::new_closure(py, None, None, move |args, _| -> PyResult<()> {
        let py = args.py();
        if inner.bind(py).call1(args)?.is_truthy()? {
            note.call0(py)?;
        }
        Ok(())
    })
}
