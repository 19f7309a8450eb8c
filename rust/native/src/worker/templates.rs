//! The templates that a worker runs: told by the node, unpickled at the first call, dropped when the node
//! says so.
//!
//! Invariant: the node takes back no template of a dispatch that this worker can still claim. What is
//! dropped with one can be user code, so the thread that runs tasks does it, under no lock.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pyo3::intern;
use pyo3::prelude::*;
use rustc_hash::FxHashMap;
use skate_core::event::Template;
use skate_core::id::{FunctionId, TemplateId};
use skate_core::value::Bytes;

use super::Worker;
use crate::modules;
use crate::prepared::Prepared;

/// What a worker knows of what it runs.
#[derive(Default)]
pub(super) struct Templates {
    functions: FxHashMap<FunctionId, Bytes>,
    definitions: FxHashMap<TemplateId, Arc<Template>>,
    prepared: FxHashMap<TemplateId, Arc<Prepared>>,
    /// To be dropped before the next task.
    dropped: Vec<Arc<Prepared>>,
}

impl Templates {
    pub(super) fn learn(&mut self, id: FunctionId, code: Bytes) {
        self.functions.insert(id, code);
    }

    pub(super) fn define(&mut self, id: TemplateId, template: Arc<Template>) {
        self.definitions.insert(id, template);
    }

    pub(super) fn undefine(&mut self, templates: &[TemplateId], functions: &[FunctionId]) {
        for id in templates {
            self.definitions.remove(id);
            self.dropped.extend(self.prepared.remove(id));
        }
        for id in functions {
            self.functions.remove(id);
        }
    }

    pub(super) fn definition(&self, id: TemplateId) -> Option<&Arc<Template>> {
        self.definitions.get(&id)
    }

    pub(super) fn prepared(&self, id: TemplateId) -> Option<&Arc<Prepared>> {
        self.prepared.get(&id)
    }
}

impl Worker {
    /// The function and options of a template, unpickled once.
    pub(crate) fn prepared(&self, py: Python<'_>, id: TemplateId) -> PyResult<Arc<Prepared>> {
        let (known, dropped) = {
            let mut templates = self.templates.lock();
            (templates.prepared(id).cloned(), std::mem::take(&mut templates.dropped))
        };
        drop(dropped);
        let prepared = match known {
            Some(prepared) => prepared,
            None => self.prepare(py, id)?,
        };
        if let Some(captures) = prepared.captures
            && self.captures.load(Ordering::Relaxed) != captures
        {
            self.captures.store(captures, Ordering::Relaxed);
            modules::worker(py)?.call_method1(intern!(py, "capture"), (captures,))?;
        }
        Ok(prepared)
    }

    fn prepare(&self, py: Python<'_>, id: TemplateId) -> PyResult<Arc<Prepared>> {
        let (definition, code) = {
            let templates = self.templates.lock();
            let definition = templates.definition(id).cloned();
            let definition = definition.expect("the node defines a template before its first run");
            let code = templates.functions.get(&definition.function).cloned();
            (definition, code)
        };
        // Unpickling runs user code: no lock is held.
        let prepared =
            Arc::new(Prepared::load(py, &definition, code.as_ref(), self.shares_window())?);
        self.templates.lock().prepared.insert(id, Arc::clone(&prepared));
        Ok(prepared)
    }
}
