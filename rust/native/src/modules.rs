//! What the Rust side needs of Python, looked up once.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyModule, PyType};

static SERIALIZATION: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
static EXCEPTIONS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
static WORKER: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
static ACTOR: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
static STACKS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
static IDS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
static ASYNC: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
static NDARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static GENERATORS: PyOnceLock<(Py<PyType>, Py<PyType>)> = PyOnceLock::new();

fn import<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<PyModule>>,
    name: &str,
) -> PyResult<&'py Bound<'py, PyModule>> {
    Ok(cell.get_or_try_init(py, || py.import(name).map(Bound::unbind))?.bind(py))
}

pub(crate) fn serialization(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    import(py, &SERIALIZATION, "skate._serialization")
}

pub(crate) fn exceptions(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    import(py, &EXCEPTIONS, "skate.exceptions")
}

pub(crate) fn worker(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    import(py, &WORKER, "skate._worker")
}

/// What a process needs to be an actor's.
pub(crate) fn actor_worker(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    import(py, &ACTOR, "skate._actor_worker")
}

pub(crate) fn stacks(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    import(py, &STACKS, "skate._stacks")
}

/// The classes of ids.
pub(crate) fn ids(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    import(py, &IDS, "skate._ids")
}

pub(crate) fn asynchronous(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    import(py, &ASYNC, "skate._async")
}

/// `numpy.ndarray`, if the user has imported numpy.
pub(crate) fn ndarray(py: Python<'_>) -> PyResult<Option<&Bound<'_, PyAny>>> {
    if let Some(ndarray) = NDARRAY.get(py) {
        return Ok(Some(ndarray.bind(py)));
    }
    let modules = py.import("sys")?.getattr(intern!(py, "modules"))?;
    if !modules.contains(intern!(py, "numpy"))? {
        return Ok(None);
    }
    // Half imported, it may lack its names: then it is not needed yet either.
    let numpy = modules.get_item(intern!(py, "numpy"))?;
    let Ok(ndarray) = numpy.getattr(intern!(py, "ndarray")) else { return Ok(None) };
    Ok(Some(NDARRAY.get_or_init(py, || ndarray.unbind()).bind(py)))
}

/// `numpy.ndarray`, importing numpy for a value that needs it.
pub(crate) fn import_ndarray(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    py.import("numpy")?;
    Ok(ndarray(py)?.expect("numpy has just been imported"))
}

pub(crate) fn bind_generators(py: Python<'_>, streaming: Py<PyType>, dynamic: Py<PyType>) {
    // A second call names the same classes: the module is imported once.
    let _ = GENERATORS.set(py, (streaming, dynamic));
}

/// The classes for streaming and dynamic generators.
pub(crate) fn generators(py: Python<'_>) -> PyResult<&(Py<PyType>, Py<PyType>)> {
    if GENERATORS.get(py).is_none() {
        py.import("skate._generator")?;
    }
    Ok(GENERATORS.get(py).expect("skate._generator binds its classes when it is imported"))
}
