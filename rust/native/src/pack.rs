//! A Python value as bytes: sized first, then written once, straight to where it stays.
//!
//! ```text
//!   payload = kind, then by kind
//!     PLAIN   None, bool, int, float, str, bytes, ObjectRef, stream; tuple, list, dict of these (one tag each)
//!     BYTES   the bytes themselves (large ones)
//!     ARRAY   item format, shape ┊ padding ┊ the items of a NumPy array
//!     VIEW    the bytes of a memoryview; it comes back as one, read-only
//!     PICKLE  count and lengths of buffers, pickle ┊ padding ┊ buffer ┊ padding ┊ buffer …
//!     ARGS    length of the head, positional and keyword arguments: each a payload, or the number of an awaited ref
//! ```
//!
//! Invariants: offsets inside a payload are relative to its start, and every buffer starts at a
//! multiple of [`ALIGN`], so a payload can lie anywhere that is aligned so. Packing never changes identity that pickle would keep: PLAIN holds
//! a container only where no second reference to it can exist within the value.

use std::cell::RefCell;
use std::sync::Arc;

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple,
};
use rustix::io::Errno;
use skate_core::event::Held;
use skate_core::id::{ObjectId, TaskId};
use skate_shm::spill_file::Append;
use smallvec::SmallVec;

use crate::buffer::Buffer;
use crate::fresh::Fresh;
use crate::modules;
use crate::object_ref::ObjectRef;
use crate::session::Session;
use crate::stream::Stream;

/// Where buffers start: a cache line, and enough for every vector unit.
pub(crate) const ALIGN: usize = 64;

pub(crate) const PLAIN: u8 = 1;
pub(crate) const PICKLE: u8 = 2;
pub(crate) const BYTES: u8 = 3;
pub(crate) const ARRAY: u8 = 4;
pub(crate) const ARGS: u8 = 5;
pub(crate) const VIEW: u8 = 6;

pub(crate) mod tag {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const TRUE: u8 = 1;
    pub(crate) const FALSE: u8 = 2;
    pub(crate) const INT: u8 = 3;
    pub(crate) const FLOAT: u8 = 4;
    pub(crate) const STR: u8 = 5;
    pub(crate) const BYTES: u8 = 6;
    pub(crate) const TUPLE: u8 = 7;
    pub(crate) const LIST: u8 = 8;
    pub(crate) const DICT: u8 = 9;
    pub(crate) const REF: u8 = 10;
    pub(crate) const STREAM: u8 = 11;
}

/// From here on it matters where a copy goes: see [`Packed::skew`].
pub(crate) const LONG: usize = 16 << 20;
/// Two addresses that are alike in their last 12 bits are the same one to a processor that looks in a hurry.
pub(crate) const ALIAS: u64 = 4096;
/// Bytes and strings up to here are copied into the head; larger ones become buffers.
const SMALL: usize = 4096;
/// Most nodes of a plain value; beyond it the C pickler is as fast.
const MAX_NODES: usize = 64;

/// A value ready to be written.
#[derive(Default)]
pub(crate) struct Packed {
    head: SmallVec<[u8; 128]>,
    buffers: Vec<Buffer>,
    /// What the value contains; the node keeps it alive with the value.
    pub(crate) kept: Kept,
    /// The value lies in the store already: the memory, and the array or memoryview on it.
    pub(crate) in_place: Option<(Py<Fresh>, Py<PyAny>)>,
}

impl Packed {
    /// Length of the payload.
    pub(crate) fn len(&self) -> usize {
        if let Some((fresh, _)) = &self.in_place {
            return fresh.get().len();
        }
        self.buffers.iter().fold(self.head.len(), |end, buffer| aligned(end) + buffer.len())
    }

    /// The payload, when it needs no buffers.
    pub(crate) fn as_head(&self) -> Option<&[u8]> {
        self.buffers.is_empty().then_some(&self.head)
    }

    /// Writes the payload; `into` has exactly [`len`](Self::len) bytes.
    pub(crate) fn write(&self, into: &mut [u8]) {
        into[..self.head.len()].copy_from_slice(&self.head);
        let mut end = self.head.len();
        for buffer in &self.buffers {
            let start = aligned(end);
            into[end..start].fill(0);
            end = start + buffer.len();
            buffer.copy(0, &mut into[start..end]);
        }
    }

    /// How much further than `offset` the payload should begin, if it has a long buffer: less than
    /// [`ALIAS`], and a multiple of [`ALIGN`]. Each load of a copy then runs a little ahead of the
    /// store to its like. If it ran behind, it would wait for that store: a third of the speed for what
    /// the C library copies past the caches.
    pub(crate) fn skew(&self, offset: u64) -> u64 {
        let mut end = self.head.len();
        for buffer in &self.buffers {
            let start = aligned(end);
            end = start + buffer.len();
            if buffer.len() >= LONG {
                let ahead = buffer.address().wrapping_sub(offset + start as u64) % ALIAS;
                return ahead - ahead % ALIGN as u64;
            }
        }
        0
    }

    /// Writes the payload into the spill file: its checksum.
    pub(crate) fn append(&self, mut to: Append<'_>) -> Result<u32, Errno> {
        to.push(self.head.len(), |from, piece| {
            piece.copy_from_slice(&self.head[from..][..piece.len()]);
        })?;
        let mut end = self.head.len();
        for buffer in &self.buffers {
            let start = aligned(end);
            to.push(start - end, |_, piece| piece.fill(0))?;
            to.push(buffer.len(), |from, piece| buffer.copy(from, piece))?;
            end = start + buffer.len();
        }
        to.finish()
    }

    /// The payload as a vector.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        self.write(&mut bytes);
        bytes
    }

    fn put_len(&mut self, len: usize) {
        self.head.extend_from_slice(&(len as u64).to_le_bytes());
    }

    fn put_tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.head.push(tag);
        self.put_len(bytes.len());
        self.head.extend_from_slice(bytes);
    }
}

/// The next multiple of [`ALIGN`].
pub(crate) const fn aligned(offset: usize) -> usize {
    offset.next_multiple_of(ALIGN)
}

/// Packs one value that is to be an object of its own: what was made by `empty` stays where it is.
pub(crate) fn object(value: &Bound<'_, PyAny>) -> PyResult<Packed> {
    let mut packed = self::value(value)?;
    let owner = match packed.head.first() {
        Some(&ARRAY) => intern!(value.py(), "base"),
        Some(&VIEW) => intern!(value.py(), "obj"),
        _ => return Ok(packed),
    };
    if let Ok(fresh) = value.getattr(owner)?.cast_into_exact::<Fresh>()
        && fresh.get().claim(&packed.head)
    {
        packed.buffers.clear();
        packed.in_place = Some((fresh.unbind(), value.clone().unbind()));
    }
    Ok(packed)
}

/// The head of an array's payload, for memory that is written in place.
pub(crate) fn array_head(format: &[u8], shape: &[u64], len: u64) -> SmallVec<[u8; 128]> {
    let mut head = SmallVec::new();
    head.push(ARRAY);
    head.push(format.len() as u8);
    head.extend_from_slice(format);
    head.push(shape.len() as u8);
    for extent in shape {
        head.extend_from_slice(&extent.to_le_bytes());
    }
    head.extend_from_slice(&len.to_le_bytes());
    head
}

/// The same of a memoryview of bytes.
pub(crate) fn view_head(len: u64) -> SmallVec<[u8; 128]> {
    let mut head = SmallVec::new();
    head.push(VIEW);
    head.extend_from_slice(&len.to_le_bytes());
    head
}

/// Packs one value.
pub(crate) fn value(value: &Bound<'_, PyAny>) -> PyResult<Packed> {
    let mut packed = Packed::default();
    if let Ok(bytes) = value.cast_exact::<PyBytes>()
        && bytes.as_bytes().len() > SMALL
    {
        packed.head.push(BYTES);
        packed.put_len(bytes.as_bytes().len());
        packed.buffers.push(Buffer::of(value)?);
        return Ok(packed);
    }
    packed.head.push(PLAIN);
    let mut nodes = 0;
    if plain(&mut packed, value, &mut nodes, 0)? {
        return Ok(packed);
    }
    packed = Packed::default();
    if is_array(value)? && array(&mut packed, value) {
        return Ok(packed);
    }
    if value.is_exact_instance_of::<PyMemoryView>() && view(&mut packed, value) {
        return Ok(packed);
    }
    pickle(value)
}

/// Appends a plain value; false if it is not plain (the head is then spoilt). A container inside of
/// another is plain only if that one has the sole reference to it, besides `ours`: then pickle's
/// memo could not matter.
fn plain(
    packed: &mut Packed,
    value: &Bound<'_, PyAny>,
    nodes: &mut usize,
    ours: isize,
) -> PyResult<bool> {
    *nodes += 1;
    if *nodes > MAX_NODES {
        return Ok(false);
    }
    if value.is_none() {
        packed.head.push(tag::NONE);
    } else if let Ok(int) = value.cast_exact::<PyInt>() {
        let Ok(int) = int.extract::<i64>() else { return Ok(false) };
        packed.head.push(tag::INT);
        packed.head.extend_from_slice(&int.to_le_bytes());
    } else if let Ok(text) = value.cast_exact::<PyString>() {
        // A lone surrogate has no UTF-8; pickle knows what to do with it.
        let Ok(text) = text.to_str() else { return Ok(false) };
        packed.put_tagged(tag::STR, text.as_bytes());
    } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
        packed.put_tagged(tag::BYTES, bytes.as_bytes());
    } else if let Ok(float) = value.cast_exact::<PyFloat>() {
        packed.head.push(tag::FLOAT);
        packed.head.extend_from_slice(&float.value().to_le_bytes());
    } else if let Ok(truth) = value.cast_exact::<PyBool>() {
        packed.head.push(if truth.is_true() { tag::TRUE } else { tag::FALSE });
    } else if let Ok(reference) = value.cast_exact::<ObjectRef>() {
        let id = reference.get().check_current()?;
        packed.head.push(tag::REF);
        put_object(&mut packed.head, id);
        packed.kept.hold(Session::require()?, Held::Object(id));
    } else if let Some(task) = shared_stream(value) {
        packed.head.push(tag::STREAM);
        packed.head.extend_from_slice(&task.0.to_le_bytes());
        packed.kept.hold(Session::require()?, Held::Stream(task));
        // Whoever gets it may read what is here, and from now on there is more than one reader.
        if let Ok(stream) = value.cast::<Stream>() {
            stream.get().return_ahead();
        }
    } else if *nodes > 1 && ref_count(value) > 1 + ours {
        return Ok(false);
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        packed.head.push(tag::TUPLE);
        packed.put_len(tuple.len());
        for item in tuple.iter_borrowed() {
            if !plain(packed, &item, nodes, 0)? {
                return Ok(false);
            }
        }
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        packed.head.push(tag::LIST);
        packed.put_len(list.len());
        for item in list.iter() {
            if !plain(packed, &item, nodes, 1)? {
                return Ok(false);
            }
        }
    } else if let Ok(dict) = value.cast_exact::<PyDict>() {
        packed.head.push(tag::DICT);
        packed.put_len(dict.len());
        for (key, item) in dict.iter() {
            if !plain(packed, &key, nodes, 1)? || !plain(packed, &item, nodes, 1)? {
                return Ok(false);
            }
        }
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// The task of a streaming generator of this session, of the class that skate makes.
fn shared_stream(value: &Bound<'_, PyAny>) -> Option<TaskId> {
    let stream = value.cast::<Stream>().ok()?;
    let (streaming, _) = modules::generators(value.py()).ok()?;
    let is_plain = value.get_type_ptr().cast() == streaming.as_ptr();
    stream.get().shared_task().filter(|_| is_plain && stream.get().is_current())
}

fn ref_count(value: &Bound<'_, PyAny>) -> isize {
    #[allow(unsafe_code, reason = "the reference count has no safe accessor")]
    // SAFETY: `value` is a live object and we are attached to the interpreter.
    unsafe {
        ffi::Py_REFCNT(value.as_ptr())
    }
}

/// Appends the 12 bytes of an object's id.
pub(crate) fn put_object(head: &mut SmallVec<[u8; 128]>, id: ObjectId) {
    head.extend_from_slice(&id.task.0.to_le_bytes());
    head.extend_from_slice(&id.index.to_le_bytes());
}

fn is_array(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let Some(ndarray) = modules::ndarray(value.py())? else { return Ok(false) };
    Ok(value.get_type_ptr().cast() == ndarray.as_ptr())
}

/// Whether items of that format are native numbers: bytes without pointers.
pub(crate) fn is_number(format: &[u8]) -> bool {
    matches!(format, [b] if b"?bBhHiIlLqQefdg".contains(b))
        || matches!(format, [b'Z', b] if b"fdg".contains(b))
}

/// Packs a C-contiguous array of native numbers; false for any other.
fn array(packed: &mut Packed, value: &Bound<'_, PyAny>) -> bool {
    // dtypes without a buffer format (datetime64, for one) raise here.
    let Ok(buffer) = Buffer::of(value) else { return false };
    let format = buffer.format();
    if !is_number(format) || !buffer.is_c_contiguous() {
        return false;
    }
    let shape: SmallVec<[u64; 4]> = buffer.shape().iter().map(|extent| *extent as u64).collect();
    packed.head = array_head(format, &shape, buffer.len() as u64);
    packed.buffers.push(buffer);
    true
}

/// Packs a contiguous memoryview of bytes; false for any other.
fn view(packed: &mut Packed, value: &Bound<'_, PyAny>) -> bool {
    let Ok(buffer) = Buffer::of(value) else { return false };
    if buffer.format() != b"B" || buffer.shape().len() != 1 {
        return false;
    }
    packed.head = view_head(buffer.len() as u64);
    packed.buffers.push(buffer);
    true
}

/// Handles on what a value contains. While the rest is packed, which may be user code, and while it is
/// written, other threads may drop theirs, or move the cursor of a generator on. Dropped when the value
/// has been sent.
#[derive(Default)]
pub(crate) struct Kept(Vec<(Arc<Session>, Held)>);

impl Kept {
    fn hold(&mut self, session: Arc<Session>, held: Held) {
        session.hold(held);
        self.0.push((session, held));
    }

    /// What the node is told of.
    pub(crate) fn holds(&self) -> Box<[Held]> {
        self.0.iter().map(|(_, held)| *held).collect()
    }

    pub(crate) fn absorb(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for (session, held) in self.0.drain(..) {
            session.release(held);
        }
    }
}

thread_local! {
    /// What the pickles under way on this thread contain, innermost last.
    static CONTAINED: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// Called by `__reduce__` of a handle: true if a skate call is pickling, which keeps it alive from here on.
pub(crate) fn note_contained(session: &Arc<Session>, held: Held) -> bool {
    CONTAINED.with_borrow_mut(|stack| match stack.last_mut() {
        Some(kept) => {
            kept.hold(Arc::clone(session), held);
            true
        }
        None => false,
    })
}

fn contained_while<T>(pickle: impl FnOnce() -> PyResult<T>) -> PyResult<(T, Kept)> {
    CONTAINED.with_borrow_mut(|stack| stack.push(Kept::default()));
    let result = pickle();
    let kept = CONTAINED.with_borrow_mut(Vec::pop).unwrap_or_default();
    Ok((result?, kept))
}

/// What would come out of a pickle of the value. What it contains is kept alive meanwhile only.
pub(crate) fn round_trip<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    let serialization = modules::serialization(py)?;
    let dump = || serialization.call_method1(intern!(py, "dumps"), (value,));
    let (dumped, _kept) = contained_while(dump)?;
    serialization.call_method1(intern!(py, "loads"), dumped.cast_into::<PyTuple>()?)
}

/// Packs by cloudpickle.
pub(crate) fn pickle(value: &Bound<'_, PyAny>) -> PyResult<Packed> {
    let py = value.py();
    let dumps = modules::serialization(py)?.getattr(intern!(py, "dumps"))?;
    let (dumped, kept) = contained_while(|| dumps.call1((value,)))?;
    let (data, raw) = dumped.extract::<(Bound<'_, PyBytes>, Bound<'_, PyList>)>()?;
    let mut packed = Packed { kept, ..Packed::default() };
    for buffer in raw.iter() {
        // `raw` is the flat memory of a contiguous buffer, C or Fortran.
        packed.buffers.push(Buffer::of(&buffer.call_method0(intern!(py, "raw"))?)?);
    }
    packed.head.push(PICKLE);
    packed.put_len(packed.buffers.len());
    let lens: SmallVec<[usize; 4]> = packed.buffers.iter().map(Buffer::len).collect();
    lens.into_iter().for_each(|len| packed.put_len(len));
    packed.put_len(data.as_bytes().len());
    packed.head.extend_from_slice(data.as_bytes());
    Ok(packed)
}

/// The packed arguments of a call.
pub(crate) struct PackedArgs {
    pub(crate) packed: Packed,
    /// Refs that stand for whole arguments, in the order of their numbers.
    pub(crate) waits: Vec<ObjectId>,
}

/// Entry kinds of ARGS.
pub(crate) mod entry {
    pub(crate) const VALUE: u8 = 0;
    pub(crate) const AWAITED: u8 = 1;
}

/// Packs the arguments of a call; `explain` turns an error into one that names the argument.
pub(crate) fn args(
    args: &Bound<'_, PyTuple>,
    kwargs: &Bound<'_, PyDict>,
    explain: impl Fn(PyErr, &str) -> PyErr,
) -> PyResult<PackedArgs> {
    let mut call = PackedArgs { packed: Packed::default(), waits: Vec::new() };
    call.packed.head.push(ARGS);
    call.packed.put_len(0);
    call.packed.head.extend_from_slice(&(args.len() as u32).to_le_bytes());
    call.packed.head.extend_from_slice(&(kwargs.len() as u32).to_le_bytes());
    // The buffers of all arguments go behind the heads of all, so a head is one run of bytes.
    for (place, argument) in args.iter_borrowed().enumerate() {
        put_argument(&mut call, &argument).map_err(|error| explain(error, &place.to_string()))?;
    }
    for (name, argument) in kwargs.iter() {
        let name = name.cast_into::<PyString>()?;
        let name = name.to_str()?;
        call.packed.put_tagged(tag::STR, name.as_bytes());
        put_argument(&mut call, &argument).map_err(|error| explain(error, name))?;
    }
    let head_len = call.packed.head.len() as u64;
    call.packed.head[1..9].copy_from_slice(&head_len.to_le_bytes());
    Ok(call)
}

fn put_argument(call: &mut PackedArgs, argument: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Ok(reference) = argument.cast_exact::<ObjectRef>() {
        call.packed.head.push(entry::AWAITED);
        call.packed.head.extend_from_slice(&(call.waits.len() as u32).to_le_bytes());
        call.waits.push(reference.get().check_current()?);
        return Ok(());
    }
    let Packed { head, buffers, kept, in_place: _ } = value(argument)?;
    call.packed.head.push(entry::VALUE);
    call.packed.put_len(head.len());
    call.packed.head.extend_from_slice(&head);
    call.packed.buffers.extend(buffers);
    call.packed.kept.absorb(kept);
    Ok(())
}
