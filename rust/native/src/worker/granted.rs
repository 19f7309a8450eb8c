//! What a task was granted, as the libraries that it uses see it: Python is told before anything of the task is
//! unpickled, and only of changes.

use std::sync::atomic::Ordering;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;
use skate_core::event::Template;
use skate_core::group::is_cpu;

use super::{Worker, outlive};
use crate::modules;

/// Units of a resource in one.
const UNITS: u64 = 10_000;

impl Worker {
    /// Tells Python, once, of the GPUs that this process may use.
    pub(super) fn use_devices(&self, py: Python<'_>, devices: &[u32]) -> PyResult<()> {
        if !devices.is_empty() && !self.has_devices.swap(true, Ordering::AcqRel) {
            let devices = PyList::new(py, devices)?;
            let told = modules::worker(py)?.call_method1(intern!(py, "use_devices"), (devices,));
            outlive(py, told.map(drop))?;
        }
        Ok(())
    }

    /// Tells Python how many CPUs the next task has, at least 1, if the last one had more or less.
    pub(super) fn use_cpus(&self, py: Python<'_>, template: &Template) -> PyResult<()> {
        // In a group it asks for as much of the bundle as of the group.
        let units = template.resources.iter().filter(|(name, _)| is_cpu(name)).map(|row| row.1);
        let cpus = u32::try_from(units.max().unwrap_or(0) / UNITS).unwrap_or(u32::MAX).max(1);
        if self.cpus_of_task.load(Ordering::Relaxed) != cpus {
            self.cpus_of_task.store(cpus, Ordering::Relaxed);
            let told = modules::worker(py)?.call_method1(intern!(py, "use_cpus"), (cpus,));
            outlive(py, told.map(drop))?;
        }
        Ok(())
    }
}
