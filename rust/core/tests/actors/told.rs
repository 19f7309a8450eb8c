//! What values say: who made them, in which life of its actor, as the how-manieth call of that life,
//! and which actor's handle they contain.

use skate_core::event::Held;
use skate_core::id::{ActorId, TaskId};
use skate_core::value::{Failure, NONE, Payload, Value};

/// What a reader finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Made by an attempt of a task: a value, or its exception.
    Made(Made),
    Failed(Failure),
    /// Python's `None`.
    None,
}

/// Who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) is_error: bool,
    pub(crate) task: TaskId,
    /// Number of the return or item.
    pub(crate) place: u32,
    pub(crate) attempt: u32,
    /// Starts of the actor's process before this one.
    pub(crate) life: u32,
    /// Calls that this process had begun before.
    pub(crate) position: u32,
    pub(crate) holds: Option<ActorId>,
}

impl Made {
    pub(crate) fn held(&self) -> Box<[Held]> {
        self.holds.map(Held::Actor).into_iter().collect()
    }

    pub(crate) fn value(&self) -> Value {
        let mut bytes = vec![9, u8::from(self.is_error)];
        bytes.extend(self.task.0.to_le_bytes());
        for number in [self.place, self.attempt, self.life, self.position] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.holds.map_or(0, |actor| actor.0.0).to_le_bytes());
        let payload = Payload::Inline(bytes[..].into());
        if self.is_error { Value::Raised(payload) } else { Value::Data(payload) }
    }
}

impl Told {
    pub(crate) fn of(value: &Value) -> Self {
        let payload = match value.origin() {
            Value::Inherited(_) => unreachable!("an error has one origin"),
            Value::Failed(failure) => return Self::Failed(Failure::clone(failure)),
            Value::Data(payload) | Value::Raised(payload) => payload,
            Value::Stream(task) => panic!("nobody asked for a live generator of {task:?}"),
        };
        let Payload::Inline(bytes) = payload else { panic!("{value:?} was never stored") };
        if &**bytes == NONE {
            return Self::None;
        }
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let held = word(26);
        let made = Made {
            is_error: bytes[1] == 1,
            task: TaskId(word(2)),
            place: number(10),
            attempt: number(14),
            life: number(18),
            position: number(22),
            holds: (held != 0).then_some(ActorId(TaskId(held))),
        };
        assert_eq!(made.is_error, value.is_error(), "{value:?} says {made:?}");
        Self::Made(made)
    }
}
