//! The driver as a client of the node in its own process: no ring, the same requests.
//!
//! Invariant: what the driver asks is in the node when the call returns, and what workers have
//! published is read before it is told that something is not there.

use std::sync::atomic::Ordering;

use skate_core::action::Reply;
use skate_core::event::{Held, Request, Waitable};
use skate_core::id::{ClientId, ObjectId, TaskId};
use skate_core::value::Value;
use skate_shm::doorbell::Doorbell;

use super::{Host, State};
use crate::pump::Engine;
use crate::session::{Consumed, Session, Transport};

/// Submissions between two looks at the rings while nobody waits: fewer than what keeps a worker brisk.
const SUBMITS_PER_POLL: u32 = 16;

impl Engine for Host {
    fn poll(&self) -> bool {
        // What a lost session's tables say is not to be relied on.
        self.answers.lost().is_some()
            || self.turn(|host, state| {
                host.tick(state);
                host.flush(state, None);
                host.read_rings(state)
            })
    }

    fn has_work(&self) -> bool {
        self.hub.flags().is_any() && self.answers.lost().is_none()
    }

    fn bell(&self) -> &Doorbell {
        self.hub.bell()
    }

    fn may_spin(&self) -> bool {
        let shares_core = self.hub.cores().node_shares();
        self.running.load(Ordering::Relaxed) < self.cpus && !shares_core
    }

    fn has_background(&self) -> bool {
        true
    }
}

impl Transport for Host {
    fn send(&self, _session: &Session, request: Request) {
        self.turn(|host, state| {
            if matches!(request, Request::Submit(_)) {
                state.submits += 1;
                // It is noted when it was made: while something runs, others tick within 10 ms.
                if state.submits % SUBMITS_PER_POLL == 0 || state.node.running() == 0 {
                    host.tick(state);
                }
                // A worker that is believed to be busy may have said that it is not.
                if state.node.wants_worker() || state.submits % SUBMITS_PER_POLL == 0 {
                    host.read_rings(state);
                }
            }
            if matches!(request, Request::Inspect(..)) {
                host.catch_up(state);
            }
            host.flush(state, Some(request));
        });
    }

    fn try_flush(&self, _session: &Session) {
        // Never put off: what a task yields next depends on whether its stream was dropped before.
        self.turn(|host, state| host.flush(state, None));
    }

    fn note_dirty(&self) {
        self.watcher.note_dirty();
    }

    fn peek(&self, _session: &Session, object: ObjectId) -> Option<Value> {
        let mut state = self.lock();
        let value = state.node.peek(object).filter(|value| value.extent().is_none())?.clone();
        if value.block().is_some() {
            let pin = Request::Hold(Held::Pin(object));
            self.request(&mut state, ClientId::DRIVER, pin);
            self.finish(state);
        }
        Some(value)
    }

    fn peek_ready(&self, on: &[Waitable], count: usize) -> Option<Vec<u32>> {
        let mut state = self.lock();
        let places = state.node.ready_places(on, count);
        if places.len() >= count {
            return Some(places);
        }
        // What has arrived counts, though nobody has looked yet.
        self.read_rings(&mut state);
        let places = state.node.ready_places(on, count);
        self.finish(state);
        Some(places)
    }

    fn take(&self, task: TaskId, at: Option<u64>, most: Option<u32>) -> Option<Reply> {
        let mut state = self.lock();
        if at.is_some() && self.handles.has_holds() {
            // A copy that is being pickled relies on the place that this leaves.
            self.flush(&mut state, None);
        }
        let State { node, actions, .. } = &mut *state;
        let mut reply = node.take(task, at, most, actions);
        if reply.is_none() {
            self.flush(&mut state, None);
            self.read_rings(&mut state);
            let State { node, actions, .. } = &mut *state;
            reply = node.take(task, at, most, actions);
        }
        self.finish(state);
        reply
    }

    fn learn(&self, _values: Vec<(ObjectId, Value)>) {
        // The node is here: a look at it is as quick.
    }

    fn consume(&self, session: &Session, taken: &Consumed) {
        self.send(session, Request::Taken(taken.request, taken.count, None));
    }

    fn large(&self) -> u64 {
        // A lease is a call: sharing one is worth it only where its few hundred ns matter.
        64 << 10
    }

    fn engine(&self) -> &dyn Engine {
        self
    }

    fn listen(&self, _session: &Session) {
        // The driver's background thread always listens.
    }

    fn has_untold(&self) -> bool {
        false
    }

    fn ring_untold(&self) {
        // Each turn ends by ringing those that it has sent something.
    }

    fn current_task(&self) -> Option<TaskId> {
        None
    }

    fn holds_resources(&self) -> bool {
        false
    }

    fn blocked(&self, _session: &Session, _is_blocked: bool) {}

    fn lose(&self, why: String) {
        Self::lose(self, why);
    }
}
