//! `Fresh`: memory of the store that user code writes in place.
//!
//! ```text
//!   empty ─▶ lease, head written ─▶ Fresh: writable ─ yield, return, put of exactly this array ─▶ sealed
//!                                     │                                        read-only, as a Block
//!                                     └──── dropped: the lease ends ◀──────────────┘
//! ```
//!
//! Invariant: the lease is held until the last array on this memory is gone, so what it shows is
//! never another value's. Sealed bytes cannot be changed through it: the window is read-only then, and
//! a write through an alias made before faults, which ends the process.

use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;
use skate_core::event::Held;
use skate_core::value::{Payload, Span};
use skate_shm::window::Window;

use crate::error::{Error, Result};
use crate::pack::aligned;
use crate::placing::in_segment;
use crate::session::Session;

/// Memory that is written in place.
#[pyclass(frozen, module = "skate._native")]
pub(crate) struct Fresh {
    session: Arc<Session>,
    window: Window,
    /// After the window: whoever gets the memory next is alone with it.
    _lease: Lease,
    /// The whole payload: head, padding, data.
    span: Span,
    head: Box<[u8]>,
    /// Somebody is to seal it as it is, and nobody else will.
    claimed: AtomicBool,
    sealed: AtomicBool,
}

/// Gives the memory back when it is dropped.
struct Lease {
    session: Arc<Session>,
    /// It is known by where it starts.
    offset: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.session.release(Held::Lease(self.offset));
    }
}

impl Fresh {
    /// Space for a payload of that head and so many bytes.
    pub(crate) fn new(
        session: &Arc<Session>,
        py: Python<'_>,
        head: &[u8],
        len: u64,
    ) -> PyResult<Self> {
        let size = (aligned(head.len()) as u64).saturating_add(len);
        let offset = session.lease_memory(py, size)?.offset;
        let lease = Lease { session: Arc::clone(session), offset };
        // The kernel supplies the pages now: seconds, for gigabytes.
        Ok(py.detach(|| Self::over(session, lease, size, head))?)
    }

    fn over(session: &Arc<Session>, lease: Lease, len: u64, head: &[u8]) -> Result<Self> {
        let segment = session.segment()?;
        let span = Span { offset: lease.offset, len };
        #[allow(unsafe_code, reason = "the lease is the proof that the segment asks for")]
        // SAFETY: the node leased this span to this process, for this window alone, until `lease` is
        // dropped, which is after the window.
        let window = unsafe { Window::open(&segment, in_segment(span)) }?;
        let mut padded = head.to_vec();
        padded.resize(aligned(head.len()), 0);
        #[allow(unsafe_code, reason = "the window hands out a pointer")]
        // SAFETY: the span is at least as long, and nobody else has seen the window yet.
        unsafe {
            window.start().copy_from_nonoverlapping(padded.as_ptr(), padded.len());
        }
        Ok(Self {
            session: Arc::clone(session),
            window,
            _lease: lease,
            span,
            head: head.into(),
            claimed: AtomicBool::new(false),
            sealed: AtomicBool::new(false),
        })
    }

    /// Whether a value whose head this is may be sealed as it is: true once.
    pub(crate) fn claim(&self, head: &[u8]) -> bool {
        *self.head == *head
            && self.session.check().is_ok()
            && self
                .claimed
                .compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    pub(crate) const fn len(&self) -> usize {
        self.span.len as usize
    }

    /// Ends the writing, for who claimed it: the payload, in place. `owner` is the array or memoryview on it.
    pub(crate) fn seal(&self, owner: &Bound<'_, PyAny>) -> PyResult<Payload> {
        let py = owner.py();
        self.sealed.store(true, Ordering::Release);
        self.window.protect().map_err(Error::from)?;
        if owner.is_instance_of::<PyMemoryView>() {
            // Its users would fault at a write; a released one raises. One with exports stays.
            let _ = owner.call_method0(intern!(py, "release"));
        } else {
            owner.call_method1(intern!(py, "setflags"), (false,))?;
        }
        Ok(Payload::Block(self.span))
    }
}

#[pymethods]
#[allow(unsafe_code, reason = "the buffer protocol is made of pointers")]
impl Fresh {
    /// # Safety
    /// Called by the interpreter, with a valid view to fill.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("Fresh: no buffer to fill"));
        }
        let this = slf.get();
        let start = aligned(this.head.len());
        let len =
            isize::try_from(this.len() - start).expect("a mapping is shorter than isize::MAX");
        let read_only = c_int::from(this.sealed.load(Ordering::Acquire));
        // SAFETY: the payload is at least its head, padded.
        let address: *mut c_void = unsafe { this.window.start().add(start) }.cast();
        // SAFETY: `view` is valid (checked above, and promised by the interpreter); `address` has `len`
        // bytes that stay mapped while `slf` lives, to which the call stores a reference.
        let filled =
            unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), address, len, read_only, flags) };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }

    fn __len__(&self) -> usize {
        self.len() - aligned(self.head.len())
    }
}
