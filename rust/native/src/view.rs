//! Bytes that Python may read for as long as it likes: the buffer behind a zero-copy array.
//!
//! Invariant: while a view lives, its bytes stay where they are and do not change. A block is kept
//! by a pin that goes with the last view of it; the mapping itself is kept by the view, so it
//! outlives `shutdown`. Inline bytes are copied once, to get their alignment.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use skate_core::event::Held;
use skate_core::id::ObjectId;
use skate_core::value::Value;
use skate_shm::segment::{Segment, Span};

use crate::error::Result;
use crate::session::Session;

/// A block of the data segment, kept in place.
pub(crate) struct Pinned {
    session: Arc<Session>,
    object: ObjectId,
    segment: Arc<Segment>,
    span: Span,
}

impl Pinned {
    /// For a value whose pin came with an answer; None if it lies in no block.
    pub(crate) fn adopt(
        session: &Arc<Session>,
        object: ObjectId,
        value: &Value,
    ) -> Result<Option<Arc<Self>>> {
        let Some(span) = value.block() else { return Ok(None) };
        let span = Span { offset: span.offset, len: span.len };
        let segment = session.segment()?;
        Ok(Some(Arc::new(Self { session: Arc::clone(session), object, segment, span })))
    }

    /// For a value that the running task keeps; a view that outlives the task needs the pin.
    pub(crate) fn hold(
        session: &Arc<Session>,
        object: ObjectId,
        value: &Value,
    ) -> Result<Option<Arc<Self>>> {
        if value.block().is_some() {
            session.hold(Held::Pin(object));
        }
        Self::adopt(session, object, value)
    }

    pub(crate) fn bytes(&self) -> Result<&[u8]> {
        Ok(self.segment.bytes(self.span)?)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.session.release(Held::Pin(self.object));
    }
}

/// Memory aligned like a block.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u8; 64]);

enum Memory {
    Block(Arc<Pinned>),
    Copy(Box<[Line]>),
}

/// A read-only buffer.
#[pyclass(frozen, module = "skate._native")]
pub(crate) struct View {
    memory: Memory,
    start: usize,
    len: usize,
}

impl View {
    /// `len` bytes from `start` of a block; the caller has checked that they are inside.
    pub(crate) const fn of_block(block: Arc<Pinned>, start: usize, len: usize) -> Self {
        Self { memory: Memory::Block(block), start, len }
    }

    pub(crate) fn copy(bytes: &[u8]) -> Self {
        let lines = bytes.chunks(64).map(|chunk| {
            let mut line = Line([0; 64]);
            line.0[..chunk.len()].copy_from_slice(chunk);
            line
        });
        Self { memory: Memory::Copy(lines.collect()), start: 0, len: bytes.len() }
    }

    fn address(&self) -> Result<*const c_void> {
        Ok(match &self.memory {
            Memory::Block(block) => {
                block.bytes()?[self.start..self.start + self.len].as_ptr().cast()
            }
            Memory::Copy(lines) => lines.as_ptr().cast(),
        })
    }
}

#[pymethods]
#[allow(unsafe_code, reason = "the buffer protocol is made of pointers")]
impl View {
    /// # Safety
    /// Called by the interpreter, with a valid view to fill.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("View: no buffer to fill"));
        }
        let this = slf.get();
        let address = this.address()?.cast_mut();
        let len = isize::try_from(this.len).expect("a mapping is shorter than isize::MAX");
        // SAFETY: `view` is valid (checked above, and promised by the interpreter); `address` has
        // `len` readable bytes that neither move nor change while `slf` lives (header), and the
        // call stores a reference to `slf` in the view; read-only is enforced by the last flag.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), address, len, 1, flags) };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }

    fn __len__(&self) -> usize {
        self.len
    }
}
