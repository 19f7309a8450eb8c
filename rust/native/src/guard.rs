//! What becomes of the session when a bug of skate ends a thread that others wait for, or leaves the
//! node's tables halfway in whatever thread.
//!
//! ```text
//!   body ─▶ Ok: it was to end          panic, Err ─▶ why ─▶ Host::lose ─▶ every call raises, naming it
//!   tables locked ─▶ unlocked                 panic ──────────┘
//! ```
//!
//! Invariant: none of these threads ends unless the session does, and nobody relies on tables that were
//! left halfway.

use std::any::Any;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::panicking;

use parking_lot::MutexGuard;

use crate::host::Host;

/// Runs the body of a thread; if it panics or gives up: why.
///
/// What the body shares with others may be left halfway: nobody relies on it once the session is lost.
pub(crate) fn run(thread: &str, body: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let ended = catch_unwind(AssertUnwindSafe(body));
    let why = match ended {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(why)) => why,
        Err(panic) => format!("it panicked: {}", message(&*panic)),
    };
    Err(format!("its thread {thread} has ended: {why}"))
}

/// What a panic says.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// The node's tables, locked.
pub(crate) struct Guarded<'a, T> {
    tables: MutexGuard<'a, T>,
    host: &'a Host,
    /// The thread was unwinding before, for a reason of its own.
    was_panicking: bool,
}

impl<'a, T> Guarded<'a, T> {
    pub(crate) fn new(tables: MutexGuard<'a, T>, host: &'a Host) -> Self {
        Self { tables, host, was_panicking: panicking() }
    }
}

impl<T> Deref for Guarded<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.tables
    }
}

impl<T> DerefMut for Guarded<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.tables
    }
}

impl<T> Drop for Guarded<'_, T> {
    fn drop(&mut self) {
        if panicking() && !self.was_panicking {
            self.host.lose("a bug of skate: a call panicked in the node".into());
        }
    }
}
