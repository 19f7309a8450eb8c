//! What this process holds, as differences that the node has not heard of yet.
//!
//! ```text
//!   ref unpickled, view made ──▶ hold ──┐
//!                                       ├──▶ flush: what remains after cancelling pairs, holds first
//!   ref or view dropped ──────▶ release ┘
//! ```
//!
//! Invariant: every hold made here concerns something that this client keeps alive otherwise until
//! the flush (an argument, a container, a handle not yet released), because releases travel only
//! after the holds made before them, and after the message that goes out with them. A ref that came and went between two flushes costs no message.
//! Dropping takes no lock that is held while Python runs, or while anything waits for another process.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use skate_core::event::Held;

/// Handles to tell the node of.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) holds: Vec<Held>,
    pub(crate) releases: Vec<Held>,
}

/// The differences of one process.
#[derive(Default)]
pub(crate) struct Handles {
    pending: Mutex<Pending>,
    /// Whether there may be any; spares the lock.
    dirty: AtomicBool,
}

impl Handles {
    /// One more handle, on something that is alive through another one.
    pub(crate) fn hold(&self, held: Held) {
        self.pending.lock().holds.push(held);
        self.dirty.store(true, Ordering::Release);
    }

    /// One handle less.
    pub(crate) fn release(&self, held: Held) {
        self.pending.lock().releases.push(held);
        self.dirty.store(true, Ordering::Release);
    }

    /// Whether a flush would send anything.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    /// Whether a flush would send a hold, or one that cancels out.
    pub(crate) fn has_holds(&self) -> bool {
        self.is_dirty() && !self.pending.lock().holds.is_empty()
    }

    /// Takes what has gathered, less what cancels out. Send the holds before the message that may
    /// end what they rely on, and the releases after the message that may contain what they let go.
    pub(crate) fn take(&self) -> Pending {
        if !self.dirty.swap(false, Ordering::AcqRel) {
            return Pending::default();
        }
        let Pending { mut holds, mut releases } = std::mem::take(&mut *self.pending.lock());
        if !holds.is_empty() && !releases.is_empty() {
            let mut balance: FxHashMap<Held, i64> = FxHashMap::default();
            for held in &holds {
                *balance.entry(*held).or_default() += 1;
            }
            for held in &releases {
                *balance.entry(*held).or_default() -= 1;
            }
            let mut is_left = |held: &Held, sign: i64| {
                let count = balance.get_mut(held).expect("counted above");
                let is_left = *count * sign > 0;
                *count -= if is_left { sign } else { 0 };
                is_left
            };
            holds.retain(|held| is_left(held, 1));
            releases.retain(|held| is_left(held, -1));
        }
        Pending { holds, releases }
    }
}
