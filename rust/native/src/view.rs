//! Bytes that Python may read for as long as it likes: the buffer behind a zero-copy array.
//!
//! Invariant: while a view lives, its bytes stay where they are and do not change. A block is kept
//! by a pin that goes with the last view of it; the mapping itself is kept by the view, so it
//! outlives `shutdown`. What lies in the spill file, because the store has no room for it, is read into
//! memory of this process: its pin goes as soon as it is read. Inline bytes are copied once, to get
//! their alignment.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use skate_core::event::Held;
use skate_core::id::ObjectId;
use skate_core::value::{Extent, Failure, Payload, Trouble, Value};
use skate_shm::segment::{Segment, Span};

use crate::disk;
use crate::error::{Error, Result};
use crate::pack::ALIGN;
use crate::session::Session;

/// The bytes of a stored value, kept in place.
pub(crate) struct Pinned {
    bytes: Bytes,
}

enum Bytes {
    /// Of the data segment, by a pin.
    Block { session: Arc<Session>, object: ObjectId, segment: Arc<Segment>, span: Span },
    /// Of this process; they begin where they are aligned like a block.
    Private { memory: Vec<u8>, start: usize },
}

impl Pinned {
    /// For a value whose pin came with an answer; None if it is not stored.
    pub(crate) fn adopt(
        session: &Arc<Session>,
        py: Python<'_>,
        object: ObjectId,
        value: &Value,
    ) -> Result<Option<Arc<Self>>> {
        let bytes = match value.payload() {
            Some(Payload::Block(span)) => {
                let span = Span { offset: span.offset, len: span.len };
                let segment = session.segment()?;
                Bytes::Block { session: Arc::clone(session), object, segment, span }
            }
            Some(Payload::Spilled(extent)) => {
                let bytes = py.detach(|| read_privately(session, object, *extent));
                session.release(Held::Pin(object));
                bytes?
            }
            Some(Payload::Inline(_)) | None => return Ok(None),
        };
        Ok(Some(Arc::new(Self { bytes })))
    }

    /// For a value in a block that the running task keeps; a view that outlives the task needs the pin.
    pub(crate) fn hold(
        session: &Arc<Session>,
        py: Python<'_>,
        object: ObjectId,
        value: &Value,
    ) -> Result<Option<Arc<Self>>> {
        if value.is_stored() {
            session.hold(Held::Pin(object));
        }
        Self::adopt(session, py, object, value)
    }

    pub(crate) fn bytes(&self) -> Result<&[u8]> {
        match &self.bytes {
            Bytes::Block { segment, span, .. } => Ok(segment.bytes(*span)?),
            Bytes::Private { memory, start } => Ok(&memory[*start..]),
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Bytes::Block { session, object, .. } = &self.bytes {
            session.release(Held::Pin(*object));
        }
    }
}

fn read_privately(session: &Session, object: ObjectId, extent: Extent) -> Result<Bytes> {
    let lost = |trouble| Failure::Lost { object, trouble };
    let file = session.spill_file();
    let file =
        file.ok_or_else(|| lost(Trouble::System("this process has no spill file".into())))?;
    let len = usize::try_from(extent.len).expect("an extent is shorter than isize::MAX");
    let size = len + ALIGN - 1;
    // `vec!` gets its zeroes from the kernel, but aborts if there is no room: that is asked first.
    Vec::<u8>::new().try_reserve_exact(size).map_err(|_| Error::NoMemory(len))?;
    let mut memory = vec![0; size];
    let start = memory.as_ptr().align_offset(ALIGN);
    memory.truncate(start + len);
    disk::read(file, extent, &mut memory[start..]).map_err(lost)?;
    Ok(Bytes::Private { memory, start })
}

/// Memory aligned like a block.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u8; ALIGN]);

const _: () = assert!(align_of::<Line>() == ALIGN);

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
            let mut line = Line([0; ALIGN]);
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
