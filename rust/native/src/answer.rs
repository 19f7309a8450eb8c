//! Answers on their way: who waits for which request of this process.
//!
//! Invariant: an answer is delivered at most once, to the thread or mailbox that asked; one that
//! nobody waits for any more is handed back to whoever delivered it, so that what it carries
//! (handles, pins, leases) can be given back. Once they are lost, nobody waits for one any more: threads
//! look every 100 ms, mailboxes are told.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustc_hash::FxHashMap;
use skate_core::action::Reply;
use skate_core::id::RequestId;

use crate::mailbox::{Letter, Mail};

/// Where one thread sleeps while another one leads, and where its answer is put.
#[derive(Default)]
pub(crate) struct Seat {
    state: Mutex<SeatState>,
    wake: Condvar,
    /// An answer is there; lets a leader look without the lock.
    done: AtomicBool,
}

#[derive(Default)]
struct SeatState {
    reply: Option<Reply>,
    /// The leader has left and this thread is to lead.
    promoted: bool,
}

impl Seat {
    /// Whether there is something to take.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Marks it done without a reply: for waits whose result lies elsewhere.
    pub(crate) fn nudge(&self) {
        let _state = self.state.lock();
        self.done.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Undoes `nudge`, before looking for the result.
    pub(crate) fn reset(&self) {
        self.done.store(false, Ordering::Release);
    }

    pub(crate) fn put(&self, reply: Reply) {
        let mut state = self.state.lock();
        state.reply = Some(reply);
        self.done.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(crate) fn take(&self) -> Option<Reply> {
        self.state.lock().reply.take()
    }

    pub(crate) fn promote(&self) {
        self.state.lock().promoted = true;
        self.wake.notify_one();
    }

    /// Sleeps until done, promoted or timed out; takes the promotion back.
    pub(crate) fn sleep(&self, timeout: Duration) {
        let mut state = self.state.lock();
        if !self.is_done() && !state.promoted {
            self.wake.wait_for(&mut state, timeout);
        }
        state.promoted = false;
    }
}

/// Who waits for an answer.
pub(crate) enum Asker {
    /// A thread that sleeps.
    Thread(Arc<Seat>),
    /// A mailbox, under this token.
    Mail(Arc<Mail>, u64),
}

impl Asker {
    const fn is_mail(&self) -> bool {
        matches!(self, Self::Mail(..))
    }
}

/// The open requests of one process.
#[derive(Default)]
pub(crate) struct Answers {
    open: Mutex<FxHashMap<RequestId, Asker>>,
    /// Of these, so many were asked by mail: their answers wake somebody who does not lead.
    by_mail: AtomicUsize,
    /// Why none will come any more.
    lost: OnceLock<String>,
}

impl Answers {
    /// Before the request is sent.
    pub(crate) fn expect(&self, request: RequestId, asker: Asker) {
        self.by_mail.fetch_add(asker.is_mail().into(), Ordering::Relaxed);
        self.open.lock().insert(request, asker);
        if self.lost().is_some() {
            self.tell(request);
        }
    }

    /// None will come any more, for that reason: the first one given counts.
    pub(crate) fn lose(&self, why: String) {
        let _ = self.lost.set(why);
        let open: Vec<RequestId> = self.open.lock().keys().copied().collect();
        for request in open {
            self.tell(request);
        }
    }

    /// Has a mailbox look: there is nothing to wait for.
    fn tell(&self, request: RequestId) {
        if let Some(Asker::Mail(mail, token)) = self.take(request) {
            mail.post(token, Letter::Ready);
        }
    }

    /// Why none will come any more.
    pub(crate) fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// The asker goes away. True if the answer had not come.
    pub(crate) fn forget(&self, request: RequestId) -> bool {
        self.take(request).is_some()
    }

    /// Whether an answer is to arrive by mail. A hint.
    pub(crate) fn has_mail(&self) -> bool {
        self.by_mail.load(Ordering::Relaxed) > 0
    }

    fn take(&self, request: RequestId) -> Option<Asker> {
        let asker = self.open.lock().remove(&request)?;
        self.by_mail.fetch_sub(asker.is_mail().into(), Ordering::Relaxed);
        Some(asker)
    }

    /// Delivers; gives the reply back if nobody waits.
    pub(crate) fn deliver(&self, request: RequestId, reply: Reply) -> Option<Reply> {
        // The seat is filled outside of the lock: filling wakes a thread that may ask again.
        match self.take(request) {
            None => Some(reply),
            Some(Asker::Thread(seat)) => {
                seat.put(reply);
                None
            }
            Some(Asker::Mail(mail, token)) => mail.post(token, Letter::Reply(reply)),
        }
    }
}
