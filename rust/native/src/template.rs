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
use skate_core::event::{Args, Held, Request, Returns, Submit, Within};
use skate_core::id::{ActorId, ObjectId, TaskId, TemplateId};
use skate_core::value::{Payload, Value};

use crate::pack;
use crate::placing::Owed;
use crate::session::Session;
use crate::stream;

/// A function with its options, registered with the node once.
#[pyclass(frozen, module = "skate._native")]
pub(crate) struct Template {
    pub(crate) session: Arc<Session>,
    /// While it is held, the node knows it.
    pub(crate) id: Arc<TemplateId>,
    pub(crate) name: Arc<str>,
    pub(crate) returns: Returns,
}

impl Template {
    /// Calls it: a function, or a method of that actor.
    pub(crate) fn submit_to(
        &self,
        py: Python<'_>,
        actor: Option<ActorId>,
        args: &Bound<'_, PyTuple>,
        kwargs: &Bound<'_, PyDict>,
        name: Option<&str>,
    ) -> PyResult<Py<PyAny>> {
        let session = &self.session;
        session.check()?;
        let task = if actor.is_some() { session.next_call() } else { session.next_task() };
        let called = name.unwrap_or(&self.name);
        let (mut submit, owed, stored) =
            pack_call(py, session, task, *self.id, called, args, kwargs)?;
        submit.actor = actor;
        submit.name = name.map(Arc::from);
        session.send(Request::Submit(submit));
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

/// A submission of a task with packed arguments; what to give back when it has been sent; and the
/// object of the arguments, if they went to the store: this client has a handle on it.
pub(crate) fn pack_call<'a>(
    py: Python<'_>,
    session: &'a Arc<Session>,
    task: TaskId,
    template: TemplateId,
    name: &str,
    args: &Bound<'_, PyTuple>,
    kwargs: &Bound<'_, PyDict>,
) -> PyResult<(Submit, Owed<'a>, Option<ObjectId>)> {
    let call = pack::args(args, kwargs, |error, argument| {
        if !error.is_instance_of::<PyTypeError>(py) {
            return error;
        }
        let text =
            format!("Could not serialize the argument {argument} of {name}: {}", error.value(py));
        let explained = PyTypeError::new_err(text);
        explained.set_cause(py, error.cause(py));
        explained
    })?;
    let mut owed = session.owed();
    let payload = session.place(py, &call.packed, &mut owed, Within::MemoryOrDisk)?;
    let holds = owed.take_over(call.packed.kept);
    let (args, holds, stored) = match payload {
        Payload::Inline(bytes) => (Args::Inline(bytes), holds, None),
        Payload::Block(_) | Payload::Spilled(_) => {
            let stored = session.next_task().item(0);
            session.send(Request::Put(stored, Value::Data(payload), holds));
            (Args::Stored(stored), Box::default(), Some(stored))
        }
    };
    let submit = Submit {
        task,
        template,
        actor: None,
        parent: session.current_task(),
        name: None,
        args,
        waits: call.waits.into(),
        holds,
    };
    Ok((submit, owed, stored))
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
        self.submit_to(py, None, args, kwargs, name)
    }
}
