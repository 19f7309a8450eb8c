//! `wait`: from a list of refs and generators to those that are ready and the rest.
//!
//! Invariant: both lists are new, in the order of the one that was given; what another thread does to that
//! one meanwhile changes nothing.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyList;
use rustc_hash::{FxBuildHasher, FxHashSet};
use skate_core::event::Waitable;
use skate_core::id::ObjectId;

use crate::error;
use crate::object_ref::ObjectRef;
use crate::session::Session;
use crate::stream::Stream;

/// So many items are taken out of a list one by one; for more it is made anew.
const FEW: usize = 8;

/// The object, if it is a ref of that session.
#[inline]
fn object_in(session: &Session, waitable: &Bound<'_, PyAny>) -> Option<ObjectId> {
    waitable.cast_exact::<ObjectRef>().ok()?.get().id_in(session)
}

pub(crate) fn waitable_of(
    session: &Session,
    function: &str,
    waitable: &Bound<'_, PyAny>,
) -> PyResult<Waitable> {
    if let Ok(reference) = waitable.cast_exact::<ObjectRef>() {
        return Ok(Waitable::Object(reference.get().check(session)?));
    }
    let stream = waitable.cast::<Stream>();
    stream
        .map(|stream| stream.get().waitable())
        .map_err(|_| error::wrong_type(function, "ObjectRefs and generators", waitable))
}

/// Ready and pending; None if one is there twice.
pub(crate) fn wait<'py>(
    session: &Arc<Session>,
    py: Python<'py>,
    waitables: &Bound<'py, PyList>,
    count: usize,
    timeout_s: Option<f64>,
) -> PyResult<Option<(Bound<'py, PyList>, Bound<'py, PyList>)>> {
    let timeout = error::timeout("wait", timeout_s)?;
    // A copy: another thread may change the list while this one waits.
    let pending = waitables.get_slice(0, waitables.len());
    let mut on = Vec::with_capacity(pending.len());
    let mut objects = FxHashSet::with_capacity_and_hasher(pending.len(), FxBuildHasher);
    let mut streams = FxHashSet::default();
    for waitable in pending.iter() {
        // Written where it is to be: moving each through a `Result` doubles the time of the loop.
        let is_new = if let Some(id) = object_in(session, &waitable) {
            on.push(Waitable::Object(id));
            objects.insert(id)
        } else {
            on.push(waitable_of(session, "wait", &waitable)?);
            // Two generators may stand at the same item: each is itself.
            streams.insert(waitable.as_ptr())
        };
        if !is_new {
            return Ok(None);
        }
    }
    let places = session.wait(py, &on, count, timeout)?;
    let places = places.into_iter().map(|place| place as usize);
    let ready = places.clone().map(|place| pending.get_item(place));
    let ready = PyList::new(py, ready.collect::<PyResult<Vec<_>>>()?)?;
    if places.len() <= FEW {
        for place in places.rev() {
            pending.del_item(place)?;
        }
        return Ok(Some((ready, pending)));
    }
    let mut places = places.peekable();
    let rest = pending.iter().enumerate();
    let rest = rest.filter(|(place, _)| places.next_if_eq(place).is_none());
    let rest = rest.map(|(_, waitable)| waitable).collect::<Vec<_>>();
    Ok(Some((ready, PyList::new(py, rest)?)))
}
