//! Kill points for Python, in a build that has them: the zygote's own steps are there.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use skate_shm::killpoint::{self, Point};

/// The calling process has come to the point of that name.
#[pyfunction]
#[pyo3(signature = (name, /))]
fn reached(name: &str) -> PyResult<()> {
    let point = Point::ALL.iter().find(|point| point.name() == name);
    let point = point.ok_or_else(|| PyValueError::new_err(format!("no kill point {name:?}")))?;
    killpoint::reached(*point);
    Ok(())
}

/// Names all of them, too.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let names: Vec<&str> = Point::ALL.iter().map(|point| point.name()).collect();
    module.add("KILL_POINTS", names)?;
    module.add_function(wrap_pyfunction!(reached, module)?)
}
