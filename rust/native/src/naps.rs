//! Which calls of an actor that runs several at once sleep: while all do, its CPU may go to others.
//!
//! ```text
//!   began ─▶ awake ◀─ woke ┊ fell_asleep ─▶ asleep        awake ─▶ ended
//!   no call awake, and there are calls ─▶ Blocked        one awake ─▶ Resumed
//! ```
//!
//! Invariant: the node has heard `Blocked` last exactly while there are calls and all of them sleep, or
//! the loop stands still. Messages leave in the order of the changes: they are sent under the lock,
//! which is taken before the outbox. A call sleeps while anything that belongs to it waits; what outlives
//! its call (a task of the loop, a thread) is none, and neither sleeps nor keeps others awake.

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use skate_core::event::Request;
use skate_core::id::Ticket;

/// The calls of one process.
#[derive(Default)]
pub(crate) struct Naps(Mutex<State>);

#[derive(Default)]
struct State {
    /// Calls that were begun and have not ended: how many waits each is in.
    calls: FxHashMap<Ticket, u32>,
    /// Of these, those that are in one.
    asleep: usize,
    /// Something waits on the loop's own thread.
    stands: bool,
    is_told: bool,
}

impl State {
    /// Tells the node what it does not know. The node knows `call` if there is no other.
    fn settle(&mut self, call: Ticket, tell: &mut dyn FnMut(Request)) {
        let all_sleep = !self.calls.is_empty() && (self.stands || self.asleep == self.calls.len());
        if all_sleep != self.is_told {
            self.is_told = all_sleep;
            let call = self.calls.keys().next().copied().unwrap_or(call);
            tell(if all_sleep { Request::Blocked(call) } else { Request::Resumed(call) });
        }
    }
}

impl Naps {
    pub(crate) fn began(&self, call: Ticket, tell: &mut dyn FnMut(Request)) {
        let mut state = self.0.lock();
        state.calls.insert(call, 0);
        state.settle(call, tell);
    }

    /// To be told before the node hears of the call's end. The constructor of an actor with threads is
    /// no call.
    pub(crate) fn ended(&self, call: Ticket, tell: &mut dyn FnMut(Request)) {
        let mut state = self.0.lock();
        let waits = state.calls.remove(&call);
        state.asleep -= usize::from(waits.is_some_and(|waits| waits > 0));
        state.settle(call, tell);
    }

    pub(crate) fn fell_asleep(&self, call: Ticket, tell: &mut dyn FnMut(Request)) {
        let mut state = self.0.lock();
        let Some(waits) = state.calls.get_mut(&call) else { return };
        *waits += 1;
        state.asleep += usize::from(*waits == 1);
        state.settle(call, tell);
    }

    pub(crate) fn woke(&self, call: Ticket, tell: &mut dyn FnMut(Request)) {
        let mut state = self.0.lock();
        let Some(waits @ 1..) = state.calls.get_mut(&call) else { return };
        *waits -= 1;
        state.asleep -= usize::from(*waits == 0);
        state.settle(call, tell);
    }

    /// The loop's thread waits for something that `call` wants, or no longer.
    pub(crate) fn loop_stands(&self, call: Ticket, stands: bool, tell: &mut dyn FnMut(Request)) {
        let mut state = self.0.lock();
        state.stands = stands;
        state.settle(call, tell);
    }
}
