//! One task in its worker: unpack, call, pack, publish.
//!
//! ```text
//!   plain function   call ─▶ pack every return ─▶ Finished(Returned)
//!   generator        next ─▶ pack ─▶ window of bytes full? wait ─▶ Yielded ─▶ drop the item
//!                     │ ▲              window of items full? wait ◀─┘
//!                     │ └─ closed? GeneratorExit at this yield ◀─┘
//!                     └ end ─▶ Finished(Exhausted)      exception ─▶ Finished(Raised)
//! ```
//!
//! Invariants: an item is released before the generator is resumed, so one item lives at a time.
//! Whatever user code does ends in exactly one `Finished`, unless it ends the process.

use std::sync::Arc;

use pyo3::exceptions::{
    PyBaseException, PyKeyboardInterrupt, PyOverflowError, PyStopIteration, PySystemExit,
    PyTypeError, PyValueError,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::iterator::PySendResult;
use pyo3::types::{PyBytes, PyIterator, PyList, PyTuple};
use skate_core::action::Run;
use skate_core::event::{End, Held, Leave, Outcome, Request, Returns, Within};
use skate_core::id::{ActorId, TaskId};
use skate_core::value::{Bytes, NONE, Payload, Value};

use crate::actor_ref::actor_bytes;
use crate::arguments;
use crate::modules;
use crate::object_ref::hex;
use crate::pace::Pace;
use crate::pack::{self, Packed};
use crate::placing::Owed;
use crate::prepared::{Limits, Prepared};
use crate::session::Session;
use crate::wire::RetryOn;
use crate::worker::{Credit, Worker, outlive};

/// Why an attempt ended early.
pub(crate) enum Stop {
    /// An exception of user code, or one that stands for a mistake of it.
    Raised(PyErr),
    /// All returns were made before this exception: nobody's `get` can raise it.
    Unhandled(PyErr),
    /// It was cancelled, and has ended for that.
    Cancelled,
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

/// How an attempt ended well.
pub(crate) enum Success<'a> {
    Returned(Vec<(Value, Box<[Held]>)>, Owed<'a>),
    Exhausted(Value, Box<[Held]>, Owed<'a>),
}

pub(crate) struct Task<'a, 'py> {
    worker: &'a Worker,
    session: &'a Arc<Session>,
    py: Python<'py>,
    run: &'a Run,
    name: Arc<str>,
    /// Items yielded so far, those skipped in a replay included.
    pub(crate) yielded: u64,
    /// Bytes of those that were stored, by earlier attempts too.
    pub(crate) stored_bytes: u64,
    pace: Pace,
}

/// A packed value that lies where it stays, and what to give back once it is sent.
pub(crate) type Placed<'a> = (Value, Box<[Held]>, Owed<'a>);

/// Runs one claimed task and reports how it ended. An error here ends the worker.
pub(crate) fn execute(
    worker: &Worker,
    session: &Arc<Session>,
    py: Python<'_>,
    run: Run,
) -> PyResult<()> {
    let began_ns = crate::monotonic_ns();
    let running = Arc::new(worker.running(&run));
    worker.current.set(Some(Arc::clone(&running)));
    let prepared = worker.prepared(py, run.template, &running);
    let mut task = Task::new(worker, session, py, &run, Arc::clone(&running.name));
    // Once its end is told, nothing here holds the instance of an actor any more.
    drop(running);
    let retry = prepared.as_ref().map_or(RetryOn::Nothing, |prepared| prepared.retry.clone());
    let result = match prepared {
        // The exception that said so may have ended in a destructor of what was dropped.
        Ok(prepared) if !prepared.is_of_actor && worker.is_cancelled() => Err(Stop::Cancelled),
        Ok(prepared) => task.perform(&prepared),
        Err(error) => Err(Stop::Raised(error)),
    };
    conclude(&mut task, result, &retry, began_ns)
}

/// Reports how an attempt ended. An error here ends the worker.
pub(crate) fn conclude<'a>(
    task: &mut Task<'a, '_>,
    result: Result<Success<'a>, Stop>,
    retry: &RetryOn,
    began_ns: u64,
) -> PyResult<()> {
    let (worker, session, py) = (task.worker, task.session, task.py);
    let mut unhandled = None;
    let (end, owed) = match result {
        Ok(Success::Returned(values, owed)) => (End::Returned(values), owed),
        Ok(Success::Exhausted(value, holds, owed)) => {
            (End::Exhausted(task.yielded, value, holds), owed)
        }
        Err(Stop::Raised(error)) => match task.end_of(error, retry) {
            // While the error was put into words.
            Err(error) if task.is_cancel(&error) => task.cancelled(),
            end => end?,
        },
        Err(Stop::Cancelled) => task.cancelled(),
        Err(Stop::Unhandled(error)) => {
            match task.packed_error(error) {
                Ok(packed) => unhandled = Some(Bytes::from(&packed.to_vec()[..])),
                Err(error) if task.is_cancel(&error) => {}
                Err(error) => return Err(error),
            }
            let none = Value::Data(Payload::Inline(NONE.into()));
            (End::Exhausted(task.yielded, none, Box::default()), session.owed())
        }
    };
    let flushed = modules::worker(py)?.call_method0(intern!(py, "before_result"));
    outlive(py, flushed.map(drop))?;
    worker.end_waits(session);
    worker.current.set(None);
    worker.nap(session, |naps, tell| naps.ended(task.run.ticket, tell));
    let is_last = matches!(end, End::Left(_));
    let ran_ns = crate::monotonic_ns().saturating_sub(began_ns);
    session.send(Request::Finished(task.run.ticket, Outcome { end, began_ns, ran_ns, unhandled }));
    drop(owed);
    if is_last {
        worker.leave(0);
    }
    Ok(())
}

impl<'a, 'py> Task<'a, 'py> {
    pub(crate) fn new(
        worker: &'a Worker,
        session: &'a Arc<Session>,
        py: Python<'py>,
        run: &'a Run,
        name: Arc<str>,
    ) -> Self {
        Self {
            worker,
            session,
            py,
            run,
            name,
            yielded: 0,
            stored_bytes: run.skip_bytes,
            pace: Pace::default(),
        }
    }

    fn perform(&mut self, prepared: &Prepared) -> Result<Success<'a>, Stop> {
        let result = self.invoke(prepared)?;
        self.settle(prepared, result)
    }

    /// Calls the function.
    pub(crate) fn invoke(&self, prepared: &Prepared) -> PyResult<Bound<'py, PyAny>> {
        let (args, kwargs) = arguments::of(self.session, self.py, self.run)?;
        let function = prepared.function.bind(self.py);
        function.call(args, kwargs.as_ref())
    }

    /// Does with its result what the caller asked for.
    pub(crate) fn settle(
        &mut self,
        prepared: &Prepared,
        result: Bound<'py, PyAny>,
    ) -> Result<Success<'a>, Stop> {
        let is_generator = is_generator(&result);
        match prepared.returns {
            Returns::Static(_) if is_generator => self.drive_static(result, prepared.limits),
            Returns::Static(count) => Ok(self.returned(result, count)?),
            Returns::Dynamic | Returns::Streaming if is_generator => {
                let (value, holds, owed) = self.drive(result, prepared.limits)?;
                Ok(Success::Exhausted(value, holds, owed))
            }
            Returns::Dynamic => Err(self.no_generator("dynamic", &result).into()),
            Returns::Streaming => Err(self.no_generator("streaming", &result).into()),
        }
    }

    fn no_generator(&self, mode: &str, result: &Bound<'_, PyAny>) -> PyErr {
        let kind = result.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
        PyValueError::new_err(format!(
            "Functions with @ray.remote(num_returns=\"{mode}\" must return a generator; {} \
             returned {kind}",
            self.name
        ))
    }

    /// The returns of a plain function.
    fn returned(&self, result: Bound<'py, PyAny>, count: u32) -> PyResult<Success<'a>> {
        let mut owed = self.session.owed();
        let values = match count {
            0 => Vec::new(),
            1 => vec![self.published(&result, "the return value", &mut owed)?],
            count => {
                let items: Vec<Bound<'_, PyAny>> = if let Ok(tuple) = result.cast::<PyTuple>() {
                    tuple.iter().collect()
                } else if let Ok(list) = result.cast::<PyList>() {
                    list.iter().collect()
                } else {
                    result.try_iter()?.collect::<PyResult<_>>()?
                };
                if items.len() != count as usize {
                    return Err(self.wrong_count(items.len() as u64, u64::from(count)));
                }
                let publish =
                    |item: &Bound<'_, PyAny>| self.published(item, "a return value", &mut owed);
                items.iter().map(publish).collect::<PyResult<_>>()?
            }
        };
        Ok(Success::Returned(values, owed))
    }

    pub(crate) fn wrong_count(&self, got: u64, asked: u64) -> PyErr {
        PyValueError::new_err(format!(
            "Task returned {got} objects, but num_returns={asked}. ({} gave {got} where {asked} were \
             asked for)",
            self.name
        ))
    }

    /// Packs a value and puts its bytes where they stay.
    fn published(
        &self,
        value: &Bound<'_, PyAny>,
        what: &str,
        owed: &mut Owed<'_>,
    ) -> PyResult<(Value, Box<[Held]>)> {
        let packed = self.packed(value, what)?;
        let payload = self.session.place(self.py, &packed, owed, Within::MemoryOrDisk)?;
        Ok((Value::Data(payload), owed.take_over(packed.kept)))
    }

    fn packed(&self, value: &Bound<'_, PyAny>, what: &str) -> PyResult<Packed> {
        pack::object(value).map_err(|error| {
            if !error.is_instance_of::<PyTypeError>(self.py) {
                return error;
            }
            let text =
                format!("Could not serialize {what} of {}: {}", self.name, error.value(self.py));
            let explained = PyTypeError::new_err(text);
            explained.set_cause(self.py, error.cause(self.py));
            explained
        })
    }

    /// A generator whose number of items was promised.
    fn drive_static(
        &mut self,
        result: Bound<'py, PyAny>,
        limits: Limits,
    ) -> Result<Success<'a>, Stop> {
        let count = limits.items.unwrap_or_default();
        match self.drive(result, limits) {
            // A replay that is shorter than what was published is the node's to tell.
            Ok((value, holds, owed)) if self.yielded >= count || self.yielded < self.run.skip => {
                Ok(Success::Exhausted(value, holds, owed))
            }
            Ok(_) => Err(self.wrong_count(self.yielded, count).into()),
            Err(Stop::Raised(error)) if self.yielded >= count && !limits.is_strict => {
                if self.is_cancel(&error) {
                    // It came after the last value, so it is no error of anything.
                    let none = Value::Data(Payload::Inline(NONE.into()));
                    return Ok(Success::Exhausted(none, Box::default(), self.session.owed()));
                }
                Err(Stop::Unhandled(error))
            }
            Err(stop) => Err(stop),
        }
    }

    /// Runs a generator to its end: its return value.
    fn drive(&mut self, result: Bound<'py, PyAny>, limits: Limits) -> Result<Placed<'a>, Stop> {
        let generator = result.cast_into::<PyIterator>().map_err(PyErr::from)?;
        let none = self.py.None().into_bound(self.py);
        // The last return of a strict one.
        let mut last = None;
        loop {
            if self.is_closed() {
                return self.close(&generator);
            }
            let item = match self.step(&generator, &none)? {
                PySendResult::Next(item) => item,
                PySendResult::Return(value) => {
                    if let Some(last) = last {
                        self.send_item(self.yielded - 1, last);
                    }
                    let mut owed = self.session.owed();
                    let (value, holds) = self.published(&value, "the return value", &mut owed)?;
                    return Ok((value, holds, owed));
                }
            };
            if let Some(limit) = limits.items.filter(|limit| self.yielded >= *limit) {
                return Err(self.one_too_many(&generator, limit, limits.is_strict));
            }
            let placed = match self.place_item(item, limits.window_bytes) {
                Ok(placed) => placed,
                Err(error) => {
                    // The body learns of it by GeneratorExit; what it raises then is not the news.
                    let _ = generator.call_method0(intern!(self.py, "close"));
                    return Err(error.into());
                }
            };
            self.yielded += 1;
            match placed {
                Some(placed) if limits.is_strict && limits.items == Some(self.yielded) => {
                    last = Some(placed);
                }
                Some(placed) => self.send_item(self.yielded - 1, placed),
                None => {}
            }
            if let Some(window) = limits.window
                && self.yielded >= u64::from(window)
            {
                let until = Credit::Items(self.yielded - u64::from(window) + 1);
                self.worker.wait_for_credit(self.session, self.py, self.run.ticket, until)?;
            }
        }
    }

    /// What the body does next. A signal that Python has not looked for (it does not while C code yields,
    /// as in `yield from range(n)`) is handled here, and raised where the body stands.
    fn step(
        &self,
        generator: &Bound<'py, PyIterator>,
        none: &Bound<'py, PyAny>,
    ) -> PyResult<PySendResult<'py>> {
        let slot = self.worker.slot(self.run.ticket);
        let signal =
            if slot.is_cancelled(self.run.ticket.0) { self.py.check_signals().err() } else { None };
        let Some(signal) = signal else { return generator.send(none) };
        if !generator.hasattr(intern!(self.py, "throw"))? {
            return Err(signal);
        }
        match generator.call_method1(intern!(self.py, "throw"), (signal,)) {
            Ok(item) => Ok(PySendResult::Next(item)),
            Err(error) if error.is_instance_of::<PyStopIteration>(self.py) => {
                let value = error.value(self.py).getattr(intern!(self.py, "value"))?;
                Ok(PySendResult::Return(value))
            }
            Err(error) => Err(error),
        }
    }

    /// A static generator goes on after its last return.
    fn one_too_many(
        &self,
        generator: &Bound<'py, PyIterator>,
        limit: u64,
        is_strict: bool,
    ) -> Stop {
        if let Err(error) = generator.call_method0(intern!(self.py, "close")) {
            return Stop::Raised(error);
        }
        self.too_many(limit, is_strict)
    }

    /// Whether that is how a cancelled task ends.
    fn is_cancel(&self, error: &PyErr) -> bool {
        error.is_instance_of::<PyKeyboardInterrupt>(self.py) && self.worker.is_cancelled()
    }

    /// It yielded more than was asked for.
    pub(crate) fn too_many(&self, limit: u64, is_strict: bool) -> Stop {
        let error = PyValueError::new_err(format!(
            "Task returned more than num_returns={limit} objects. ({} yielded at least {} where \
             {limit} were asked for)",
            self.name,
            limit + 1
        ));
        if is_strict { Stop::Raised(error) } else { Stop::Unhandled(error) }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.worker.slot(self.run.ticket).is_stream_closed(self.run.ticket.0)
    }

    /// `GeneratorExit` at the yield where the generator stands. What it raises has no reader left.
    fn close(&self, generator: &Bound<'py, PyIterator>) -> Result<Placed<'a>, Stop> {
        match generator.call_method0(intern!(self.py, "close")) {
            Ok(_) => {
                let none = Value::Data(Payload::Inline(NONE.into()));
                Ok((none, Box::default(), self.session.owed()))
            }
            Err(error) if error.is_instance_of::<PyKeyboardInterrupt>(self.py) => {
                Err(Stop::Raised(error))
            }
            Err(error) => Err(Stop::Unhandled(error)),
        }
    }

    /// Puts one item where it stays, and lets go of it. None if nobody needs it.
    fn place_item(
        &mut self,
        item: Bound<'py, PyAny>,
        window_bytes: Option<u64>,
    ) -> PyResult<Option<Placed<'a>>> {
        let Some(packed) = self.packed_item(item)? else { return Ok(None) };
        let (slot, ticket) = (self.worker.slot(self.run.ticket), self.run.ticket);
        let need = packed.len() as u64;
        if let Some(limit) = window_bytes {
            let until = Credit::Bytes { stored: self.stored_bytes, need, limit };
            self.worker.wait_for_credit(self.session, self.py, ticket, until)?;
            if slot.is_stream_dropped(ticket.0) || slot.is_stream_closed(ticket.0) {
                return Ok(None);
            }
        }
        Ok(Some(self.place_packed(packed)?))
    }

    /// The next item as bytes, and lets go of it. None if nobody needs it.
    pub(crate) fn packed_item(&self, item: Bound<'py, PyAny>) -> PyResult<Option<Packed>> {
        if self.yielded + 1 >= TaskId::MOST_ITEMS {
            let text = format!("{} yielded more than {} items", self.name, TaskId::MOST_ITEMS - 1);
            return Err(PyOverflowError::new_err(text));
        }
        let slot = self.worker.slot(self.run.ticket);
        if self.yielded < self.run.skip || slot.is_stream_dropped(self.run.ticket.0) {
            return Ok(None);
        }
        self.packed(&item, &format!("item {}", self.yielded)).map(Some)
    }

    /// Puts the bytes of an item where they stay.
    pub(crate) fn place_packed(&mut self, packed: Packed) -> PyResult<Placed<'a>> {
        let mut owed = self.session.owed();
        let payload = self.session.place(self.py, &packed, &mut owed, Within::MemoryOrDisk)?;
        self.stored_bytes += packed.len() as u64;
        let holds = owed.take_over(packed.kept);
        Ok((Value::Data(payload), holds, owed))
    }

    pub(crate) fn send_item(&mut self, index: u64, (value, holds, owed): Placed<'a>) {
        let at_ns = self.pace.note_yield();
        self.session.send(Request::Yielded(self.run.ticket, index, value, holds, at_ns));
        drop(owed);
    }

    /// The end of an attempt that raised. `Err` is an exception that ends the worker.
    fn end_of(&self, error: PyErr, retry: &RetryOn) -> PyResult<(End, Owed<'a>)> {
        let py = self.py;
        let mut owed = self.session.owed();
        if self.is_cancel(&error) {
            return Ok(self.cancelled());
        }
        if let Some(leave) = self.leaves(&error)? {
            return Ok((End::Left(leave), owed));
        }
        if error.is_instance_of::<PySystemExit>(py) {
            return Err(error);
        }
        let retry = match retry {
            RetryOn::Nothing => false,
            RetryOn::Everything => true,
            RetryOn::Classes(classes) => self
                .asked(|| {
                    modules::worker(py)?.call_method1(
                        intern!(py, "is_retryable"),
                        (error.value(py), PyBytes::new(py, classes)),
                    )
                })?
                .is_truthy()?,
        };
        let consumed = if retry { self.worker.consumed_note() } else { None };
        let retry = retry && consumed.is_none();
        if let Some(note) = consumed {
            // An exception without notes is told without it.
            let _ = error.value(py).call_method1(intern!(py, "add_note"), (note,));
        }
        let packed = self.packed_error(error)?;
        let yielded = self.yielded;
        // In memory only: it may become that of several objects.
        let error = match self.session.place(py, &packed, &mut owed, Within::Memory) {
            Ok(payload) => Value::Raised(payload),
            // No room even for the error: it travels as text.
            Err(full) => {
                Value::Raised(Payload::Inline(Bytes::from(&self.packed_error(full)?.to_vec()[..])))
            }
        };
        let holds = owed.take_over(packed.kept);
        Ok((End::Raised { error, holds, retry, yielded }, owed))
    }

    /// Whether the exception is the way in which an actor's code ends the actor.
    fn leaves(&self, error: &PyErr) -> PyResult<Option<Leave>> {
        if !self.is_of_actor() {
            return Ok(None);
        }
        let way = self.asked(|| {
            modules::actor_worker(self.py)?
                .call_method1(intern!(self.py, "way_out"), (error.value(self.py),))
        })?;
        Ok(match way.extract::<Option<u8>>()? {
            None => None,
            Some(0) => Some(Leave::ExitActor),
            Some(1) => Some(Leave::Terminate),
            Some(_) => Some(Leave::ExitCodeZero),
        })
    }

    /// What Python code of skate says of an exception; asked again if a handler of the program's raised as it began,
    /// for the handler's work is done then.
    fn asked<T>(&self, ask: impl Fn() -> PyResult<T>) -> PyResult<T> {
        match ask() {
            Err(failed)
                if !self.is_cancel(&failed) && !failed.is_instance_of::<PySystemExit>(self.py) =>
            {
                ask()
            }
            said => said,
        }
    }

    fn is_of_actor(&self) -> bool {
        let running = self.worker.current.get();
        running.is_some_and(|running| {
            running.prepared.get().is_some_and(|prepared| prepared.is_of_actor)
        })
    }

    fn cancelled(&self) -> (End, Owed<'a>) {
        (End::Cancelled(std::process::id()), self.session.owed())
    }

    /// What the caller is told of an exception. User code takes part in that, and may raise whatever it likes:
    /// then it is told as text.
    fn packed_error(&self, error: PyErr) -> PyResult<Packed> {
        // `into_value`, because only it hands over the traceback, too.
        let error = error.into_value(self.py);
        match self.told(&error, "task_error") {
            Err(failed) if !self.is_cancel(&failed) => self.told(&error, "task_error_as_text"),
            packed => packed,
        }
    }

    /// The exception in the form that the function of that name gives it, as bytes.
    fn told(&self, error: &Py<PyBaseException>, form: &str) -> PyResult<Packed> {
        let py = self.py;
        let is_constructor = self.worker.actor() == Some(ActorId(self.run.task));
        let name =
            if is_constructor { format!("{}.__init__", self.name) } else { self.name.to_string() };
        let error = modules::worker(py)?.call_method1(form, (error, name))?;
        let error = if is_constructor {
            let actor = hex(&actor_bytes(self.session.nonce, ActorId(self.run.task)));
            modules::actor_worker(py)?.call_method1(intern!(py, "init_error"), (error, actor))?
        } else {
            error
        };
        pack::pickle(&error)
    }
}

/// Whether it is what a generator function gives. Other iterators are plain values.
fn is_generator(result: &Bound<'_, PyAny>) -> bool {
    result.get_type().name().is_ok_and(|name| name == "generator")
        && result.hasattr(intern!(result.py(), "gi_frame")).unwrap_or(false)
}
