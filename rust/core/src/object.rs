//! One immutable value, present or still to come, and who waits for it.
//!
//! ```text
//!   submit ─▶ Pending ──seal──▶ Sealed ──count 0──▶ ∅
//!                 └──count 0──▶ ∅          put, yield ─▶ Sealed at once
//!
//!   the bytes of a sealed one:   in the row ┊ in a block ◀──spill, read──▶ in the spill file (spill.rs)
//! ```
//!
//! Invariants: an object is in the table exactly while its count is above 0 (between two steps).
//! Once sealed its value never changes, wherever its bytes are; only if they cannot be read back from the
//! spill file does it become the error that says so. Only a pending object has waiters. Who gives up waiting stays
//! on the list until half of it is such, so that each costs the same however many wait.
//!
//! There are more of these rows than of any other, so what few objects have lies beside them.

use std::sync::Arc;

use crate::event::Held;
use crate::fate::Fate;
use crate::id::{ClientId, RequestId, TaskId};
use crate::value::Value;

/// Who waits for a pending object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A task, as an argument.
    Task(TaskId),
    /// An open `Get` or `Wait`.
    Request(ClientId, RequestId),
}

/// One object.
#[derive(Debug)]
pub(crate) struct Object {
    /// Handles, pins, tasks, containing objects, streams and open requests that keep it.
    pub(crate) count: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Pending(Waiters),
    Sealed(Value, Option<Box<Kin>>),
}

/// Who waits.
#[derive(Debug, Default)]
struct Waiters {
    list: Vec<Waiter>,
    /// Of the list, at most so many are gone: their task or request is in no table.
    gone: u32,
    /// A `get` that raised another error had asked for it, too.
    is_asked: bool,
}

/// What few values have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kin {
    /// What the value contains.
    pub(crate) contains: Box<[Held]>,
    /// Of the error that it is.
    pub(crate) fate: Option<Arc<Fate>>,
}

const _: () = assert!(size_of::<Object>() <= 56, "a million of them are queued");

impl Object {
    /// One that has no value yet.
    pub(crate) fn pending(count: u32) -> Self {
        Self { count, state: State::Pending(Waiters::default()) }
    }

    /// None while pending.
    pub(crate) const fn value(&self) -> Option<&Value> {
        match &self.state {
            State::Pending(_) => None,
            State::Sealed(value, _) => Some(value),
        }
    }

    pub(crate) const fn is_pending(&self) -> bool {
        matches!(self.state, State::Pending(_))
    }

    fn kin(&self) -> Option<&Kin> {
        match &self.state {
            State::Sealed(_, Some(kin)) => Some(kin),
            _ => None,
        }
    }

    /// What its value contains.
    pub(crate) fn contains(&self) -> &[Held] {
        self.kin().map_or(&[], |kin| &kin.contains)
    }

    /// Somebody is given the error that it holds, or has been given another instead.
    pub(crate) fn mark_seen(&mut self) {
        match &mut self.state {
            State::Pending(waiters) => waiters.is_asked = true,
            State::Sealed(..) => _ = self.fate().inspect(|fate| fate.mark_seen()),
        }
    }

    /// Of the error that it holds.
    pub(crate) fn fate(&self) -> Option<&Arc<Fate>> {
        self.kin()?.fate.as_ref()
    }

    /// What it leaves: its value and what belongs to that.
    pub(crate) fn into_value(self) -> Option<(Value, Kin)> {
        match self.state {
            State::Pending(_) => None,
            State::Sealed(value, kin) => Some((value, kin.map_or_else(Kin::default, |kin| *kin))),
        }
    }

    /// Pending → sealed. Gives those who waited.
    pub(crate) fn seal(&mut self, value: Value, kin: Kin) -> Vec<Waiter> {
        let has_kin = !kin.contains.is_empty() || kin.fate.is_some();
        let sealed = State::Sealed(value, has_kin.then(|| Box::new(kin)));
        match std::mem::replace(&mut self.state, sealed) {
            State::Pending(waiters) => {
                if waiters.is_asked {
                    self.mark_seen();
                }
                waiters.list
            }
            State::Sealed(..) => unreachable!("an object is sealed once"),
        }
    }

    /// The bytes of a sealed one are elsewhere now, or lost. Gives what it held before.
    pub(crate) fn move_to(&mut self, value: Value) -> Value {
        match &mut self.state {
            State::Sealed(old, _) => std::mem::replace(old, value),
            State::Pending(_) => unreachable!("what is pending has no bytes"),
        }
    }

    /// One more waits; false if there is nothing to wait for.
    pub(crate) fn wait(&mut self, waiter: Waiter) -> bool {
        match &mut self.state {
            State::Pending(waiters) => waiters.list.push(waiter),
            State::Sealed(..) => return false,
        }
        true
    }

    /// A waiter is gone. Once half of the list may be so, gives the list, to be looked through.
    pub(crate) fn leave(&mut self) -> Option<Vec<Waiter>> {
        let State::Pending(waiters) = &mut self.state else { return None };
        waiters.gone += 1;
        if waiters.gone as usize * 2 <= waiters.list.len() {
            return None;
        }
        waiters.gone = 0;
        Some(std::mem::take(&mut waiters.list))
    }

    /// After `leave` gave the list: those who are still there.
    pub(crate) fn stay(&mut self, list: Vec<Waiter>) {
        if let State::Pending(waiters) = &mut self.state {
            waiters.list = list;
        }
    }

    /// Panics unless it is known of at least as many of the waiters that they are gone as really are.
    pub(crate) fn check(&self, is_gone: impl Fn(&Waiter) -> bool) {
        if let State::Pending(waiters) = &self.state {
            let gone = waiters.list.iter().filter(|waiter| is_gone(waiter)).count();
            assert!(waiters.gone as usize >= gone, "{gone} are gone: {self:?}");
        }
    }
}
