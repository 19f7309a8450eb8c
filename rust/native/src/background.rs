//! The thread that pumps while nobody waits: callbacks, event loops, dependents, streams.
//!
//! Invariant: it polls when rung for and is asleep otherwise; it never needs Python, so a driver that
//! holds the GIL for minutes does not delay a task.

use std::sync::Arc;

use skate_shm::doorbell::Sleeper;
use skate_shm::thread::block_all_signals;

use crate::error::{Error, Result};
use crate::guard;
use crate::session::Session;

/// Starts it; it ends when the session is closed and its bell is rung.
pub(crate) fn start(session: Arc<Session>) -> Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name("skate-pump".into())
        .stack_size(256 << 10)
        .spawn(move || {
            block_all_signals();
            let engine = session.transport.engine();
            let ended = guard::run("skate-pump", || {
                // Polling first also arms the bell: until somebody has led, nobody else does.
                while session.check().is_ok() {
                    session.pump.poll_in_background(engine);
                    let _ = engine.bell().park(Sleeper::Background, || false, None);
                }
                Ok(())
            });
            if let Err(why) = ended {
                session.transport.lose(why);
            }
        })
        .map_err(|error| Error::Thread(error.to_string()))
}
