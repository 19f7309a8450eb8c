//! Which calls of an actor that runs several at once sleep: while all do, its CPU may go to others.
//!
//! ```text
//!   began ─▶ awake ◀─ woke ┊ fell_asleep ─▶ asleep        awake ─▶ ended
//!   no call awake, and there are calls ─▶ Blocked        one awake ─▶ Resumed
//! ```
//!
//! Invariant: the node has heard `Blocked` last exactly while there are calls and all of them sleep, or
//! the loop stands still. Messages leave in the order of the changes: they are sent under the lock,
//! which is taken before the outbox. A call sleeps while anything that belongs to it waits.

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use skate_core::event::Request;
use skate_core::id::Ticket;

/// The calls of one process.
#[derive(Default)]
pub(crate) struct Naps(Mutex<State>);

#[derive(Default)]
struct State {
    /// Calls that were begun and have not ended.
    calls: usize,
    /// Of these, those that sleep: how many waits each is in.
    asleep: FxHashMap<Ticket, u32>,
    /// A call waits on the loop's own thread.
    stands: bool,
    is_told: bool,
}

impl State {
    /// Tells the node what it does not know. `awake` names a call that is in the process in any case.
    fn settle(&mut self, call: Ticket, tell: &mut dyn FnMut(Request)) {
        let all_sleep = self.calls > 0 && (self.stands || self.asleep.len() == self.calls);
        if all_sleep != self.is_told {
            self.is_told = all_sleep;
            tell(if all_sleep { Request::Blocked(call) } else { Request::Resumed(call) });
        }
    }
}

impl Naps {
    pub(crate) fn began(&self, call: Ticket, tell: &mut dyn FnMut(Request)) {
        let mut state = self.0.lock();
        state.calls += 1;
        state.settle(call, tell);
    }

    /// To be told before the node hears of the call's end.
    pub(crate) fn ended(&self, call: Ticket, tell: &mut dyn FnMut(Request)) {
        let mut state = self.0.lock();
        // The constructor is no call.
        state.calls = state.calls.saturating_sub(1);
        state.asleep.remove(&call);
        let other = state.asleep.keys().next().copied().unwrap_or(call);
        state.settle(other, tell);
    }

    pub(crate) fn fell_asleep(&self, call: Ticket, tell: &mut dyn FnMut(Request)) {
        let mut state = self.0.lock();
        *state.asleep.entry(call).or_default() += 1;
        state.settle(call, tell);
    }

    pub(crate) fn woke(&self, call: Ticket, tell: &mut dyn FnMut(Request)) {
        let mut state = self.0.lock();
        if let Some(waits) = state.asleep.get_mut(&call) {
            *waits -= 1;
            if *waits == 0 {
                state.asleep.remove(&call);
            }
        }
        state.settle(call, tell);
    }

    /// The loop's thread waits for something that `call` wants, or no longer.
    pub(crate) fn loop_stands(&self, call: Ticket, stands: bool, tell: &mut dyn FnMut(Request)) {
        let mut state = self.0.lock();
        state.stands = stands;
        state.settle(call, tell);
    }
}
