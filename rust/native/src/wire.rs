//! The two messages of a worker's ring pair, and their bytes.
//!
//! Invariant: a message that does not decode is the end of the process that sent it, never of the
//! one that reads it: decoding checks everything and allocates no more than the message is long.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skate_core::action::{Reply, Run};
use skate_core::event::Template;
use skate_core::id::{FunctionId, RequestId, TemplateId, Ticket};
use skate_core::value::Bytes;

/// From the node to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// A function, before the first template that needs it.
    Function(FunctionId, Bytes),
    /// A template, before the first run that needs it.
    Define(TemplateId, Arc<Template>),
    /// It will run nothing with these templates again; and these functions are no longer known.
    Undefine(Box<[TemplateId]>, Box<[FunctionId]>),
    /// Execute this, if its slot can be claimed.
    Run(Box<Run>),
    /// That call of an actor, which runs, was cancelled; its slot says so, too.
    Cancelled(Ticket),
    /// An answer.
    Reply(RequestId, Reply),
    /// Leave when idle.
    Leave,
}

/// What only the worker needs of a template ([`Template::body`]).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TemplateBody {
    /// Which exceptions are retried.
    pub(crate) retry: RetryOn,
    /// A wrong number of yields is the error of the last static return.
    pub(crate) is_strict: bool,
    /// What is called.
    pub(crate) target: Target,
}

impl TemplateBody {
    /// As it travels.
    pub(crate) fn encode(&self) -> Bytes {
        let mut body = Vec::new();
        encode(self, &mut body);
        Bytes::from(&body[..])
    }
}

/// What a template calls.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Target {
    /// An exported function.
    Function,
    /// An exported class: makes the actor of this process, which serves its calls so, with so many
    /// at once in each concurrency group.
    Class(Serves, Box<[u32]>),
    /// A method of the actor of this process.
    Method(Box<str>),
}

/// How an actor's calls are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Serves {
    /// One at a time, by the main thread.
    InTurn,
    /// By threads.
    Threads,
    /// By an event loop on the main thread.
    Loop,
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

/// Bytes of memory that are kept for the next message.
const KEPT: usize = 1 << 20;

/// The bytes of `message`, in `buffer`, whose memory is used again.
pub(crate) fn encode<T: Serialize>(message: &T, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT);
    let taken = std::mem::take(buffer);
    *buffer = postcard::to_extend(message, taken).expect("a Vec takes any message");
}

/// Reads a message; None if the bytes are not one.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}
