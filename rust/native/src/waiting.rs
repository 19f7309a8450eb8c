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

/// Whether an object is there twice. Mostly they are in the order in which they were made, so each is new.
fn has_twice(on: &[Waitable]) -> bool {
    let objects = on.iter().filter_map(|waitable| match waitable {
        Waitable::Object(id) => Some(id),
        Waitable::Stream(_) | Waitable::Cursor(..) => None,
    });
    if objects.clone().is_sorted_by(|one, next| one < next) {
        return false;
    }
    let mut seen = FxHashSet::with_capacity_and_hasher(on.len(), FxBuildHasher);
    objects.into_iter().any(|id| !seen.insert(id))
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
    let mut streams = FxHashSet::default();
    for waitable in pending.iter() {
        // Written where it is to be: moving each through a `Result` doubles the time of the loop.
        if let Some(id) = object_in(session, &waitable) {
            on.push(Waitable::Object(id));
            continue;
        }
        on.push(waitable_of(session, "wait", &waitable)?);
        // Two generators may stand at the same item: each is itself.
        if !streams.insert(waitable.as_ptr()) {
            return Ok(None);
        }
    }
    if has_twice(&on) {
        return Ok(None);
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
