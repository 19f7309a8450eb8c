//! The templates that a worker runs: told by the node, unpickled at the first call, dropped when the node
//! says so.
//!
//! Invariant: the node takes back no template of a dispatch that this worker can still claim. What is
//! dropped with one can have destructors, which are user code: a thread that runs tasks does it, under no
//! lock. They belong to its next task, which bears what they do.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pyo3::intern;
use pyo3::prelude::*;
use rustc_hash::FxHashMap;
use skate_core::event::Template;
use skate_core::id::{FunctionId, TemplateId};
use skate_core::value::Bytes;
use skate_shm::thread::trim_heap;

use super::Worker;
use crate::current::Running;
use crate::modules;
use crate::prepared::Prepared;

/// What a worker knows of what it runs.
#[derive(Default)]
pub(super) struct Templates {
    functions: FxHashMap<FunctionId, Bytes>,
    definitions: FxHashMap<TemplateId, Arc<Template>>,
    prepared: FxHashMap<TemplateId, Arc<Prepared>>,
    dropped: Dropped,
}

/// What is to be dropped before the next task.
#[derive(Default)]
struct Dropped {
    prepared: Vec<Arc<Prepared>>,
    /// Bytes of code of the functions that went, too.
    code: usize,
}

/// Nobody knows what Python was told of `captures`.
const UNTOLD: u8 = 2;

/// So much code is worth it to give memory back to the kernel: what was unpickled is as much.
const WORTH_TRIMMING: usize = 1 << 20;

impl Dropped {
    fn let_go(self, py: Python<'_>) {
        drop(self.prepared);
        if self.code >= WORTH_TRIMMING {
            py.detach(trim_heap);
        }
    }
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
            self.dropped.prepared.extend(self.prepared.remove(id));
        }
        for id in functions {
            self.dropped.code += self.functions.remove(id).map_or(0, |code| code.len());
        }
    }

    fn take_dropped(&mut self) -> Option<Dropped> {
        let is_any = !self.dropped.prepared.is_empty() || self.dropped.code > 0;
        is_any.then(|| std::mem::take(&mut self.dropped))
    }

    pub(super) fn definition(&self, id: TemplateId) -> Option<&Arc<Template>> {
        self.definitions.get(&id)
    }

    /// Of a template that is known.
    pub(super) fn name_of(&self, id: TemplateId) -> Arc<str> {
        let definition = self.definition(id);
        Arc::clone(&definition.expect("the node defines a template before its first run").name)
    }

    pub(super) fn prepared(&self, id: TemplateId) -> Option<&Arc<Prepared>> {
        self.prepared.get(&id)
    }
}

impl Worker {
    /// The function and options of a template, unpickled once: for a task that has begun.
    pub(crate) fn prepared(
        &self,
        py: Python<'_>,
        id: TemplateId,
        running: &Running,
    ) -> PyResult<Arc<Prepared>> {
        let (known, dropped) = {
            let mut templates = self.templates.lock();
            (templates.prepared(id).cloned(), templates.take_dropped())
        };
        if let Some(dropped) = dropped {
            dropped.let_go(py);
        }
        let prepared = match known {
            Some(prepared) => prepared,
            None => self.prepare(py, id)?,
        };
        let _ = running.prepared.set(Arc::clone(&prepared));
        if let Some(captures) = prepared.captures
            && self.captures.load(Ordering::Relaxed) != u8::from(captures)
        {
            // A cancel can end the call before Python has heard, or after.
            self.captures.store(UNTOLD, Ordering::Relaxed);
            modules::worker(py)?.call_method1(intern!(py, "capture"), (captures,))?;
            self.captures.store(captures.into(), Ordering::Relaxed);
        }
        Ok(prepared)
    }

    /// Lets go of whatever was unpickled: this process has run its last task. An actor's methods hold its
    /// instance.
    pub(crate) fn let_go(&self, py: Python<'_>) {
        self.current.set(None);
        let (prepared, dropped) = {
            let mut templates = self.templates.lock();
            (std::mem::take(&mut templates.prepared), templates.take_dropped())
        };
        drop(prepared);
        if let Some(dropped) = dropped {
            dropped.let_go(py);
        }
    }

    fn prepare(&self, py: Python<'_>, id: TemplateId) -> PyResult<Arc<Prepared>> {
        let (definition, code) = {
            let templates = self.templates.lock();
            let definition = templates.definition(id).cloned();
            let definition = definition.expect("its task has begun");
            let code = templates.functions.get(&definition.function).cloned();
            (definition, code)
        };
        // Unpickling runs user code: no lock is held.
        let prepared =
            Arc::new(Prepared::load(py, &definition, code.as_ref(), self.shares_window())?);
        // Another thread may have been as quick: what it made is not dropped under the lock.
        let other = self.templates.lock().prepared.insert(id, Arc::clone(&prepared));
        drop(other);
        Ok(prepared)
    }
}
