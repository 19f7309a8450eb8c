//! `Client`: the current session as Python sees it. Each method converts, calls, converts.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use skate_core::action::Reply;
use skate_core::event::{Cancel, OnDrop, Request, Returns, Span, Template as Definition};
use skate_core::group::{GroupSpec, GroupState};
use skate_core::id::{ActorId, ClientId, FunctionId, ObjectId, RequestId, TaskId, Ticket};

use crate::actor_ref::{ActorRef, actor_bytes};
use crate::answer::Asker;
use crate::define::{amounts, define, function_id, on_drop, retry_on, returns_of};
use crate::error::{self, Error};
use crate::fresh::Fresh;
use crate::host::Host;
use crate::inspect;
use crate::mailbox::Mailbox;
use crate::object_ref::{ObjectRef, hex, task_bytes};
use crate::pack;
use crate::serving::Serving;
use crate::session::{Session, Transport as _};
use crate::stream::Stream;
use crate::template::Template;
use crate::unpack;
use crate::view::Pinned;
use crate::waiting;
use crate::wire::{RetryOn, Serves, Target, TemplateBody};
use crate::worker::Worker;

enum Role {
    Driver(Arc<Host>),
    Worker(Arc<Worker>),
    /// Borrowed for one call by other classes of this crate.
    Any,
}

/// This process's connection to the node.
#[pyclass(frozen, module = "skate._native")]
pub(crate) struct Client {
    pub(crate) session: Arc<Session>,
    role: Role,
}

impl Client {
    pub(crate) const fn driver(session: Arc<Session>, host: Arc<Host>) -> Self {
        Self { session, role: Role::Driver(host) }
    }

    pub(crate) const fn worker(session: Arc<Session>, worker: Arc<Worker>) -> Self {
        Self { session, role: Role::Worker(worker) }
    }

    pub(crate) fn of(session: &Arc<Session>) -> Self {
        Self { session: Arc::clone(session), role: Role::Any }
    }

    fn host(&self, what: &'static str) -> Result<&Arc<Host>, Error> {
        match &self.role {
            Role::Driver(host) => Ok(host),
            Role::Worker(_) | Role::Any => Err(Error::DriverOnly(what)),
        }
    }

    /// The actor whose process this is.
    pub(crate) fn own_actor(&self) -> Option<ActorId> {
        match &self.role {
            Role::Worker(worker) => worker.actor(),
            Role::Driver(_) | Role::Any => None,
        }
    }

    fn values(&self, py: Python<'_>, ids: &[ObjectId], reply: Reply) -> PyResult<Vec<Py<PyAny>>> {
        // All pins are adopted before the first value is unpacked, which may raise.
        let session = &self.session;
        match reply {
            Reply::Values { values, pins: _ } => {
                let adopt = |(id, value): (&ObjectId, &_)| Pinned::adopt(session, py, *id, value);
                let blocks: Vec<_> = ids.iter().zip(&values).map(adopt).collect();
                let blocks = blocks.into_iter().collect::<Result<Vec<_>, _>>()?;
                let pairs = values.iter().zip(blocks);
                pairs
                    .map(|(value, block)| unpack::value(session, py, value, block.as_ref()))
                    .collect()
            }
            Reply::Error { place, value, pin: _ } => {
                let block = match ids.get(place as usize) {
                    Some(id) => Pinned::adopt(session, py, *id, &value)?,
                    None => None,
                };
                Ok(vec![unpack::value(session, py, &value, block.as_ref())?])
            }
            Reply::Failed(failure) => Err(Error::Failed(failure).into()),
            other => unreachable!("the node answers a get with {other:?}"),
        }
    }
}

/// Key, name, strategy, state, bundles.
type GroupRow = (String, String, String, &'static str, Vec<Vec<(String, u64)>>);

/// The task behind something that can be cancelled.
fn task_of(target: &Bound<'_, PyAny>) -> PyResult<TaskId> {
    if let Ok(reference) = target.cast_exact::<ObjectRef>() {
        return Ok(reference.get().check_current()?.task);
    }
    match target.cast::<Stream>() {
        Ok(stream) => Ok(stream.get().task()),
        Err(_) => Err(error::wrong_type("cancel", "an ObjectRef or a generator", target)),
    }
}

#[pymethods]
impl Client {
    /// The class that makes and finds actors.
    #[classattr]
    #[pyo3(name = "ActorRef")]
    fn actor_ref(py: Python<'_>) -> Py<pyo3::types::PyType> {
        py.get_type::<ActorRef>().unbind()
    }

    #[getter]
    fn can_spill(&self) -> bool {
        self.session.spill_file().is_some()
    }

    #[getter]
    const fn is_driver(&self) -> bool {
        matches!(self.role, Role::Driver(_))
    }

    #[getter]
    fn session(&self) -> String {
        hex(&self.session.nonce.to_be_bytes())
    }

    #[getter]
    fn pid(&self) -> u32 {
        std::process::id()
    }

    #[getter]
    fn client_id(&self) -> u32 {
        let ClientId(id) = self.session.client;
        id
    }

    #[allow(clippy::too_many_arguments, reason = "one call defines a whole template")]
    #[pyo3(signature = (name, function, resources, returns, max_retries, retry_exceptions, window, window_bytes, closes_on_drop, is_strict, /))]
    fn template(
        &self,
        name: &str,
        function: &[u8],
        resources: Vec<(String, u64)>,
        returns: i64,
        max_retries: i32,
        retry_exceptions: &Bound<'_, PyAny>,
        window: Option<u32>,
        window_bytes: Option<u64>,
        closes_on_drop: bool,
        is_strict: bool,
    ) -> PyResult<Template> {
        let session = &self.session;
        session.check()?;
        let target = Target::Function;
        let body = TemplateBody { retry: retry_on(retry_exceptions)?, is_strict, target };
        Ok(define(
            session,
            Definition {
                name: name.into(),
                function: function_id(function),
                lane: 0,
                resources: amounts(resources),
                returns: returns_of(returns)?,
                max_retries,
                window,
                window_bytes,
                on_drop: on_drop(closes_on_drop),
                body: body.encode(),
            },
            Some(function),
        ))
    }

    #[pyo3(signature = (name, cls, resources, serves, lanes, window, /))]
    fn constructor(
        &self,
        name: &str,
        cls: &[u8],
        resources: Vec<(String, u64)>,
        serves: &str,
        lanes: Vec<u32>,
        window: Option<u32>,
    ) -> PyResult<Template> {
        let session = &self.session;
        session.check()?;
        let serves = match serves {
            "threads" => Serves::Threads,
            "loop" => Serves::Loop,
            _ => Serves::InTurn,
        };
        let target = Target::Class(serves, lanes.into());
        Ok(define(
            session,
            Definition {
                name: name.into(),
                function: function_id(cls),
                lane: 0,
                resources: amounts(resources),
                returns: Returns::Static(0),
                max_retries: 0,
                window,
                window_bytes: None,
                on_drop: OnDrop::RunOn,
                body: TemplateBody { retry: RetryOn::Nothing, is_strict: false, target }.encode(),
            },
            Some(cls),
        ))
    }

    #[allow(clippy::too_many_arguments, reason = "one call defines a whole template")]
    #[pyo3(signature = (
        name, method, returns, max_retries, retry_exceptions, window, window_bytes, closes_on_drop, is_strict,
        lane, /
    ))]
    fn method(
        &self,
        name: &str,
        method: &str,
        returns: i64,
        max_retries: i32,
        retry_exceptions: &Bound<'_, PyAny>,
        window: Option<u32>,
        window_bytes: Option<u64>,
        closes_on_drop: bool,
        is_strict: bool,
        lane: u32,
    ) -> PyResult<Template> {
        let session = &self.session;
        session.check()?;
        let target = Target::Method(method.into());
        Ok(define(
            session,
            Definition {
                name: name.into(),
                function: FunctionId(0),
                lane,
                resources: Box::default(),
                returns: returns_of(returns)?,
                max_retries,
                window,
                window_bytes,
                on_drop: on_drop(closes_on_drop),
                body: TemplateBody { retry: retry_on(retry_exceptions)?, is_strict, target }
                    .encode(),
            },
            None,
        ))
    }

    #[pyo3(signature = (value, /))]
    fn put(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Py<ObjectRef>> {
        self.session.check()?;
        let packed = pack::object(value)?;
        let id = self.session.put(py, packed)?;
        self.session.own(py, id)
    }

    #[staticmethod]
    #[pyo3(signature = (value, /))]
    fn round_trip<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        pack::round_trip(value)
    }

    #[pyo3(signature = (format, shape, len, /))]
    fn empty(
        &self,
        py: Python<'_>,
        format: Option<&str>,
        shape: Vec<u64>,
        len: u64,
    ) -> PyResult<Fresh> {
        self.session.check()?;
        let head = match format {
            Some(format) => pack::array_head(format.as_bytes(), &shape, len),
            None => pack::view_head(len),
        };
        Fresh::new(&self.session, py, &head, len)
    }

    #[pyo3(signature = (refs, timeout_s, /))]
    fn get(
        &self,
        py: Python<'_>,
        refs: &Bound<'_, PyAny>,
        timeout_s: Option<f64>,
    ) -> PyResult<Py<PyList>> {
        let session = &self.session;
        session.check()?;
        let timeout = error::timeout("get", timeout_s)?;
        let ids = refs
            .try_iter()?
            .map(|reference| {
                let reference = reference?;
                match reference.cast_exact::<ObjectRef>() {
                    Ok(reference) => Ok(reference.get().check(session)?),
                    Err(_) => Err(error::wrong_type("get", "ObjectRefs", &reference)),
                }
            })
            .collect::<PyResult<Vec<_>>>()?;
        let reply = session.ask(py, timeout, |id| Request::Get(id, ids[..].into()))?;
        Ok(PyList::new(py, self.values(py, &ids, reply)?)?.unbind())
    }

    #[pyo3(signature = (reference, timeout_s, /))]
    pub(crate) fn get_one(
        &self,
        py: Python<'_>,
        reference: &Bound<'_, ObjectRef>,
        timeout_s: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let session = &self.session;
        session.check()?;
        let id = reference.get().check(session)?;
        if let Some(value) = session.transport.peek(session, id) {
            let block = Pinned::adopt(session, py, id, &value)?;
            return unpack::value(session, py, &value, block.as_ref());
        }
        let timeout = error::timeout("get", timeout_s)?;
        let reply = session.ask(py, timeout, |request| Request::Get(request, [id].into()))?;
        let mut values = self.values(py, &[id], reply)?;
        Ok(values.pop().expect("one value for one ref"))
    }

    #[pyo3(signature = (waitables, count, timeout_s, /))]
    fn wait<'py>(
        &self,
        py: Python<'py>,
        waitables: &Bound<'py, PyList>,
        count: usize,
        timeout_s: Option<f64>,
    ) -> PyResult<Option<(Bound<'py, PyList>, Bound<'py, PyList>)>> {
        let session = &self.session;
        session.check()?;
        waiting::wait(session, py, waitables, count, timeout_s)
    }

    #[pyo3(signature = (waitable, mailbox, token, /))]
    fn watch(
        &self,
        waitable: &Bound<'_, PyAny>,
        mailbox: &Bound<'_, Mailbox>,
        token: u64,
    ) -> PyResult<u64> {
        let session = &self.session;
        session.check()?;
        let on = [waiting::waitable_of(session, "watch", waitable)?].into();
        let request = session.next_request();
        session.answers.expect(request, Asker::Mail(Arc::clone(&mailbox.get().mail), token));
        session.listen();
        session.send(Request::Wait(request, on, 1, skate_core::event::Patience::Until));
        Ok(request.0)
    }

    /// The calling coroutine begins to await: what to end that with, if it counts.
    fn awaits(&self) -> Option<u64> {
        match &self.role {
            Role::Worker(worker) => worker.awaits(&self.session).map(|ticket| ticket.0),
            Role::Driver(_) | Role::Any => None,
        }
    }

    #[pyo3(signature = (asleep, /))]
    fn awoke(&self, asleep: u64) {
        if let Role::Worker(worker) = &self.role {
            worker.awoke(&self.session, Ticket(asleep));
        }
    }

    /// The calling thread begins to wait, or is through with it: true if that counts.
    #[pyo3(signature = (is_blocked, /))]
    fn blocks(&self, is_blocked: bool) -> bool {
        match &self.role {
            Role::Worker(worker) if worker.holds_resources() => {
                worker.blocked(&self.session, is_blocked);
                true
            }
            _ => false,
        }
    }

    #[pyo3(signature = (request, /))]
    fn forget(&self, request: u64) {
        if self.session.check().is_ok() && self.session.answers.forget(RequestId(request)) {
            self.session.send(Request::Forget(RequestId(request)));
        }
    }

    #[pyo3(signature = (target, force, recursive, /))]
    fn cancel(&self, target: &Bound<'_, PyAny>, force: bool, recursive: bool) -> PyResult<()> {
        self.session.check()?;
        let task = task_of(target)?;
        if force && task.is_call() {
            return Err(PyValueError::new_err("force=True is not supported for actor tasks."));
        }
        self.session.send(Request::Cancel(task, Cancel { force, recursive }));
        Ok(())
    }

    fn resources<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.session.check()?;
        let Reply::Resources(rows) = self.session.ask(py, None, Request::Resources)? else {
            unreachable!("the node answers a question for resources with them")
        };
        let table = PyDict::new(py);
        for (name, total, available) in rows {
            // Available may be negative while blocked tasks take their CPU back.
            table.set_item(&*name, (total as f64 / 1e4, available.max(0) as f64 / 1e4))?;
        }
        Ok(table)
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.session.check()?;
        let table = PyDict::new(py);
        for (name, count) in self.host("statistics")?.statistics() {
            table.set_item(name, count)?;
        }
        Ok(table)
    }

    /// A question about the node's tables and its answer, both JSON.
    #[pyo3(signature = (question, /))]
    fn inspect(&self, py: Python<'_>, question: &str) -> PyResult<String> {
        self.session.check()?;
        let query = inspect::query(question, self.session.nonce).map_err(PyValueError::new_err)?;
        let ask = |id| Request::Inspect(id, Box::new(query));
        let Reply::Rows(rows) = self.session.ask(py, None, ask)? else {
            unreachable!("the node answers a question for rows with them")
        };
        let rows = rows.map_err(PyValueError::new_err)?;
        Ok(py.detach(|| inspect::text(&rows, self.session.nonce)))
    }

    /// Notes what the calling code has been doing since `began_ns`, by `time.monotonic_ns()`.
    #[pyo3(signature = (name, extra, began_ns, /))]
    fn note_span(&self, name: &str, extra: &str, began_ns: u64) -> PyResult<()> {
        self.session.check()?;
        self.session.send(Request::Span(Box::new(Span {
            task: self.session.current_task(),
            name: name.into(),
            extra: extra.into(),
            began_ns,
            ended_ns: crate::monotonic_ns(),
        })));
        Ok(())
    }

    fn unhandled_errors(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        self.session.check()?;
        let problems = self.host("list_unhandled_errors")?.problems();
        problems.iter().map(|problem| problem.to_python(py)).collect()
    }

    #[pyo3(signature = (key, name, strategy, bundles, /))]
    fn reserve(
        &self,
        py: Python<'_>,
        key: &str,
        name: &str,
        strategy: &str,
        bundles: Vec<Vec<(String, u64)>>,
    ) -> PyResult<Py<ObjectRef>> {
        let session = &self.session;
        session.check()?;
        let ready = session.next_task().item(0);
        session.send(Request::Reserve(Box::new(GroupSpec {
            ready,
            key: key.into(),
            name: name.into(),
            strategy: strategy.into(),
            bundles: bundles.into_iter().map(amounts).collect(),
        })));
        session.own(py, ready)
    }

    #[pyo3(signature = (key, /))]
    fn remove_group(&self, key: &str) -> PyResult<()> {
        self.session.check()?;
        self.session.send(Request::RemoveGroup(key.into()));
        Ok(())
    }

    fn groups(&self, py: Python<'_>) -> PyResult<Vec<GroupRow>> {
        self.session.check()?;
        let Reply::Groups(rows) = self.session.ask(py, None, Request::Groups)? else {
            unreachable!("the node answers a question for groups with them")
        };
        let row = |(spec, state): (GroupSpec, GroupState)| {
            let bundle = |bundle: &[(Arc<str>, u64)]| {
                bundle.iter().map(|(name, amount)| (name.to_string(), *amount)).collect()
            };
            let state = match state {
                GroupState::Waiting => "PENDING",
                GroupState::Placed => "CREATED",
                GroupState::Removed => "REMOVED",
            };
            let bundles = spec.bundles.iter().map(|each| bundle(each)).collect();
            (spec.key.to_string(), spec.name.to_string(), spec.strategy.to_string(), state, bundles)
        };
        Ok(rows.into_iter().map(row).collect())
    }

    fn current_task(&self) -> Option<(String, String, u32)> {
        match &self.role {
            Role::Worker(worker) => worker.current.get().map(|running| {
                let id = hex(&task_bytes(self.session.nonce, running.task));
                (id, running.name.to_string(), running.attempt)
            }),
            Role::Driver(_) | Role::Any => None,
        }
    }

    fn current_function(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &self.role {
            Role::Worker(worker) => Some(worker.current_prepared()?.function.clone_ref(py)),
            Role::Driver(_) | Role::Any => None,
        }
    }

    fn current_resources(&self) -> Vec<(String, u64)> {
        let prepared = match &self.role {
            Role::Worker(worker) => worker.actor_class().or_else(|| worker.current_prepared()),
            Role::Driver(_) | Role::Any => None,
        };
        let resources = prepared.iter().flat_map(|prepared| &prepared.resources);
        resources.map(|(name, amount)| (name.to_string(), *amount)).collect()
    }

    fn own_actor_id(&self) -> Option<String> {
        self.own_actor().map(|actor| hex(&actor_bytes(self.session.nonce, actor)))
    }

    fn was_restarted(&self) -> bool {
        match &self.role {
            Role::Worker(worker) => worker.was_restarted(),
            Role::Driver(_) | Role::Any => false,
        }
    }

    fn is_canceled(&self) -> bool {
        match &self.role {
            // A child that a task forked inherits the signal handler that asks this.
            Role::Worker(worker) => !Session::is_forked() && worker.is_cancelled(),
            Role::Driver(_) | Role::Any => false,
        }
    }

    fn notices(&self) -> PyResult<Mailbox> {
        Ok(Mailbox { mail: Arc::clone(self.host("notices")?.notices()) })
    }

    fn describe_workers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let rows = self.host("describe_workers")?.describe_workers().into_iter().map(|row| {
            let table = PyDict::new(py);
            table.set_item("client_id", row.client.0)?;
            table.set_item("pid", row.pid)?;
            table.set_item("state", row.state)?;
            table.set_item("task_name", row.task_name.as_deref())?;
            Ok(table)
        });
        PyList::new(py, rows.collect::<PyResult<Vec<_>>>()?)
    }

    fn run(&self, py: Python<'_>) -> PyResult<Option<Serving>> {
        let Role::Worker(worker) = &self.role else { return Ok(None) };
        let (worker, session) = (Arc::clone(worker), Arc::clone(&self.session));
        let lanes = worker.run(&session, py)?;
        Ok(lanes.map(|lanes| Serving { worker, session, lanes }))
    }

    /// The errors that nobody has fetched and nobody will, at most so many, and how many there are.
    #[pyo3(signature = (most, /))]
    fn unseen(&self, py: Python<'_>, most: usize) -> PyResult<(Vec<Py<PyAny>>, usize)> {
        let Role::Driver(host) = &self.role else { return Ok((Vec::new(), 0)) };
        let (problems, count) = py.detach(|| host.unseen(most));
        let rows = problems.iter().map(|problem| problem.to_python(py)).collect::<PyResult<_>>()?;
        Ok((rows, count))
    }

    fn retire(&self) {
        if let Role::Worker(worker) = &self.role {
            worker.leave(0);
        }
    }

    fn let_go(&self, py: Python<'_>) {
        if let Role::Worker(worker) = &self.role {
            worker.let_go(py);
        }
    }

    fn close(&self, py: Python<'_>) {
        match &self.role {
            Role::Driver(host) => py.detach(|| end(&self.session, host)),
            Role::Worker(_) | Role::Any => self.session.close(),
        }
    }
}

impl Drop for Client {
    /// A driver's session that nobody can close any more, such as that of an interrupted `init`, ends
    /// here. In a forked child, and after `close`, there is nothing to do.
    fn drop(&mut self) {
        if let Role::Driver(host) = &self.role
            && !self.session.is_closed()
        {
            end(&self.session, host);
        }
    }
}

/// Ends the session of a driver.
fn end(session: &Arc<Session>, host: &Host) {
    // Nobody finds it any more; it is given back in the end.
    let _segment = session.segment();
    session.close();
    host.shut_down();
}
