//! What an object can hold, and where its bytes are.
//!
//! Invariant: a `Value` never changes. Inline bytes are private to the process that holds them; a
//! block's bytes lie in the data segment and an extent's in the spill file; both stay valid while the
//! object that names them is pinned, and one of the two while it is counted.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::{ActorName, Leave};
use crate::id::{ActorId, ObjectId, TaskId};

/// Small immutable bytes, shared within a process without copying.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Bytes(pub Arc<[u8]>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({} B)", self.0.len())
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(bytes.into())
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// Leases, in memory and on disk, start at multiples of this, and are rounded up to them.
pub const GRAIN: u64 = 64;

/// A place in the data segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// Distance from the start of the segment, in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

impl Span {
    /// One past the last byte.
    pub const fn end(self) -> u64 {
        self.offset.saturating_add(self.len)
    }

    /// Whether `other` lies inside.
    pub const fn contains(self, other: Self) -> bool {
        self.offset <= other.offset && other.end() <= self.end()
    }
}

/// A place in the spill file, and what its bytes must add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Extent {
    /// Distance from the start of the file, in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// Of the bytes, by whoever wrote them.
    pub checksum: u32,
}

/// The packed `None` of Python, for tasks that ended without a value of their own.
pub const NONE: &[u8] = &[1, 0];

/// Packed bytes, wherever they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Rides in messages.
    Inline(Bytes),
    /// Lies sealed in the data segment.
    Block(Span),
    /// Lies in the spill file.
    Spilled(Extent),
}

/// What a sealed object holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// A packed Python value.
    Data(Payload),
    /// A packed `RayTaskError`: `get` raises it, dependents inherit it.
    Raised(Payload),
    /// A failure that the node itself saw; raised like `Raised`.
    Failed(Arc<Failure>),
    /// The error of an argument, in the returns of a task that therefore did not run.
    Inherited(Arc<Inherited>),
    /// The live generator behind a dynamic ref.
    Stream(TaskId),
}

/// An error, and the way it came through tasks that did not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inherited {
    /// `Raised` or `Failed`.
    #[serde(deserialize_with = "origin")]
    pub error: Value,
    /// Names of those tasks: each takes the result of the one before, the first that of the task
    /// which failed. Of a long way the beginning and the last one.
    pub tasks: Box<[Arc<str>]>,
    /// How many names were left out before the last one.
    pub skipped: u64,
    /// The actor whose constructor did not run.
    pub actor: Option<ActorId>,
}

/// Reads an error that was not inherited itself: else a message of a few bytes could ask its reader for
/// any depth of stack.
fn origin<'de, D: Deserializer<'de>>(bytes: D) -> Result<Value, D::Error> {
    /// As [`Value`] begins.
    #[derive(Deserialize)]
    enum Origin {
        Data(Payload),
        Raised(Payload),
        Failed(Arc<Failure>),
    }
    Ok(match Origin::deserialize(bytes)? {
        Origin::Data(payload) => {
            return Err(serde::de::Error::custom(format_args!("{payload:?} is no error")));
        }
        Origin::Raised(payload) => Value::Raised(payload),
        Origin::Failed(failure) => Value::Failed(failure),
    })
}

impl Inherited {
    /// As many names as people read.
    const NAMES_MAX: usize = 8;
}

impl Value {
    /// Whether `get` of it raises.
    pub const fn is_error(&self) -> bool {
        matches!(self, Self::Raised(_) | Self::Failed(_) | Self::Inherited(_))
    }

    /// The error as it was where it happened; anything else is itself.
    pub fn origin(&self) -> &Self {
        match self {
            Self::Inherited(inherited) => &inherited.error,
            other => other,
        }
    }

    /// This error in the returns of a task that takes what holds it.
    #[must_use]
    pub fn inherited_by(&self, task_name: Arc<str>) -> Self {
        let (mut tasks, mut skipped, actor) = match self {
            Self::Inherited(before) => (before.tasks.to_vec(), before.skipped, before.actor),
            _ => (Vec::new(), 0, None),
        };
        if tasks.len() == Inherited::NAMES_MAX {
            tasks.pop();
            skipped += 1;
        }
        tasks.push(task_name);
        let error = self.origin().clone();
        Self::Inherited(Arc::new(Inherited { error, tasks: tasks.into(), skipped, actor }))
    }

    /// This error in the calls of an actor whose constructor it ended, or kept from running.
    pub(crate) fn of_constructor(self, actor: ActorId) -> Self {
        match self {
            Self::Inherited(inherited) => {
                let inherited = Inherited { actor: Some(actor), ..(*inherited).clone() };
                Self::Inherited(Arc::new(inherited))
            }
            other => other,
        }
    }

    /// The failure that it is, here or where it happened.
    pub fn failure(&self) -> Option<&Failure> {
        match self.origin() {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// The bytes of it, when it has any.
    pub fn payload(&self) -> Option<&Payload> {
        match self.origin() {
            Self::Data(payload) | Self::Raised(payload) => Some(payload),
            Self::Failed(_) | Self::Inherited(_) | Self::Stream(_) => None,
        }
    }

    /// Length of its bytes.
    pub fn size(&self) -> u64 {
        match self.payload() {
            Some(Payload::Inline(bytes)) => bytes.len() as u64,
            Some(Payload::Block(span)) => span.len,
            Some(Payload::Spilled(extent)) => extent.len,
            None => 0,
        }
    }

    /// The block of it, when it lies in the segment.
    pub fn block(&self) -> Option<Span> {
        match self.payload() {
            Some(Payload::Block(span)) => Some(*span),
            _ => None,
        }
    }

    /// The extent of it, when it lies in the spill file.
    pub fn extent(&self) -> Option<Extent> {
        match self.payload() {
            Some(Payload::Spilled(extent)) => Some(*extent),
            _ => None,
        }
    }

    /// Whether its bytes are elsewhere: whoever is given it is given a pin, too.
    pub fn is_stored(&self) -> bool {
        matches!(self.payload(), Some(Payload::Block(_) | Payload::Spilled(_)))
    }
}

impl From<Failure> for Value {
    fn from(failure: Failure) -> Self {
        Self::Failed(Arc::new(failure))
    }
}

/// Why the node itself failed a task or a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// The worker died with its task, and no retry was left.
    #[error("the worker died unexpectedly while executing {task_name}: {death}")]
    WorkerCrashed {
        /// Name of the task.
        task_name: Arc<str>,
        /// How the process ended.
        death: Death,
    },
    /// No worker could be started for it.
    #[error("no worker process could be started for {task_name}: {death}")]
    WorkerStart {
        /// Name of the task.
        task_name: Arc<str>,
        /// How the last attempt ended.
        death: Death,
    },
    /// Cancelled by `cancel`.
    #[error("task {task_name} was cancelled")]
    Cancelled {
        /// Name of the task.
        task_name: Arc<str>,
        /// Of the process in which it was interrupted; 0 if it had not started, or its process was
        /// killed.
        pid: u32,
    },
    /// The data segment has no room, and nothing in it can be spilled.
    #[error("store full: need {need} B; {free} of {capacity} B free; {why}")]
    StoreFull {
        /// Bytes asked for.
        need: u64,
        /// Bytes not in use.
        free: u64,
        /// Bytes in all.
        capacity: u64,
        /// Why values cannot make room.
        why: Arc<str>,
    },
    /// Neither the data segment nor the disk has room.
    #[error("no room on disk: need {need} B; {trouble}")]
    OutOfDisk {
        /// Bytes asked for.
        need: u64,
        /// Bytes in the spill file; who is not the node does not know.
        spilled: Option<u64>,
        /// What the disk said.
        trouble: Trouble,
    },
    /// Its worker was stopped because memory ran short, and no retry was left.
    #[error("{task_name} was stopped because memory ran short: {why}")]
    OutOfMemory {
        /// Name of the task.
        task_name: Arc<str>,
        /// What was done, how much there was, and why.
        why: Arc<str>,
    },
    /// The bytes of a spilled object cannot be read back.
    #[error("{object:?} was spilled and cannot be read back: {trouble}")]
    Lost {
        /// Which one.
        object: ObjectId,
        /// Why.
        trouble: Trouble,
    },
    /// A retried generator ended before the items that were already published.
    #[error(
        "{task_name} yielded {yielded} items when it was run again, but {published} items were \
         published before"
    )]
    ReplayInconsistent {
        /// Name of the task.
        task_name: Arc<str>,
        /// Items of the replay.
        yielded: u64,
        /// Items published by the attempts before.
        published: u64,
    },
    /// The actor is dead, and the call did not run to its end.
    #[error("{task_name} did not run to its end: {actor}")]
    ActorDied {
        /// Name of the call.
        task_name: Arc<str>,
        /// Which actor, and why.
        actor: Arc<ActorEnd>,
    },
    /// The actor's process died under the call; the actor starts again.
    #[error("{task_name} did not run to its end: {actor}; it starts again")]
    ActorUnavailable {
        /// Name of the call.
        task_name: Arc<str>,
        /// Which actor, and why.
        actor: Arc<ActorEnd>,
    },
    /// The placement group that the task was to run in was removed.
    #[error("the placement group of {task_name} was removed")]
    GroupRemoved {
        /// Name of the task, or of the group.
        task_name: Arc<str>,
    },
    /// The call waited for something that waited for it.
    #[error("this wait can never end: {chain}")]
    Deadlock {
        /// Who waits for whom.
        chain: Arc<str>,
    },
    /// No living actor has that name.
    #[error("no actor is called {:?} in the namespace {:?}", .0.name, .0.namespace)]
    NoSuchActor(ActorName),
    /// The object was freed, or never existed in this session.
    #[error("the object is not (or no longer) known")]
    Unknown,
}

/// What the spill file does not do as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Trouble {
    /// There is no room for more.
    #[error("{0}")]
    Full(Arc<str>),
    /// A system call failed.
    #[error("{0}")]
    System(Arc<str>),
    /// The file is shorter than it was.
    #[error("the spill file was truncated: {found} of {len} bytes are there")]
    Truncated {
        /// Bytes that are there.
        found: u64,
        /// Bytes that should be.
        len: u64,
    },
    /// The bytes are not those that were written.
    #[error(
        "the spill file was changed: its bytes have the checksum {found:08x}, not {written:08x}"
    )]
    Corrupted {
        /// Of what is there.
        found: u32,
        /// Of what was written.
        written: u32,
    },
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// Its process id; 0 if it never started.
    pub pid: u32,
    /// Exit code, when it left by itself.
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// What else is known, such as the error of a failed start; may be empty.
    pub note: Arc<str>,
}

impl std::fmt::Display for Death {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut comma = "";
        if self.pid != 0 {
            write!(f, "pid {}", self.pid)?;
            comma = ", ";
        }
        if let Some(code) = self.exit_code {
            write!(f, "{comma}exit code {code}")?;
            comma = ", ";
        }
        if let Some(signal) = self.signal {
            write!(f, "{comma}signal {signal}")?;
            if let Some(name) = signal_name(signal) {
                write!(f, " ({name})")?;
            }
            comma = ", ";
        }
        if !self.note.is_empty() {
            write!(f, "{comma}{}", self.note)?;
        }
        Ok(())
    }
}

/// An actor's end, or the end of its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorEnd {
    /// Which one.
    pub actor: ActorId,
    /// Name of its class.
    pub class_name: Arc<str>,
    /// Its own name, if it has one.
    pub name: Option<ActorName>,
    /// Why.
    pub cause: Cause,
}

/// Why an actor, or its process, ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Cause {
    /// Its process died.
    #[error("its process died: {0}")]
    Crashed(Death),
    /// No process could be started for it.
    #[error("no process could be started for it: {0}")]
    NotStarted(Death),
    /// By `kill`.
    #[error("it was killed")]
    Killed,
    /// Its own code ended it.
    #[error("its own code ended it")]
    Left(Leave),
    /// Its placement group was removed.
    #[error("its placement group was removed")]
    GroupRemoved,
    /// Its last handle was dropped.
    #[error("its last handle was dropped")]
    OutOfScope,
}

impl std::fmt::Display for ActorEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "actor {} ended because {}", self.class_name, self.cause)
    }
}

/// The names of the signals that end processes, as on every Linux that skate runs on.
const fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_origin_and_a_bounded_number_of_heirs() {
        let origin = Value::from(Failure::Unknown);
        let mut error = origin.clone();
        for number in 0..1000 {
            error = error.inherited_by(format!("task {number}").into());
        }
        let Value::Inherited(inherited) = &error else { panic!("{error:?}") };
        let names: Vec<&str> = inherited.tasks.iter().map(|name| &**name).collect();
        assert_eq!(names.len(), Inherited::NAMES_MAX);
        assert_eq!((names[0], names[6], names[7]), ("task 0", "task 6", "task 999"));
        assert_eq!(inherited.skipped, 992);
        assert_eq!(error.origin(), &origin);
    }
}
