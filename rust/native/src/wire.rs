//! The two messages of a worker's ring pair, and their bytes.
//!
//! Invariant: a message that does not decode is the end of the process that sent it, never of the
//! one that reads it: decoding checks everything and allocates no more than the message is long.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skate_core::action::{Reply, Run};
use skate_core::event::{Request, Template};
use skate_core::id::{FunctionId, RequestId, TemplateId};
use skate_core::value::Bytes;

/// From the node to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// A function, before the first template that needs it.
    Function(FunctionId, Bytes),
    /// A template, before the first run that needs it.
    Define(TemplateId, Arc<Template>),
    /// Execute this, if its slot can be claimed.
    Run(Box<Run>),
    /// An answer.
    Reply(RequestId, Reply),
    /// Leave when idle.
    Leave,
}

/// From a worker to the node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToNode {
    /// What every client may ask or tell.
    Request(Request),
    /// A function that templates of this worker name.
    Function(FunctionId, Bytes),
}

/// What only the worker needs of a template ([`Template::body`]).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TemplateBody {
    /// Which exceptions are retried.
    pub(crate) retry: RetryOn,
    /// A wrong number of yields is the error of the last static return.
    pub(crate) is_strict: bool,
}

/// Which exceptions `retry_exceptions` covers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum RetryOn {
    /// None of them.
    Nothing,
    /// All of them.
    Everything,
    /// Those of a pickled tuple of classes.
    Classes(Bytes),
}

/// Appends the bytes of `message` to `buffer`, which is cleared first.
pub(crate) fn encode<T: Serialize>(message: &T, buffer: &mut Vec<u8>) {
    buffer.clear();
    let taken = std::mem::take(buffer);
    *buffer = postcard::to_extend(message, taken).expect("a Vec takes any message");
}

/// Reads a message; None if the bytes are not one.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}
