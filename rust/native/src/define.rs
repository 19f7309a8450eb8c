//! What `.options(...)` decided, told to the node once: the definitions behind templates.
//!
//! Invariant: a function or class is exported, under the hash of its content, before the definition that
//! names it.

use std::sync::Arc;

use pyo3::prelude::*;
use siphasher::sip128::{Hasher128, SipHasher13};
use skate_core::event::{OnDrop, Returns, Template as Definition};
use skate_core::id::FunctionId;
use skate_core::value::Bytes;

use crate::session::Session;
use crate::template::Template;
use crate::wire::RetryOn;

/// `returns` of a template that stands for `"dynamic"`.
pub(crate) const DYNAMIC: i64 = -1;
/// `returns` of a template that stands for `"streaming"`.
pub(crate) const STREAMING: i64 = -2;

/// Makes a function or class known by its content.
pub(crate) fn export(session: &Session, bytes: &[u8]) -> FunctionId {
    let mut hasher = SipHasher13::new();
    std::hash::Hasher::write(&mut hasher, bytes);
    let hash = FunctionId(hasher.finish128().as_u128());
    session.transport.export(session, hash, Bytes::from(bytes));
    hash
}

/// Registers it with the node, unless the same is known.
pub(crate) fn define(session: &Arc<Session>, definition: Definition) -> Template {
    let (name, returns) = (Arc::clone(&definition.name), definition.returns);
    let id = session.define(definition);
    Template { session: Arc::clone(session), id, name, returns }
}

pub(crate) fn retry_on(retry_exceptions: &Bound<'_, PyAny>) -> PyResult<RetryOn> {
    Ok(if let Ok(classes) = retry_exceptions.extract::<Vec<u8>>() {
        RetryOn::Classes(Bytes::from(&classes[..]))
    } else if retry_exceptions.is_truthy()? {
        RetryOn::Everything
    } else {
        RetryOn::Nothing
    })
}

pub(crate) const fn on_drop(closes: bool) -> OnDrop {
    if closes { OnDrop::Close } else { OnDrop::RunOn }
}

pub(crate) fn returns_of(returns: i64) -> PyResult<Returns> {
    Ok(match returns {
        DYNAMIC => Returns::Dynamic,
        STREAMING => Returns::Streaming,
        count => Returns::Static(u32::try_from(count)?),
    })
}

pub(crate) fn amounts(resources: Vec<(String, u64)>) -> Box<[(Arc<str>, u64)]> {
    resources.into_iter().map(|(name, amount)| (name.into(), amount)).collect()
}
