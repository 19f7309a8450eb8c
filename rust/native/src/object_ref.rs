//! `ObjectRef`: one handle on one object.
//!
//! ```text
//!   binary, 28 bytes:  session (8) ┊ 0 (4) ┊ task (8) ┊ job (4) ┊ index (4)
//!                      └──────────────── task id (24) ────────┘
//! ```
//!
//! Invariant: while a ref lives, its client holds the object; dropping it appends to a list and
//! never waits, blocks or calls Python. A ref of an engine that is written in Python keeps that
//! engine's own handle instead, which is dropped with it.

use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple, PyType};
use skate_core::event::Held;
use skate_core::id::{ObjectId, TaskId};

use crate::error::{Error, Result};
use crate::modules;
use crate::pack;
use crate::session::Session;

/// Bytes of the binary form.
const LEN: usize = 28;
/// The one job of a session.
const JOB: u32 = 1;

/// A reference to one immutable value, present or still to come.
#[pyclass(frozen, module = "skate._native")]
pub(crate) struct ObjectRef {
    id: ObjectId,
    source: Source,
}

/// Who knows the object, and the number of the session that it is of: 0 marks those of none.
enum Source {
    /// Nobody: nil and random refs.
    Nowhere(u64),
    /// The node.
    Node(Arc<Session>),
    /// Another engine, which gave this handle to be kept. It never holds a ref that holds it.
    Engine(Box<(u64, Py<PyAny>)>),
}

const _: () = assert!(size_of::<ObjectRef>() <= 32, "a million of them are held");

impl ObjectRef {
    #[inline]
    fn nonce(&self) -> u64 {
        match &self.source {
            Source::Nowhere(nonce) => *nonce,
            Source::Node(session) => session.nonce,
            Source::Engine(kept) => kept.0,
        }
    }

    /// Takes over a handle that this client has already, or that `hold` has just noted. Programs keep many
    /// of them, and each costs a full collection 60 ns; but a ref of the node is part of no cycle.
    pub(crate) fn adopt(
        py: Python<'_>,
        session: &Arc<Session>,
        id: ObjectId,
    ) -> PyResult<Py<Self>> {
        let this = Py::new(py, Self { id, source: Source::Node(Arc::clone(session)) })?;
        #[allow(unsafe_code, reason = "PyO3 makes no class that is not collected")]
        // SAFETY: `this` is alive, of a class that takes part in collection, and we are attached to the
        // interpreter. It refers to no Python object, so the collector need not know it; that it is
        // untracked twice, the second time when it is freed, is allowed.
        unsafe {
            ffi::PyObject_GC_UnTrack(this.as_ptr().cast());
        }
        Ok(this)
    }

    /// The id, if the current session can do something with it.
    pub(crate) fn check_current(&self) -> Result<ObjectId> {
        self.check(&*Session::require()?)
    }

    /// The id, if it is of that session.
    #[inline]
    pub(crate) fn id_in(&self, session: &Session) -> Option<ObjectId> {
        (self.nonce() == session.nonce).then_some(self.id)
    }

    /// The id, if that session can do something with it.
    pub(crate) fn check(&self, session: &Session) -> Result<ObjectId> {
        if session.nonce == self.nonce() {
            Ok(self.id)
        } else if matches!(self.source, Source::Nowhere(_)) {
            Err(Error::Nowhere(self.hex()))
        } else {
            Err(Error::Stale(self.__repr__()))
        }
    }

    fn bytes(&self) -> [u8; LEN] {
        if self.is_nil() {
            return [0xff; LEN];
        }
        object_bytes(self.nonce(), self.id)
    }
}

/// The 28 bytes of an object's id.
pub(crate) fn object_bytes(nonce: u64, id: ObjectId) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..24].copy_from_slice(&task_bytes(nonce, id.task));
    bytes[24..].copy_from_slice(&id.index.to_le_bytes());
    bytes
}

/// The 24 bytes of a task's id.
pub(crate) fn task_bytes(nonce: u64, task: TaskId) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&nonce.to_be_bytes());
    bytes[12..20].copy_from_slice(&task.0.to_be_bytes());
    bytes[20..].copy_from_slice(&JOB.to_le_bytes());
    bytes
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes any text");
        text
    })
}

/// Why an id does not make a ref.
const NO_HANDLE: &str = "ObjectRef: an id is no handle, and keeps no value alive: pass the ref itself, which \
     can be pickled into tasks and values. nil() and from_random() are refs of nothing";

const NIL: ObjectId = ObjectId { task: TaskId(u64::MAX), index: u32::MAX };

impl Drop for ObjectRef {
    fn drop(&mut self) {
        if let Source::Node(session) = &self.source {
            session.release(Held::Object(self.id));
        }
    }
}

#[pymethods]
impl ObjectRef {
    #[classmethod]
    fn __class_getitem__<'py>(
        class: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let alias = class.py().import("types")?.getattr("GenericAlias")?;
        alias.call1((class, item))
    }

    #[new]
    #[pyo3(signature = (*_args))]
    fn new(_args: &Bound<'_, PyTuple>) -> PyResult<Self> {
        Err(PyTypeError::new_err(NO_HANDLE))
    }

    #[staticmethod]
    #[pyo3(signature = (_binary, /))]
    fn from_binary(_binary: &Bound<'_, PyAny>) -> PyResult<Self> {
        Err(PyTypeError::new_err(NO_HANDLE))
    }

    #[staticmethod]
    #[pyo3(signature = (_hex_id, /))]
    fn from_hex(_hex_id: &Bound<'_, PyAny>) -> PyResult<Self> {
        Err(PyTypeError::new_err(NO_HANDLE))
    }

    #[staticmethod]
    const fn size() -> usize {
        LEN
    }

    /// Where it was made, which nobody records.
    const fn call_site(&self) -> &'static str {
        ""
    }

    /// The node of the session owns all values, and has no address.
    fn owner_address<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &[])
    }

    #[staticmethod]
    fn nil() -> Self {
        Self { id: NIL, source: Source::Nowhere(u64::MAX) }
    }

    #[staticmethod]
    fn from_random() -> Result<Self> {
        let mut bytes = [0; 8];
        crate::random(&mut bytes)?;
        let id = ObjectId { task: TaskId(u64::from_le_bytes(bytes)), index: 1 };
        Ok(Self { id, source: Source::Nowhere(0) })
    }

    fn hex(&self) -> String {
        hex(&self.bytes())
    }

    fn binary<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.bytes())
    }

    fn is_nil(&self) -> bool {
        self.id == NIL
    }

    fn task_id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        modules::ids(py)?
            .getattr(intern!(py, "TaskID"))?
            .call1((PyBytes::new(py, &self.bytes()[..24]),))
    }

    fn job_id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        modules::ids(py)?
            .getattr(intern!(py, "JobID"))?
            .call1((PyBytes::new(py, &JOB.to_le_bytes()),))
    }

    /// What another engine keeps in it; None in refs of the node.
    #[getter]
    fn kept<'py>(&self, py: Python<'py>) -> Option<&Bound<'py, PyAny>> {
        match &self.source {
            Source::Engine(kept) => Some(kept.1.bind(py)),
            Source::Node(_) | Source::Nowhere(_) => None,
        }
    }

    fn future<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        modules::asynchronous(slf.py())?.call_method1(intern!(slf.py(), "future"), (slf,))
    }

    fn _on_completed(slf: &Bound<'_, Self>, callback: Bound<'_, PyAny>) -> PyResult<()> {
        let module = modules::asynchronous(slf.py())?;
        module.call_method1(intern!(slf.py(), "on_completed"), (slf, callback)).map(drop)
    }

    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let awaitable = modules::asynchronous(slf.py())?
            .call_method1(intern!(slf.py(), "await_ref"), (slf,))?;
        awaitable.call_method0(intern!(slf.py(), "__await__"))
    }

    fn __hash__(&self) -> u64 {
        // Ids are counters, which is what a dict likes best; the index tells siblings apart.
        self.id.task.0.wrapping_mul(31).wrapping_add(u64::from(self.id.index)) ^ self.nonce()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other
            .cast_exact::<Self>()
            .is_ok_and(|other| other.get().id == self.id && other.get().nonce() == self.nonce())
    }

    fn __repr__(&self) -> String {
        format!("ObjectRef({})", self.hex())
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// A ref never changes; its pickle would keep the object for the session.
    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let py = slf.py();
        let this = slf.get();
        if let Source::Engine(kept) = &this.source {
            return kept.1.bind(py).call_method0(intern!(py, "reduce"))?.extract();
        }
        if matches!(this.source, Source::Node(_)) {
            let held = Held::Object(this.check_current()?);
            let session = Session::require()?;
            if !pack::note_contained(&session, held) {
                session.keep(held);
            }
        }
        let rebuild = py.import("skate._native")?.getattr(intern!(py, "rebuild_ref"))?;
        Ok((rebuild, PyTuple::new(py, [PyBytes::new(py, &this.bytes())])?))
    }
}

/// What the binary form says: session and object.
fn parts(bytes: &[u8]) -> PyResult<(u64, ObjectId)> {
    let bytes: [u8; LEN] = bytes.try_into().map_err(|_| {
        PyValueError::new_err(format!("ObjectRef: expected {LEN} bytes, got {}", bytes.len()))
    })?;
    if bytes == [0xff; LEN] {
        return Ok((u64::MAX, NIL));
    }
    let part = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let index = u32::from_le_bytes(bytes[24..].try_into().expect("4 bytes"));
    Ok((part(0), ObjectId { task: TaskId(part(12)), index }))
}

/// A ref of another engine, which is asked through `kept` for everything but its name.
#[pyfunction]
#[pyo3(signature = (binary, kept, /))]
pub(crate) fn ref_of(binary: &[u8], kept: Py<PyAny>) -> PyResult<ObjectRef> {
    let (nonce, id) = parts(binary)?;
    Ok(ObjectRef { id, source: Source::Engine(Box::new((nonce, kept))) })
}

/// The ref that `ObjectRef.__reduce__` wrote.
#[pyfunction]
pub(crate) fn rebuild_ref(py: Python<'_>, bytes: &[u8]) -> PyResult<Py<ObjectRef>> {
    let (nonce, id) = parts(bytes)?;
    if id == NIL {
        return Py::new(py, ObjectRef::nil());
    }
    if nonce == 0 {
        return Py::new(py, ObjectRef { id, source: Source::Nowhere(nonce) });
    }
    let session = Session::require()?;
    if session.nonce != nonce {
        return Err(Error::Stale(format!("ObjectRef({})", hex(bytes))).into());
    }
    session.hold(Held::Object(id));
    ObjectRef::adopt(py, &session, id)
}
