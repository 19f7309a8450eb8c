//! Workers: their coming, what they say, and their going.
//!
//! ```text
//!   Action::Spawn ─▶ rings, a seat ─▶ zygote forks ─▶ worker_started ─▶ read when its flag is up
//!                                                          └─▶ worker_died: read to the end, then gone
//! ```
//!
//! Invariant: whatever a worker published before its death is in the node before the death is.

use rustix::process::Signal;
use skate_core::action::Action;
use skate_core::event::Event;
use skate_core::id::{ClientId, Ticket};
use skate_core::value::Death;
use skate_shm::control::Control;
use skate_shm::flags::Flags;
use skate_shm::watch::Process;
use smallvec::SmallVec;

use super::{Host, State};
use crate::link::{Doom, Link};
use crate::watcher::{Order, UNKNOWN};

/// Messages taken from one worker before the next one's turn.
const BATCH: usize = 256;

impl Host {
    pub(super) fn spawn(&self, state: &mut State, worker: ClientId) {
        match Control::create() {
            Ok((control, fd)) => {
                state.links.insert(worker, Link::new(control));
                let seat = Flags::seat(worker.0);
                if state.seats.len() <= seat {
                    state.seats.resize_with(seat + 1, SmallVec::new);
                }
                state.seats[seat].push(worker);
                self.watcher.order(Order::Spawn { worker, control: fd });
            }
            Err(error) => {
                self.watcher.order(Order::Failed { worker, note: error.to_string() });
            }
        }
    }

    /// Reads the rings of those who have said something; the Engine's poll, for a caller that has the lock.
    /// False if it has left messages that were there.
    pub(super) fn read_rings(&self, state: &mut State) -> bool {
        let mut is_all = true;
        let flags = self.hub.flags();
        flags.take(|seat| {
            for place in 0..state.seats.get(seat).map_or(0, SmallVec::len) {
                let Some(worker) = state.seats[seat].get(place).copied() else { break };
                if !self.read_ring(state, worker, BATCH) {
                    flags.raise(seat);
                    is_all = false;
                }
            }
        });
        is_all
    }

    pub(super) fn read_ring(&self, state: &mut State, worker: ClientId, most: usize) -> bool {
        let mut is_all = false;
        for _ in 0..most {
            let Some(link) = state.links.get_mut(&worker) else { return true };
            match link.receive(&mut state.scratch) {
                Ok(Some(request)) => self.request(state, worker, request),
                Ok(None) => {
                    is_all = true;
                    break;
                }
                Err(()) => {
                    self.act(state, Action::Kill(worker, "it wrote what is no message"));
                    is_all = true;
                    break;
                }
            }
        }
        state.tell(worker, |link, _| {
            link.note_read();
            link.send_backlog();
        });
        is_all
    }

    /// The zygote has forked a worker.
    pub(crate) fn worker_started(&self, worker: ClientId, process: Process) {
        self.turn(|host, state| {
            let Some(link) = state.links.get_mut(&worker) else { return };
            if matches!(link.doom, Doom::Kill(_)) {
                let _ = process.signal(Signal::KILL);
            }
            state.tell(worker, |link, _| link.admit(process));
            host.step(state, Event::WorkerStarted(worker));
        });
    }

    /// Ends a system call of a task that has not heard its cancel; false if it runs no more.
    pub(crate) fn nudge(&self, worker: ClientId, ticket: Ticket) -> bool {
        let state = self.lock();
        let process = state.links.get(&worker).and_then(|link| link.process.as_ref());
        // The main thread takes it: the kernel prefers it, and Rust threads block all.
        state.node.has_at(worker, ticket)
            && process.is_some_and(|process| process.signal(Signal::URG).is_ok())
    }

    /// A worker has ended, or could not be made: its ring is read to the end, then its holdings go.
    pub(crate) fn worker_died(&self, worker: ClientId, mut death: Death, last_words: &str) {
        self.turn(|host, state| {
            host.tick(state);
            host.read_ring(state, worker, usize::MAX);
            if let Some(Doom::Kill(why)) = state.links.get(&worker).map(|link| link.doom)
                && (death.note.is_empty() || &*death.note == UNKNOWN)
            {
                death.note = format!("ended by skate: {why}").into();
            }
            let started = state.links.get(&worker).map_or_else(Vec::new, Link::started);
            if death.note.is_empty() && started.is_empty() && !state.node.has_heard_of(worker) {
                // It could not begin; what it wrote is the reason.
                death.note = last_words.into();
            }
            host.step(state, Event::WorkerDied(worker, death, started));
            if let Some(link) = state.links.remove(&worker) {
                state.late.push(worker, link.pid());
            }
            // One that could not even be prepared has no seat.
            if let Some(seat) = state.seats.get_mut(Flags::seat(worker.0)) {
                seat.retain(|other| *other != worker);
            }
        });
        // It may have died between marking somebody awake and waking them, and whatever it has done to the
        // words that all share is mended.
        self.hub.flags().raise_all();
        self.hub.bell().ring_always();
    }
}
