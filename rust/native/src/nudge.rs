//! A cancel is heard although its signal came just before a system call.
//!
//! Python's C code only notes a signal; the handler runs before the next instruction. A system call that
//! begins in between waits as if nothing had been, for ever if nothing else ends it.
//!
//! ```text
//!   SIGINT ─▶ Python's C code ─ its number ─▶ pipe ─▶ sentinel: heard by now? ─ no ─▶ SIGURG ends the call
//!                                                          ▲───── after 10 ms, 20, … 1 s ─────┘
//! ```
//!
//! Invariant: as long as the cancel of a running task has not been heard its process is nudged. The nudge
//! itself means nothing, so one too many does no harm: SIGINT again could come while the task cleans up.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, kill_process};

use crate::worker::Worker;

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// What the sentinel remembers of it.
pub(crate) struct Nudge {
    worker: Arc<Worker>,
    signals: OwnedFd,
    pause: Duration,
    due: Option<Instant>,
}

impl Nudge {
    /// `signals` gives the number of each signal that Python notes, and does not block.
    pub(crate) fn new(worker: Arc<Worker>, signals: OwnedFd) -> Self {
        Self { worker, signals, pause: FIRST, due: None }
    }

    /// Becomes readable by a signal.
    pub(crate) fn signals(&self) -> &OwnedFd {
        &self.signals
    }

    /// Something has come.
    pub(crate) fn read_signals(&mut self) {
        let mut numbers = [0; 64];
        while let Ok(count @ 1..) = rustix::io::read(&self.signals, &mut numbers) {
            if numbers[..count].iter().any(|number| i32::from(*number) == Signal::INT.as_raw()) {
                self.pause = FIRST;
                self.due = Some(Instant::now() + FIRST);
            }
        }
    }

    /// Nudges if it is time to; when it will be time again.
    pub(crate) fn timeout(&mut self) -> Option<Duration> {
        let left = self.due?.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Some(left);
        }
        if !self.worker.has_unheard_cancel() {
            self.due = None;
            return None;
        }
        // The main thread takes it: the kernel prefers it, and Rust threads block all.
        let _ = kill_process(getpid(), Signal::URG);
        self.pause = (2 * self.pause).min(LONGEST);
        self.due = Some(Instant::now() + self.pause);
        Some(self.pause)
    }
}
