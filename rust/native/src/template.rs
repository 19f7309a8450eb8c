//! `Template`: a function with its options, and the hot path of a call.
//!
//! ```text
//!   submit ─▶ pack arguments ─▶ small: in the message │ large: sealed into the store, by reference
//!          ─▶ Request::Submit ─▶ refs or a generator, whose ids were made here
//! ```

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use skate_core::event::{Args, Held, Request, Returns, Submit};
use skate_core::id::TemplateId;
use skate_core::value::{Payload, Value};

use crate::pack;
use crate::session::Session;
use crate::stream;

/// A function with its options, registered with the node once.
#[pyclass(frozen, module = "skate._native")]
pub(crate) struct Template {
    pub(crate) session: Arc<Session>,
    pub(crate) id: TemplateId,
    pub(crate) name: Arc<str>,
    pub(crate) returns: Returns,
}

#[pymethods]
impl Template {
    #[pyo3(signature = (args, kwargs, name=None, /))]
    fn submit(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: &Bound<'_, PyDict>,
        name: Option<&str>,
    ) -> PyResult<Py<PyAny>> {
        let session = &self.session;
        session.check()?;
        let function = name.unwrap_or(&self.name);
        let call = pack::args(args, kwargs, |error, argument| {
            if !error.is_instance_of::<PyTypeError>(py) {
                return error;
            }
            let text = format!(
                "Could not serialize the argument {argument} of {function}: {}",
                error.value(py)
            );
            let explained = PyTypeError::new_err(text);
            explained.set_cause(py, Some(error));
            explained
        })?;
        let task = session.next_task();
        let mut owed = session.owed();
        let payload = session.place(py, &call.packed, &mut owed)?;
        let holds = call.packed.holds.into_boxed_slice();
        let (args, holds, stored) = match payload {
            Payload::Inline(bytes) => (Args::Inline(bytes), holds, None),
            Payload::Block(_) => {
                let stored = session.next_task().item(0);
                session.send(Request::Put(stored, Value::Data(payload), holds));
                (Args::Stored(stored), Box::default(), Some(stored))
            }
        };
        session.send(Request::Submit(Submit {
            task,
            template: self.id,
            parent: session.current_task(),
            name: name.map(Arc::from),
            args,
            waits: call.waits.into(),
            holds,
        }));
        if let Some(stored) = stored {
            // From here on the task keeps it.
            session.release(Held::Object(stored));
        }
        drop(owed);
        Ok(match self.returns {
            Returns::Static(0) => py.None(),
            Returns::Static(1) => session.own(py, task.item(0))?.into_any(),
            Returns::Static(count) => {
                let refs = (0..u64::from(count)).map(|index| session.own(py, task.item(index)));
                PyList::new(py, refs.collect::<PyResult<Vec<_>>>()?)?.into_any().unbind()
            }
            Returns::Dynamic => session.own(py, task.whole())?.into_any(),
            Returns::Streaming => stream::streaming(py, session, task)?.unbind(),
        })
    }
}
