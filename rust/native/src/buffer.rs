//! Memory of a Python object, borrowed through the buffer protocol while it is packed.
//!
//! Invariant: the bytes stay valid while the `Buffer` lives, because the exporter keeps them for it.
//! Another Python thread may change them while we copy without the GIL; so could it with `pickle`
//! between two buffers. So they are only ever copied, by pointer, and no Rust reference to them exists:
//! the copy then has some mixture of both, never anything else's memory.

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;

/// One contiguous buffer.
pub(crate) struct Buffer(PyUntypedBuffer);

impl Buffer {
    /// Borrows the memory of `object`, which must be contiguous in C or Fortran order.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let buffer = PyUntypedBuffer::get(object)?;
        if !buffer.is_c_contiguous() && !buffer.is_fortran_contiguous() {
            return Err(PyBufferError::new_err("the buffer is not contiguous"));
        }
        Ok(Self(buffer))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len_bytes()
    }

    pub(crate) fn is_c_contiguous(&self) -> bool {
        self.0.is_c_contiguous()
    }

    pub(crate) fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    pub(crate) fn format(&self) -> &[u8] {
        self.0.format().to_bytes()
    }

    /// Where its bytes are.
    pub(crate) fn address(&self) -> u64 {
        self.0.buf_ptr().addr() as u64
    }

    /// Fills `into` with the bytes from `from` on.
    pub(crate) fn copy(&self, from: usize, into: &mut [u8]) {
        assert!(from <= self.len() && into.len() <= self.len() - from);
        if into.is_empty() {
            return; // of an empty buffer the pointer may be anything
        }
        #[allow(unsafe_code, reason = "the buffer protocol hands out a pointer")]
        // SAFETY: the exporter guarantees `len_bytes` readable bytes at `buf_ptr` until the buffer is
        // released, which our borrow of `self.0` prevents; they are contiguous (checked in `of`), and
        // `from` is inside.
        let start = unsafe { self.0.buf_ptr().cast::<u8>().add(from) };
        #[allow(unsafe_code, reason = "nothing but a copy by pointer may look at these bytes")]
        // SAFETY: as above, `into.len()` of them; `into` is ours, so the two do not overlap. Whatever a
        // thread writes there meanwhile, what arrives are bytes.
        unsafe {
            start.copy_to_nonoverlapping(into.as_mut_ptr(), into.len());
        }
    }
}
