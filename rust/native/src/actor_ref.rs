//! `ActorRef`: one handle on one actor. The Python class on top gives it the methods of its class.
//!
//! ```text
//!   binary, 16 bytes:  task (8) ┊ session (8)
//! ```
//!
//! Invariant: while a strong handle lives, so does the actor; a weak one can call it, and keeps nothing
//! but the memory of how it ended. A pickle of either gives a strong one.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use skate_core::action::Reply;
use skate_core::event::{ActorName, AfterKill, Creation, Held, Order, Request};
use skate_core::id::{ActorId, TaskId};
use skate_core::value::Bytes;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::object_ref::hex;
use crate::pack;
use crate::session::Session;
use crate::template::{self, Template};

/// A handle on an actor.
#[pyclass(frozen, module = "skate._native")]
pub(crate) struct ActorRef {
    session: Arc<Session>,
    actor: ActorId,
    is_weak: bool,
}

/// The 16 bytes of an actor's id.
pub(crate) fn actor_bytes(nonce: u64, actor: ActorId) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&actor.0.0.to_be_bytes());
    bytes[8..].copy_from_slice(&nonce.to_be_bytes());
    bytes
}

impl ActorRef {
    /// Takes over a handle that this client has already, or that `hold` has just noted.
    pub(crate) fn adopt(session: &Arc<Session>, actor: ActorId, is_weak: bool) -> Self {
        Self { session: Arc::clone(session), actor, is_weak }
    }

    const fn held(&self) -> Held {
        if self.is_weak { Held::WeakActor(self.actor) } else { Held::Actor(self.actor) }
    }

    fn check(&self) -> Result<()> {
        if Session::require()?.nonce == self.session.nonce {
            Ok(())
        } else {
            Err(Error::Stale(format!("Actor({})", self.hex())))
        }
    }
}

impl Drop for ActorRef {
    fn drop(&mut self) {
        self.session.release(self.held());
    }
}

/// A handle, and what a client needs to call the actor: None if it is the new one. Then its name.
type Found<'py> = (ActorRef, Option<Bound<'py, PyBytes>>, String);

fn found<'py>(py: Python<'py>, session: &Arc<Session>, reply: Reply) -> PyResult<Found<'py>> {
    match reply {
        Reply::Actor { actor, body, name, is_new } => {
            let body = (!is_new).then(|| PyBytes::new(py, &body));
            let name = name.map_or_else(String::new, |name| name.name.to_string());
            Ok((ActorRef::adopt(session, actor, !is_new), body, name))
        }
        Reply::Failed(failure) => Err(Error::Failed(failure).into()),
        other => unreachable!("the node answers a question for an actor with {other:?}"),
    }
}

#[pymethods]
impl ActorRef {
    #[staticmethod]
    #[allow(clippy::too_many_arguments, reason = "one call makes a whole actor")]
    #[pyo3(signature = (
        template, args, kwargs, name, placing, max_restarts, is_detached, in_order, lanes, body, /
    ))]
    fn create<'py>(
        py: Python<'py>,
        template: &Bound<'py, Template>,
        args: &Bound<'py, PyTuple>,
        kwargs: &Bound<'py, PyDict>,
        name: Option<(String, String)>,
        placing: Vec<(String, u64)>,
        max_restarts: i32,
        is_detached: bool,
        in_order: bool,
        lanes: Vec<u32>,
        body: &[u8],
    ) -> PyResult<Found<'py>> {
        let template = template.get();
        let session = &template.session;
        session.check()?;
        let task = session.next_task();
        let actor = ActorId(task);
        let (mut submit, owed, stored) =
            template::pack_call(py, session, task, *template.id, &template.name, args, kwargs)?;
        submit.actor = Some(actor);
        // A constructor is nobody's child: it may run again when its parent is long gone.
        submit.parent = None;
        let creation = |name| {
            Request::Create(Box::new(Creation {
                submit,
                name,
                placing: placing.into_iter().map(|(name, n)| (name.into(), n)).collect(),
                max_restarts,
                is_detached,
                order: if in_order { Order::Submission } else { Order::Readiness },
                lanes: lanes.into(),
                body: Bytes::from(body),
            }))
        };
        let made = match name {
            None => {
                session.send(creation(None));
                Ok((Self::adopt(session, actor, false), None, String::new()))
            }
            Some((namespace, name)) => {
                let name = ActorName { namespace: namespace.into(), name: name.into() };
                let reply = session.ask(py, None, |request| creation(Some((name, request))));
                reply.and_then(|reply| found(py, session, reply))
            }
        };
        if let Some(stored) = stored {
            session.release(Held::Object(stored));
        }
        drop(owed);
        made
    }

    #[staticmethod]
    #[pyo3(signature = (client, namespace, name, /))]
    fn find<'py>(
        py: Python<'py>,
        client: &Bound<'py, Client>,
        namespace: &str,
        name: &str,
    ) -> PyResult<Found<'py>> {
        let session = &client.get().session;
        session.check()?;
        let name = ActorName { namespace: namespace.into(), name: name.into() };
        let reply = session.ask(py, None, |request| Request::Find(request, name))?;
        found(py, session, reply)
    }

    #[staticmethod]
    #[pyo3(signature = (client, /))]
    fn names(py: Python<'_>, client: &Bound<'_, Client>) -> PyResult<Vec<(String, String)>> {
        let session = &client.get().session;
        session.check()?;
        match session.ask(py, None, Request::Names)? {
            Reply::Names(names) => {
                let pair = |name: ActorName| (name.namespace.to_string(), name.name.to_string());
                Ok(names.into_iter().map(pair).collect())
            }
            other => unreachable!("the node answers a question for names with {other:?}"),
        }
    }

    #[staticmethod]
    #[pyo3(signature = (client, /))]
    fn own<'py>(py: Python<'py>, client: &Bound<'py, Client>) -> PyResult<Option<Found<'py>>> {
        let client = client.get();
        let Some(actor) = client.own_actor() else { return Ok(None) };
        let ask = |request| Request::Describe(request, actor);
        found(py, &client.session, client.session.ask(py, None, ask)?).map(Some)
    }

    #[pyo3(signature = (template, args, kwargs, name=None, /))]
    fn submit(
        &self,
        py: Python<'_>,
        template: &Bound<'_, Template>,
        args: &Bound<'_, PyTuple>,
        kwargs: &Bound<'_, PyDict>,
        name: Option<&str>,
    ) -> PyResult<Py<PyAny>> {
        self.check()?;
        template.get().submit_to(py, Some(self.actor), args, kwargs, name)
    }

    fn calls_under_way(&self, py: Python<'_>) -> PyResult<u64> {
        self.check()?;
        let ask = |request| Request::CallsUnderWay(request, self.actor);
        match self.session.ask(py, None, ask)? {
            Reply::Count(count) => Ok(count),
            other => unreachable!("the node answers a question for a count with {other:?}"),
        }
    }

    #[pyo3(signature = (may_restart, /))]
    fn kill(&self, may_restart: bool) -> PyResult<()> {
        self.check()?;
        let after = if may_restart { AfterKill::MayRestart } else { AfterKill::Dead };
        self.session.send(Request::Kill(self.actor, after));
        Ok(())
    }

    fn hex(&self) -> String {
        hex(&actor_bytes(self.session.nonce, self.actor))
    }

    fn binary(&self) -> [u8; 16] {
        actor_bytes(self.session.nonce, self.actor)
    }

    fn __hash__(&self) -> u64 {
        self.actor.0.0 ^ self.session.nonce
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast_exact::<Self>().is_ok_and(|other| {
            other.get().actor == self.actor && other.get().session.nonce == self.session.nonce
        })
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Its pickle would keep the actor for the session.
    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let py = slf.py();
        let this = slf.get();
        this.check()?;
        let held = Held::Actor(this.actor);
        if !pack::note_contained(&this.session, held) {
            this.session.keep(held);
        }
        let rebuild = py.import("skate._native")?.getattr(intern!(py, "rebuild_actor"))?;
        Ok((rebuild, (this.session.nonce, this.actor.0.0).into_pyobject(py)?))
    }
}

/// The handle that `ActorRef.__reduce__` wrote.
#[pyfunction]
pub(crate) fn rebuild_actor(nonce: u64, actor: u64) -> PyResult<ActorRef> {
    let session = Session::require()?;
    let actor = ActorId(TaskId(actor));
    if session.nonce != nonce {
        let name = format!("Actor({})", hex(&actor_bytes(nonce, actor)));
        return Err(Error::Stale(name).into());
    }
    session.hold(Held::Actor(actor));
    Ok(ActorRef::adopt(&session, actor, false))
}
