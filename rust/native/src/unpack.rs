//! Bytes as a Python value again; the layout is drawn in `pack.rs`.
//!
//! Invariant: nothing read here is trusted: every length is checked against the payload, and bytes
//! that make no sense give an error, not a panic. Refs and generators found inside become handles of
//! this process; buffers in a block become views of it, without a copy.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple};
use skate_core::event::Held;
use skate_core::id::{ObjectId, TaskId};
use skate_core::value::{Payload, Value};

use crate::error;
use crate::modules;
use crate::pack::{ALIGN, ARGS, ARRAY, BYTES, PICKLE, PLAIN, VIEW, aligned, entry, is_number, tag};
use crate::session::Session;
use crate::stream;
use crate::view::{Pinned, View};

fn garbled() -> PyErr {
    PyValueError::new_err("the packed value is garbled")
}

/// The Python value of an object, whose block (if it has one) is kept by `block`. Raises what the
/// object holds if that is an error.
pub(crate) fn value(
    session: &Arc<Session>,
    py: Python<'_>,
    value: &Value,
    block: Option<&Arc<Pinned>>,
) -> PyResult<Py<PyAny>> {
    match value {
        Value::Data(data) => payload(py, data, block),
        Value::Raised(data) => {
            let error = payload(py, data, block)?;
            Err(error::raised(error.into_bound(py)))
        }
        Value::Failed(failure) => Err(error::failure(py, failure)),
        Value::Inherited(inherited) => match self::value(session, py, &inherited.error, block) {
            Err(error) => Err(error::inherited(py, error, inherited)),
            unexpected => unexpected,
        },
        Value::Stream(task) => {
            session.hold(Held::Cursor(*task, 0));
            Ok(stream::dynamic(py, session, *task, 0)?.unbind())
        }
    }
}

/// The value of a payload. `block` is where it lies, unless it is inline.
pub(crate) fn payload(
    py: Python<'_>,
    payload: &Payload,
    block: Option<&Arc<Pinned>>,
) -> PyResult<Py<PyAny>> {
    let bytes = payload_bytes(payload, block)?;
    let mut reader = Reader::new(py, bytes, block);
    Ok(reader.value()?.unbind())
}

fn payload_bytes<'a>(payload: &'a Payload, block: Option<&'a Arc<Pinned>>) -> PyResult<&'a [u8]> {
    match (payload, block) {
        (Payload::Inline(bytes), _) => Ok(bytes),
        (_, Some(block)) => Ok(block.bytes()?),
        (_, None) => Err(garbled()),
    }
}

/// Positional and keyword arguments of a call.
pub(crate) type Arguments<'py> = (Bound<'py, PyTuple>, Option<Bound<'py, PyDict>>);

/// The arguments of a call; `awaited` gives the value of the i-th ref that stood for one.
pub(crate) fn args<'py>(
    py: Python<'py>,
    data: &Payload,
    block: Option<&Arc<Pinned>>,
    mut awaited: impl FnMut(usize) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Arguments<'py>> {
    let bytes = payload_bytes(data, block)?;
    let mut reader = Reader::new(py, bytes, block);
    if reader.byte()? != ARGS {
        return Err(garbled());
    }
    reader.buffer_end = reader.len()?;
    let (positional, named) = (reader.word()?, reader.word()?);
    let mut args = Vec::new();
    for _ in 0..positional {
        args.push(reader.argument(&mut awaited)?);
    }
    let args = PyTuple::new(py, args)?;
    if named == 0 {
        return Ok((args, None));
    }
    let kwargs = PyDict::new(py);
    for _ in 0..named {
        let name = reader.plain(0)?;
        kwargs.set_item(name, reader.argument(&mut awaited)?)?;
    }
    Ok((args, Some(kwargs)))
}

/// From here on a view of bytes costs nothing beside the bytes (below, up to a third), and may save a copy.
const VIEWED: usize = 1 << 20;

struct Reader<'a, 'py> {
    py: Python<'py>,
    /// The whole payload.
    bytes: &'a [u8],
    block: Option<&'a Arc<Pinned>>,
    /// How far the head has been read.
    at: usize,
    /// Where the last buffer ended; the next one starts at the next aligned place. 0: not known
    /// before the head has been read.
    buffer_end: usize,
}

impl<'a, 'py> Reader<'a, 'py> {
    const fn new(py: Python<'py>, bytes: &'a [u8], block: Option<&'a Arc<Pinned>>) -> Self {
        Self { py, bytes, block, at: 0, buffer_end: 0 }
    }

    fn raw(&mut self, len: usize) -> PyResult<&'a [u8]> {
        let end = self.at.checked_add(len).ok_or_else(garbled)?;
        let raw = self.bytes.get(self.at..end).ok_or_else(garbled)?;
        self.at = end;
        Ok(raw)
    }

    fn array<const N: usize>(&mut self) -> PyResult<[u8; N]> {
        self.raw(N)?.try_into().map_err(|_| garbled())
    }

    fn byte(&mut self) -> PyResult<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn word(&mut self) -> PyResult<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn len(&mut self) -> PyResult<usize> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| garbled())
    }

    /// A count of things that take at least a byte each.
    fn count(&mut self) -> PyResult<usize> {
        let count = self.len()?;
        if count > self.bytes.len() { Err(garbled()) } else { Ok(count) }
    }

    /// Where the next buffer, of `len` bytes, starts.
    fn buffer(&mut self, len: usize) -> PyResult<usize> {
        let start = aligned(if self.buffer_end == 0 { self.at } else { self.buffer_end });
        let end = start.checked_add(len).ok_or_else(garbled)?;
        if end > self.bytes.len() {
            return Err(garbled());
        }
        self.buffer_end = end;
        Ok(start)
    }

    /// The next buffer as something that Python can read.
    fn view(&mut self, len: usize) -> PyResult<Bound<'py, View>> {
        let start = self.buffer(len)?;
        self.view_of(start, len)
    }

    fn view_of(&self, start: usize, len: usize) -> PyResult<Bound<'py, View>> {
        let view = match self.block {
            Some(block) => View::of_block(Arc::clone(block), start, len),
            None => View::copy(&self.bytes[start..start + len]),
        };
        Bound::new(self.py, view)
    }

    /// Bytes that are read once: as they are, if they are many. `PyBytes::new` would panic if there is no
    /// memory for them.
    fn readable(&self, start: usize, len: usize) -> PyResult<Bound<'py, PyAny>> {
        if len >= VIEWED {
            return Ok(self.view_of(start, len)?.into_any());
        }
        Ok(PyBytes::new(self.py, &self.bytes[start..start + len]).into_any())
    }

    fn argument(
        &mut self,
        awaited: &mut impl FnMut(usize) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if self.byte()? == entry::AWAITED {
            return awaited(self.word()?);
        }
        let _len = self.len()?;
        self.value()
    }

    fn value(&mut self) -> PyResult<Bound<'py, PyAny>> {
        match self.byte()? {
            PLAIN => self.plain(0),
            BYTES => {
                let len = self.len()?;
                let start = self.buffer(len)?;
                let bytes = self.readable(start, len)?;
                // Of a view one copy is made, or there is a MemoryError.
                Ok(if bytes.is_exact_instance_of::<PyBytes>() {
                    bytes
                } else {
                    self.py.get_type::<PyBytes>().call1((bytes,))?
                })
            }
            ARRAY => self.numpy(),
            VIEW => {
                let len = self.len()?;
                let view = self.view(len)?;
                Ok(PyMemoryView::from(view.as_any())?.into_any())
            }
            PICKLE => self.pickle(),
            _ => Err(garbled()),
        }
    }

    fn numpy(&mut self) -> PyResult<Bound<'py, PyAny>> {
        let len = usize::from(self.byte()?);
        // Not what NumPy would take: objects would be pointers that somebody else has written.
        let format = Some(self.raw(len)?).filter(|format| is_number(format)).ok_or_else(garbled)?;
        let format = std::str::from_utf8(format).map_err(|_| garbled())?;
        let dimensions = self.byte()?;
        let shape = (0..dimensions).map(|_| self.len()).collect::<PyResult<Vec<_>>>()?;
        let size = self.len()?;
        let view = self.view(size)?;
        // The struct module's names of complex numbers are not NumPy's.
        let dtype = match format {
            "Zf" => "F",
            "Zd" => "D",
            "Zg" => "G",
            other => other,
        };
        let shape = PyTuple::new(self.py, shape)?;
        modules::import_ndarray(self.py)?.call1((shape, dtype, view))
    }

    fn pickle(&mut self) -> PyResult<Bound<'py, PyAny>> {
        let count = self.count()?;
        let lens = (0..count).map(|_| self.len()).collect::<PyResult<Vec<_>>>()?;
        let data_len = self.len()?;
        let start = self.at;
        let _data = self.raw(data_len)?;
        let data = self.readable(start, data_len)?;
        let views = lens.into_iter().map(|len| self.view(len)).collect::<PyResult<Vec<_>>>()?;
        modules::serialization(self.py)?.call_method1(intern!(self.py, "loads"), (data, views))
    }

    fn plain(&mut self, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        // Deeper than packing goes: only garbage does that.
        if depth > ALIGN {
            return Err(garbled());
        }
        let py = self.py;
        Ok(match self.byte()? {
            tag::NONE => py.None().into_bound(py),
            tag::TRUE => true.into_pyobject(py)?.to_owned().into_any(),
            tag::FALSE => false.into_pyobject(py)?.to_owned().into_any(),
            tag::INT => PyInt::new(py, i64::from_le_bytes(self.array()?)).into_any(),
            tag::FLOAT => PyFloat::new(py, f64::from_le_bytes(self.array()?)).into_any(),
            tag::STR => {
                let len = self.len()?;
                let text = std::str::from_utf8(self.raw(len)?).map_err(|_| garbled())?;
                PyString::new(py, text).into_any()
            }
            tag::BYTES => {
                let len = self.len()?;
                PyBytes::new(py, self.raw(len)?).into_any()
            }
            tag::TUPLE => {
                let items = self.items(depth)?;
                PyTuple::new(py, items)?.into_any()
            }
            tag::LIST => {
                let items = self.items(depth)?;
                PyList::new(py, items)?.into_any()
            }
            tag::DICT => {
                let dict = PyDict::new(py);
                for _ in 0..self.count()? {
                    let key = self.plain(depth + 1)?;
                    dict.set_item(key, self.plain(depth + 1)?)?;
                }
                dict.into_any()
            }
            tag::REF => {
                let task = TaskId(u64::from_le_bytes(self.array()?));
                let index = u32::from_le_bytes(self.array()?);
                let session = Session::require()?;
                let id = ObjectId { task, index };
                session.hold(Held::Object(id));
                session.own(py, id)?.into_bound(py).into_any()
            }
            tag::STREAM => {
                let task = TaskId(u64::from_le_bytes(self.array()?));
                stream::passed_on(py, &Session::require()?, task)?
            }
            _ => return Err(garbled()),
        })
    }

    fn items(&mut self, depth: usize) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let count = self.count()?;
        (0..count).map(|_| self.plain(depth + 1)).collect()
    }
}
