//! A template as its worker uses it: the function unpickled, and what its calls may do.
//!
//! Invariant: it is made when the first call comes, and shared by all calls in the process.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use skate_core::event::{Returns, Template};
use skate_core::group::PASS;
use skate_core::value::Bytes;

use crate::modules;
use crate::wire::{self, RetryOn, Target, TemplateBody};

/// A template as its worker uses it.
pub(crate) struct Prepared {
    pub(crate) function: Py<PyAny>,
    /// By name, in units of 1/10000.
    pub(crate) resources: Box<[(Arc<str>, u64)]>,
    pub(crate) returns: Returns,
    pub(crate) limits: Limits,
    pub(crate) retry: RetryOn,
    /// Whether it is part of an actor.
    pub(crate) is_of_actor: bool,
    /// Whether what it calls is to run in its placement group; None for a method, whose actor says it.
    pub(crate) captures: Option<bool>,
}

/// What a generator may not exceed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Number of static returns.
    pub(crate) items: Option<u64>,
    /// The last static return waits for the end, and gets the error of one item too many.
    pub(crate) is_strict: bool,
    /// Unread items.
    pub(crate) window: Option<u32>,
    /// Bytes of unread items.
    pub(crate) window_bytes: Option<u64>,
}

impl Prepared {
    /// Unpickles the function, or finds the method.
    pub(crate) fn load(
        py: Python<'_>,
        template: &Template,
        function: Option<&Bytes>,
        shares_window: bool,
    ) -> PyResult<Self> {
        let body: Option<TemplateBody> = wire::decode(&template.body);
        let target = body.as_ref().map_or(Target::Function, |body| body.target.clone());
        let bytes = || {
            PyBytes::new(py, function.expect("the node sends a function before its first template"))
        };
        let function = match &target {
            Target::Function => {
                modules::worker(py)?.call_method1(intern!(py, "load_function"), (bytes(),))?
            }
            Target::Class(..) => {
                modules::actor_worker(py)?.call_method1(intern!(py, "constructor"), (bytes(),))?
            }
            Target::Method(name) => {
                modules::actor_worker(py)?.call_method1(intern!(py, "method"), (&**name,))?
            }
        };
        Ok(Self {
            function: function.unbind(),
            resources: template.resources.clone(),
            returns: template.returns,
            limits: Limits {
                items: match template.returns {
                    Returns::Static(count) => Some(u64::from(count)),
                    Returns::Dynamic | Returns::Streaming => None,
                },
                is_strict: body.as_ref().is_some_and(|body| body.is_strict),
                // The node says how far each stream may go: one item ahead of that.
                window: match template.returns {
                    Returns::Streaming if shares_window => Some(1),
                    _ => template.window,
                },
                window_bytes: template.window_bytes,
            },
            retry: body.map_or(RetryOn::Nothing, |body| body.retry),
            is_of_actor: !matches!(target, Target::Function),
            captures: (!matches!(target, Target::Method(_)))
                .then(|| template.resources.iter().any(is_capturing_pass)),
        })
    }
}

/// Who is in a placement group asks for a pass of it, and for two if it captures (`_group.py`).
fn is_capturing_pass((name, units): &(Arc<str>, u64)) -> bool {
    name.starts_with(PASS) && *units > 1
}
