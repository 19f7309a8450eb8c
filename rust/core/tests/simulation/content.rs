//! What values say: each names the task and the place it comes from, the state of the actor that made
//! it, and what it contains, so that a reader can tell whether it got the right one, and find the refs
//! in it.

use skate_core::event::Held;
use skate_core::id::{ActorId, ObjectId, TaskId};
use skate_core::value::{Failure, NONE, Value};

use super::io::Memory;

/// Place of the return value of a generator.
pub(crate) const WHOLE: u32 = u32::MAX;

const DATA: u8 = 10;
const RAISED: u8 = 11;
/// Of the parts before the handles.
const HEAD: usize = 22;

/// Of an actor's call: starts of its process before this one, and calls that this one had begun.
pub(crate) type Origin = (u32, u32);

/// What a reader finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Return or item number `place` of a task.
    Data {
        task: TaskId,
        place: u32,
        origin: Origin,
        holds: Vec<Held>,
    },
    /// The exception of one attempt.
    Raised {
        task: TaskId,
        attempt: u32,
        origin: Origin,
        holds: Vec<Held>,
    },
    Failed(Failure),
    /// The live generator of a dynamic task.
    Stream(TaskId),
    /// Python's `None`.
    None,
}

impl Content {
    /// What it contains that can be held.
    pub(crate) fn holds(&self) -> Vec<Held> {
        match self {
            Self::Data { holds, .. } | Self::Raised { holds, .. } => holds.clone(),
            Self::Stream(task) => vec![Held::Cursor(*task, 0)],
            Self::Failed(_) | Self::None => Vec::new(),
        }
    }

    /// The bytes that stand for it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (tag, task, number, origin, holds) = match self {
            Self::Data { task, place, origin, holds } => (DATA, task, place, origin, holds),
            Self::Raised { task, attempt, origin, holds } => (RAISED, task, attempt, origin, holds),
            other => unreachable!("{other:?} is not made by clients"),
        };
        let mut bytes = vec![tag, holds.len() as u8];
        bytes.extend(task.0.to_le_bytes());
        for number in [*number, origin.0, origin.1] {
            bytes.extend(number.to_le_bytes());
        }
        for held in holds {
            let (tag, task, number) = match *held {
                Held::Object(id) => (0, id.task, u64::from(id.index)),
                Held::Stream(task) => (1, task, 0),
                Held::Cursor(task, at) => (2, task, at),
                Held::Actor(id) => (3, id.0, 0),
                Held::Pin(_) | Held::Lease(_) | Held::DiskLease(_) | Held::WeakActor(_) => {
                    unreachable!("values do not contain {held:?}")
                }
            };
            bytes.push(tag);
            bytes.extend(task.0.to_le_bytes());
            bytes.extend(number.to_le_bytes());
        }
        bytes
    }

    /// What is at a value's bytes now.
    pub(crate) fn of(value: &Value, memory: &Memory) -> Self {
        match value.origin() {
            Value::Inherited(_) => unreachable!("an error has one origin"),
            Value::Failed(failure) => Self::Failed(Failure::clone(failure)),
            Value::Stream(task) => Self::Stream(*task),
            Value::Data(payload) | Value::Raised(payload) => {
                let content = decode(memory.bytes(payload));
                let is_error = matches!(content, Self::Raised { .. });
                assert_eq!(value.is_error(), is_error, "{value:?} holds {content:?}");
                content
            }
        }
    }
}

fn decode(bytes: &[u8]) -> Content {
    if bytes == NONE {
        return Content::None;
    }
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let task = TaskId(word(2));
    let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (number, origin) = (half(10), (half(14), half(18)));
    let held = |place: usize| {
        let start = HEAD + place * 17;
        let (task, number) = (TaskId(word(start + 1)), word(start + 9));
        match bytes[start] {
            0 => Held::Object(ObjectId { task, index: number as u32 }),
            1 => Held::Stream(task),
            2 => Held::Cursor(task, number),
            3 => Held::Actor(ActorId(task)),
            other => panic!("a value was overwritten: {other} is no kind of handle"),
        }
    };
    let holds = (0..usize::from(bytes[1])).map(held).collect();
    match bytes[0] {
        DATA => Content::Data { task, place: number, origin, holds },
        RAISED => Content::Raised { task, attempt: number, origin, holds },
        other => panic!("a value was overwritten: it begins with {other}"),
    }
}
