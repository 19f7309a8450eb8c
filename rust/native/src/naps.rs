//! Which calls of an actor that runs several at once sleep: while all do, its CPU may go to others.
//!
//! ```text
//!   began ─▶ awake ◀─ woke ┊ fell_asleep ─▶ asleep        awake ─▶ ended
//!   no call awake, and there are calls ─▶ Blocked        one awake ─▶ Resumed
//! ```
//!
//! Invariant: the node has heard `Blocked` last exactly while there are calls and each of them sleeps, or
//! its loop stands still. Messages leave in the order of the changes: they are sent under the lock,
//! which is taken before the outbox. A call sleeps while anything that belongs to it waits; what outlives
//! its call (a task of the loop, a thread) is none, and neither sleeps nor keeps others awake.

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use skate_core::event::Request;
use skate_core::id::Ticket;

/// The calls of one process.
pub(crate) struct Naps(Mutex<State>);

struct State {
    /// Calls that were begun and have not ended.
    calls: FxHashMap<Ticket, Nap>,
    lanes: Box<[Lane]>,
    is_told: bool,
}

struct Nap {
    lane: usize,
    /// How many waits it is in.
    waits: u32,
}

#[derive(Clone, Default)]
struct Lane {
    /// Calls that are in no wait.
    awake: usize,
    /// Something waits on the thread of its loop.
    stands: bool,
}

impl State {
    /// Tells the node what it does not know. The node knows `call` if there is no other.
    fn settle(&mut self, call: Ticket, tell: &mut dyn FnMut(Request)) {
        let sleeps = |lane: &Lane| lane.stands || lane.awake == 0;
        let all_sleep = !self.calls.is_empty() && self.lanes.iter().all(sleeps);
        if all_sleep != self.is_told {
            self.is_told = all_sleep;
            let call = self.calls.keys().next().copied().unwrap_or(call);
            tell(if all_sleep { Request::Blocked(call) } else { Request::Resumed(call) });
        }
    }
}

impl Naps {
    pub(crate) fn new(lanes: usize) -> Self {
        let lanes = vec![Lane::default(); lanes].into();
        Self(Mutex::new(State { calls: FxHashMap::default(), lanes, is_told: false }))
    }

    pub(crate) fn began(&self, call: Ticket, lane: usize, tell: &mut dyn FnMut(Request)) {
        let mut state = self.0.lock();
        state.calls.insert(call, Nap { lane, waits: 0 });
        state.lanes[lane].awake += 1;
        state.settle(call, tell);
    }

    /// To be told before the node hears of the call's end. The constructor of an actor with threads is
    /// no call.
    pub(crate) fn ended(&self, call: Ticket, tell: &mut dyn FnMut(Request)) {
        let mut state = self.0.lock();
        if let Some(nap) = state.calls.remove(&call) {
            state.lanes[nap.lane].awake -= usize::from(nap.waits == 0);
        }
        state.settle(call, tell);
    }

    pub(crate) fn fell_asleep(&self, call: Ticket, tell: &mut dyn FnMut(Request)) {
        let mut state = self.0.lock();
        let State { calls, lanes, .. } = &mut *state;
        let Some(nap) = calls.get_mut(&call) else { return };
        lanes[nap.lane].awake -= usize::from(nap.waits == 0);
        nap.waits += 1;
        state.settle(call, tell);
    }

    pub(crate) fn woke(&self, call: Ticket, tell: &mut dyn FnMut(Request)) {
        let mut state = self.0.lock();
        let State { calls, lanes, .. } = &mut *state;
        let Some(nap @ Nap { waits: 1.., .. }) = calls.get_mut(&call) else { return };
        nap.waits -= 1;
        lanes[nap.lane].awake += usize::from(nap.waits == 0);
        state.settle(call, tell);
    }

    /// The thread of a lane's loop waits for something that `call` wants, or no longer.
    pub(crate) fn loop_stands(
        &self,
        lane: usize,
        call: Ticket,
        stands: bool,
        tell: &mut dyn FnMut(Request),
    ) {
        let mut state = self.0.lock();
        state.lanes[lane].stands = stands;
        state.settle(call, tell);
    }
}
