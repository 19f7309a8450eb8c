//! Threads that others wait for: what becomes of the session when one of them ends by a bug.
//!
//! ```text
//!   body ─▶ Ok: it was to end          panic, Err ─▶ why ─▶ Host::lose ─▶ every call raises, naming it
//! ```
//!
//! Invariant: none of these threads ends unless the session does.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

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
