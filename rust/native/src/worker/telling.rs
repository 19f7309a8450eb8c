//! What a worker tells the node, and whom it wakes for that.
//!
//! ```text
//!   request, error, last runs ──▶ urgent: wakes whoever listens
//!   result, item ──▶ somebody waits (the hints), or the ring is half full? ──yes──▶ urgent
//!                        └─no──▶ relaxed: wakes a leader; untold until the sentinel's next look
//! ```
//!
//! Invariants: messages leave in the order in which they were made, holds before what might free
//! them. A message is read within a tick of the sentinel, whoever sleeps.

use std::sync::atomic::Ordering;
use std::time::Duration;

use skate_core::event::{End, Request};
use skate_shm::doorbell::Urgency;
use skate_shm::ring::Push;

use super::{Outbox, Worker, leave_if_forked};
use crate::sentinel::end_with_driver;
use crate::wire;

/// How long to leave the node alone when the ring to it is full.
const FULL_RING_NAP: Duration = Duration::from_micros(50);
/// With fewer runs than this left, the node should send more: half of what is run while it wakes up.
const LOW_WATER: usize = 16;

impl Worker {
    /// The node is to read what was published.
    pub(super) fn call(&self, urgency: Urgency) {
        self.hub.call(self.seat_at_hub, urgency);
    }

    fn write(&self, outbox: &mut Outbox, message: &Request) {
        let Outbox { writer, scratch } = outbox;
        wire::encode(message, scratch);
        while writer.push(scratch) == Push::Full {
            // The node always drains: whoever leads there does, or the background thread.
            self.call(Urgency::Urgent);
            std::thread::sleep(FULL_RING_NAP);
            // The thread that waits here may be the one that would notice.
            end_with_driver(&self.driver);
        }
    }

    /// Sends what the handles have gathered, around the message that goes out with it.
    pub(super) fn flush(&self, outbox: &mut Outbox, message: Option<&Request>) {
        let pending = self.handles.take();
        for held in pending.holds {
            self.write(outbox, &Request::Hold(held));
        }
        if let Some(message) = message {
            self.write(outbox, message);
        }
        for held in pending.releases {
            self.write(outbox, &Request::Release(held));
        }
    }

    /// Results and items wake only a leader, unless somebody else waits for them, or for this worker:
    /// the driver looks by itself when it wants to know something. What it has not read by the
    /// sentinel's next look is rung for then.
    pub(super) fn urgency_of(&self, request: &Request) -> Urgency {
        let is_result = match request {
            Request::Yielded(..) | Request::Span(_) | Request::Undefine(_) => true,
            Request::Finished(_, outcome) => {
                outcome.unhandled.is_none()
                    && matches!(outcome.end, End::Returned(_) | End::Exhausted(..))
            }
            _ => false,
        };
        let hints = self.hub.hints();
        if !is_result || self.lanes.get().is_some() || hints.is_urgent() {
            return Urgency::Urgent;
        }
        if hints.has_backlog() && self.runs.lock().len() < LOW_WATER {
            return Urgency::Urgent;
        }
        Urgency::Relaxed
    }

    /// Wakes a leader, if there is one. If not, the sentinel rings within a tick.
    pub(super) fn ring_relaxed(&self) {
        self.call(Urgency::Relaxed);
        self.tell_later();
    }

    /// The sentinel rings within a tick.
    pub(super) fn tell_later(&self) {
        self.untold.store(true, Ordering::Release);
        self.ticker.note_dirty();
    }

    pub(super) fn write_all(&self, message: &Request, urgency: Urgency) {
        leave_if_forked();
        let mut outbox = self.outbox.lock();
        self.flush(&mut outbox, Some(message));
        let is_half_full = outbox.writer.is_half_full();
        drop(outbox);
        if urgency == Urgency::Urgent || is_half_full {
            self.call(Urgency::Urgent);
        } else {
            self.ring_relaxed();
        }
    }
}
