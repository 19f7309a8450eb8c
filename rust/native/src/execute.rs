//! One task in its worker: unpack, call, pack, publish.
//!
//! ```text
//!   plain function   call ─▶ pack every return ─▶ Finished(Returned)
//!   generator        next ─▶ pack ─▶ Yielded ─▶ drop the item ─▶ window full? wait ─▶ next …
//!                      └ end ─▶ Finished(Exhausted)      └ exception ─▶ Finished(Raised)
//! ```
//!
//! Invariants: an item is released before the generator is resumed, so one item lives at a time.
//! Whatever user code does ends in exactly one `Finished`, unless it ends the process.

use std::sync::Arc;
use std::time::Instant;

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::iterator::PySendResult;
use pyo3::types::{PyBytes, PyIterator, PyList, PyTuple};
use skate_core::action::Run;
use skate_core::event::{End, Held, Outcome, Request, Returns, Template};
use skate_core::value::{Bytes, NONE, Payload, Value};

use crate::modules;
use crate::pack::{self, Packed};
use crate::session::{Owed, Session};
use crate::unpack;
use crate::view::Pinned;
use crate::wire::{self, RetryOn, TemplateBody};
use crate::worker::Worker;

/// A template as its worker uses it.
pub(crate) struct Prepared {
    name: Arc<str>,
    pub(crate) function: Py<PyAny>,
    /// By name, in units of 1/10000.
    pub(crate) resources: Box<[(Arc<str>, u64)]>,
    returns: Returns,
    window: Option<u32>,
    retry: RetryOn,
}

impl Prepared {
    /// Unpickles the function.
    pub(crate) fn load(py: Python<'_>, template: &Template, function: &Bytes) -> PyResult<Self> {
        let load = modules::worker(py)?.getattr(intern!(py, "load_function"))?;
        let body: Option<TemplateBody> = wire::decode(&template.body);
        Ok(Self {
            name: Arc::clone(&template.name),
            function: load.call1((PyBytes::new(py, function),))?.unbind(),
            resources: template.resources.clone(),
            returns: template.returns,
            window: template.window,
            retry: body.map_or(RetryOn::Nothing, |body| body.retry),
        })
    }
}

/// Why an attempt ended early.
enum Stop {
    /// An exception of user code, or one that stands for a mistake of it.
    Raised(PyErr),
    /// All returns were made before this exception: nobody's `get` can raise it.
    Unhandled(PyErr),
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

/// How an attempt ended well.
enum Success<'a> {
    Returned(Vec<(Value, Box<[Held]>)>, Owed<'a>),
    Exhausted(Value, Box<[Held]>, Owed<'a>),
}

struct Task<'a, 'py> {
    worker: &'a Worker,
    session: &'a Arc<Session>,
    py: Python<'py>,
    run: &'a Run,
    name: Arc<str>,
    /// Items yielded so far, those skipped in a replay included.
    yielded: u64,
}

/// Runs one claimed task and reports how it ended. An error here ends the worker.
pub(crate) fn execute(
    worker: &Worker,
    session: &Arc<Session>,
    py: Python<'_>,
    run: Run,
) -> PyResult<()> {
    let started = Instant::now();
    let prepared = worker.prepared(py, run.template);
    let name = match (&run.name, &prepared) {
        (Some(name), _) => Arc::clone(name),
        (None, Ok(prepared)) => Arc::clone(&prepared.name),
        (None, Err(_)) => "function".into(),
    };
    worker.begin(&run, &name, prepared.as_ref().ok());
    let mut task = Task { worker, session, py, run: &run, name, yielded: 0 };
    let retry = prepared.as_ref().map_or(RetryOn::Nothing, |prepared| prepared.retry.clone());
    let result = match prepared {
        Ok(prepared) => task.perform(&prepared),
        Err(error) => Err(Stop::Raised(error)),
    };
    let mut unhandled = None;
    let (end, owed) = match result {
        Ok(Success::Returned(values, owed)) => (End::Returned(values), owed),
        Ok(Success::Exhausted(value, holds, owed)) => {
            (End::Exhausted(task.yielded, value, holds), owed)
        }
        Err(Stop::Raised(error)) => task.end_of(error, &retry)?,
        Err(Stop::Unhandled(error)) => {
            let packed = task.packed_error(error, &mut session.owed())?;
            unhandled = Some(Bytes::from(&packed.to_vec()[..]));
            let none = Value::Data(Payload::Inline(NONE.into()));
            (End::Exhausted(task.yielded, none, Box::default()), session.owed())
        }
    };
    modules::worker(py)?.call_method0(intern!(py, "before_result"))?;
    worker.end();
    let ran_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    session.send(Request::Finished(run.ticket, Outcome { end, ran_ns, unhandled }));
    drop(owed);
    Ok(())
}

impl<'a, 'py> Task<'a, 'py> {
    fn perform(&mut self, prepared: &Prepared) -> Result<Success<'a>, Stop> {
        let (args, kwargs) = self.arguments()?;
        let function = prepared.function.bind(self.py);
        let result = function.call(args, kwargs.as_ref())?;
        drop(kwargs);
        let is_generator = is_generator(&result);
        match prepared.returns {
            Returns::Static(count) if is_generator => self.drive_static(result, u64::from(count)),
            Returns::Static(count) => Ok(self.returned(result, count)?),
            Returns::Dynamic | Returns::Streaming if is_generator => {
                let (value, holds, owed) = self.drive(result, None, prepared.window)?;
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

    fn arguments(&self) -> PyResult<unpack::Arguments<'py>> {
        let (session, py, run) = (self.session, self.py, self.run);
        let block = match run.args_object {
            Some(object) => Pinned::hold(session, object, &run.args)?,
            None => None,
        };
        let Value::Data(payload) = &run.args else {
            return Err(PyValueError::new_err("the arguments of a task must be a value"));
        };
        unpack::args(py, payload, block.as_ref(), |index| {
            let (object, value) = run.resolved.get(index).ok_or_else(|| {
                PyValueError::new_err("an argument names a ref that the task does not wait for")
            })?;
            let block = Pinned::hold(session, *object, value)?;
            Ok(unpack::value(session, py, value, block.as_ref())?.into_bound(py))
        })
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
                    return Err(wrong_count(items.len() as u64, u64::from(count)));
                }
                let publish =
                    |item: &Bound<'_, PyAny>| self.published(item, "a return value", &mut owed);
                items.iter().map(publish).collect::<PyResult<_>>()?
            }
        };
        Ok(Success::Returned(values, owed))
    }

    /// Packs a value and puts its bytes where they stay.
    fn published(
        &self,
        value: &Bound<'_, PyAny>,
        what: &str,
        owed: &mut Owed<'_>,
    ) -> PyResult<(Value, Box<[Held]>)> {
        let packed = pack::value(value).map_err(|error| {
            if !error.is_instance_of::<PyTypeError>(self.py) {
                return error;
            }
            let text =
                format!("Could not serialize {what} of {}: {}", self.name, error.value(self.py));
            let explained = PyTypeError::new_err(text);
            explained.set_cause(self.py, Some(error));
            explained
        })?;
        owed.keep(&packed.holds);
        let payload = self.session.place(self.py, &packed, owed)?;
        Ok((Value::Data(payload), packed.holds.into()))
    }

    /// A generator whose number of items was promised.
    fn drive_static(&mut self, result: Bound<'py, PyAny>, count: u64) -> Result<Success<'a>, Stop> {
        match self.drive(result, Some(count), None) {
            Ok(_) if self.yielded < count => Err(wrong_count(self.yielded, count).into()),
            Ok((value, holds, owed)) => Ok(Success::Exhausted(value, holds, owed)),
            Err(Stop::Raised(error)) if self.yielded >= count => Err(Stop::Unhandled(error)),
            Err(stop) => Err(stop),
        }
    }

    /// Runs a generator to its end: its return value.
    fn drive(
        &mut self,
        result: Bound<'py, PyAny>,
        limit: Option<u64>,
        window: Option<u32>,
    ) -> Result<(Value, Box<[Held]>, Owed<'a>), Stop> {
        let generator = result.cast_into::<PyIterator>().map_err(PyErr::from)?;
        let none = self.py.None().into_bound(self.py);
        loop {
            let item = match generator.send(&none)? {
                PySendResult::Next(item) => item,
                PySendResult::Return(value) => {
                    let mut owed = self.session.owed();
                    let (value, holds) = self.published(&value, "the return value", &mut owed)?;
                    return Ok((value, holds, owed));
                }
            };
            if limit.is_some_and(|limit| self.yielded >= limit) {
                generator.call_method0(intern!(self.py, "close"))?;
                let text = format!(
                    "Task returned more than num_returns={} objects.",
                    limit.unwrap_or_default()
                );
                return Err(Stop::Unhandled(PyValueError::new_err(text)));
            }
            if let Err(error) = self.publish_item(item) {
                // The body learns of it by GeneratorExit; what it raises then is not the news.
                let _ = generator.call_method0(intern!(self.py, "close"));
                return Err(error.into());
            }
            self.yielded += 1;
            if let Some(window) = window
                && self.yielded >= u64::from(window)
            {
                let until = self.yielded - u64::from(window) + 1;
                self.worker.wait_for_credit(self.session, self.py, self.run.ticket, until)?;
            }
        }
    }

    /// Publishes one item and lets go of it.
    fn publish_item(&self, item: Bound<'py, PyAny>) -> PyResult<()> {
        let slot = self.worker.slot(self.run.ticket);
        if self.yielded < self.run.skip || slot.is_stream_dropped(self.run.ticket.0) {
            return Ok(());
        }
        let mut owed = self.session.owed();
        let (value, holds) = self.published(&item, "a yielded value", &mut owed)?;
        drop(item);
        self.session.send(Request::Yielded(self.run.ticket, self.yielded, value, holds));
        Ok(())
    }

    /// The end of an attempt that raised. `Err` is an exception that ends the worker.
    fn end_of(&self, error: PyErr, retry: &RetryOn) -> PyResult<(End, Owed<'a>)> {
        let py = self.py;
        let mut owed = self.session.owed();
        if error.is_instance_of::<PyKeyboardInterrupt>(py) && self.worker.is_cancelled() {
            return Ok((End::Cancelled, owed));
        }
        if error.is_instance_of::<PySystemExit>(py) {
            return Err(error);
        }
        let retry = match retry {
            RetryOn::Nothing => false,
            RetryOn::Everything => true,
            RetryOn::Classes(classes) => modules::worker(py)?
                .call_method1(
                    intern!(py, "is_retryable"),
                    (error.value(py), PyBytes::new(py, classes)),
                )?
                .is_truthy()?,
        };
        let packed = self.packed_error(error, &mut owed)?;
        let yielded = self.yielded;
        let error = match self.session.place(py, &packed, &mut owed) {
            Ok(payload) => Value::Raised(payload),
            // No room even for the error: it travels as text.
            Err(full) => Value::Raised(Payload::Inline(Bytes::from(
                &self.packed_error(full, &mut owed)?.to_vec()[..],
            ))),
        };
        let holds = packed.holds.into();
        Ok((End::Raised { error, holds, retry, yielded }, owed))
    }

    fn packed_error(&self, error: PyErr, owed: &mut Owed<'_>) -> PyResult<Packed> {
        let py = self.py;
        // `into_value`, because only it hands over the traceback, too.
        let error = modules::worker(py)?
            .call_method1(intern!(py, "task_error"), (error.into_value(py), &*self.name))?;
        let packed = pack::pickle(&error)?;
        owed.keep(&packed.holds);
        Ok(packed)
    }
}

fn wrong_count(got: u64, asked: u64) -> PyErr {
    PyValueError::new_err(format!("Task returned {got} objects, but num_returns={asked}."))
}

/// Whether it is what a generator function gives. Other iterators are plain values.
fn is_generator(result: &Bound<'_, PyAny>) -> bool {
    result.get_type().name().is_ok_and(|name| name == "generator")
        && result.hasattr(intern!(result.py(), "gi_frame")).unwrap_or(false)
}
