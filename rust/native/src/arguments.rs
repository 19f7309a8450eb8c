//! The arguments of a task, in the process that runs it.
//!
//! Invariant: what the node said of an argument when it sent the task here stays true until the task has
//! ended: a block is read in place. One that was spilled then is asked for, like any other value, and
//! the task waits for it as for any other `get`.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rustc_hash::FxHashMap;
use skate_core::action::{Reply, Run};
use skate_core::event::Request;
use skate_core::id::ObjectId;
use skate_core::value::Value;

use crate::error::{Error, Result};
use crate::session::Session;
use crate::unpack;
use crate::view::Pinned;

/// A value with what keeps its bytes.
type Kept = (Value, Option<Arc<Pinned>>);

/// Unpacks them.
pub(crate) fn of<'py>(
    session: &Arc<Session>,
    py: Python<'py>,
    run: &Run,
) -> PyResult<unpack::Arguments<'py>> {
    let fetched = fetch_spilled(session, py, run)?;
    let kept = |object: &ObjectId, value: &Value| match fetched.get(object) {
        Some(kept) => Ok::<Kept, PyErr>(kept.clone()),
        None => Ok((value.clone(), Pinned::hold(session, py, *object, value)?)),
    };
    let (args, block) = match &run.args_object {
        Some(object) => kept(object, &run.args)?,
        None => (run.args.clone(), None),
    };
    let Value::Data(payload) = &args else {
        return Err(PyValueError::new_err("the arguments of a task must be a value"));
    };
    unpack::args(py, payload, block.as_ref(), |index| {
        let (object, value) = run.resolved.get(index).ok_or_else(|| {
            PyValueError::new_err("an argument names a ref that the task does not wait for")
        })?;
        let (value, block) = kept(object, value)?;
        Ok(unpack::value(session, py, &value, block.as_ref())?.into_bound(py))
    })
}

fn fetch_spilled(
    session: &Arc<Session>,
    py: Python<'_>,
    run: &Run,
) -> PyResult<FxHashMap<ObjectId, Kept>> {
    let stored = run.args_object.iter().map(|object| (object, &run.args));
    let all = stored.chain(run.resolved.iter().map(|(object, value)| (object, value)));
    let spilled = all.filter(|(_, value)| value.extent().is_some());
    let mut ids: Vec<ObjectId> = spilled.map(|(object, _)| *object).collect();
    if ids.is_empty() {
        return Ok(FxHashMap::default());
    }
    ids.sort_unstable();
    ids.dedup();
    match session.ask(py, None, |request| Request::Get(request, ids[..].into()))? {
        Reply::Values { values, .. } => {
            // All pins are adopted before the first failure is told.
            let rows = ids.into_iter().zip(values).map(|(id, value)| {
                let block = Pinned::adopt(session, py, id, &value)?;
                Ok((id, (value, block)))
            });
            let rows: Vec<Result<_>> = rows.collect();
            Ok(rows.into_iter().collect::<Result<_>>()?)
        }
        Reply::Error { place, value, .. } => {
            let block = Pinned::adopt(session, py, ids[place as usize], &value)?;
            Err(unpack::value(session, py, &value, block.as_ref()).expect_err("an error raises"))
        }
        Reply::Failed(failure) => Err(Error::Failed(failure).into()),
        other => unreachable!("the node answers a get with {other:?}"),
    }
}
