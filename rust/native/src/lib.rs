//! `skate._native`: the bindings. They translate; what is decided is decided in `skate-core`.
//!
//! ```text
//!   a call      client, template, object_ref, stream      one file per class that Python sees
//!   its bytes   pack, unpack, buffer, view, fresh, lease  values to payloads and back
//!   its way     session ─▶ host (driver) │ worker         one protocol, two transports
//!   waiting     pump, answer, background, mailbox         whoever waits, drives
//!   processes   watcher, zygote, link, sentinel, output   starts, deaths, rings, lines
//!   executing   worker ─▶ execute, again                  a task, in its worker
//!   actors      actor_ref ┊ serving, lanes, call           a handle ┊ what an actor's process does
//!   looking     inspect, inspect/listener                 rows as JSON, for this process and for others
//! ```
#![deny(unsafe_code)]
#![allow(clippy::needless_pass_by_value, reason = "PyO3 hands arguments over by value")]
#![allow(clippy::unused_self, reason = "methods of Python classes have a self")]
#![allow(clippy::cast_precision_loss, reason = "amounts of resources are far below 2^52")]

mod actor_ref;
mod again;
mod answer;
mod arguments;
mod background;
mod buffer;
mod call;
mod client;
mod current;
mod define;
mod disk;
mod error;
mod execute;
mod fresh;
mod guard;
mod handles;
mod host;
mod inspect;
#[cfg(feature = "kill-points")]
mod kill;
mod lanes;
mod lease;
mod link;
mod mailbox;
mod memory;
mod modules;
mod naps;
mod notice;
mod nudge;
mod object_ref;
mod output;
mod pace;
mod pack;
mod placing;
mod prepared;
mod problem;
mod pump;
mod sentinel;
mod serving;
mod session;
mod start;
mod statistics;
mod stream;
mod template;
mod ticker;
mod turn;
mod unpack;
mod view;
mod waiting;
mod watcher;
mod wire;
mod worker;
mod zygote;

use std::sync::OnceLock;
use std::thread::ThreadId;

use pyo3::prelude::*;

/// Processors that this process may use.
fn usable_cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(1))
}

/// The clock that all processes of this machine share, in nanoseconds.
fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Fills `bytes` with random ones.
fn random(bytes: &mut [u8]) -> error::Result<()> {
    rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty())
        .map(drop)
        .map_err(|errno| error::Error::System("getrandom", errno))
}

static MAIN_THREAD: OnceLock<ThreadId> = OnceLock::new();

/// Whether this is the thread that runs tasks.
fn is_main_thread() -> bool {
    MAIN_THREAD.get() == Some(&std::thread::current().id())
}

/// Ends a worker that cannot understand its node any more.
fn abandon(why: &str) -> ! {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skate: {why}; this worker ends");
    std::process::abort()
}

/// Ends a child of a worker that goes on as if it were the worker.
#[cold]
fn leave_fork() -> ! {
    use std::io::Write as _;
    let _ = writeln!(
        std::io::stderr(),
        "skate: a process forked by a task came back from the task, and ends; leave it by os._exit()"
    );
    // Neither Python's exit handlers nor those of libraries are this process's to run.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}

#[pymodule(gil_used = true)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("ABI3", cfg!(feature = "abi3"))?;
    module.add("DYNAMIC", define::DYNAMIC)?;
    module.add("STREAMING", define::STREAMING)?;
    module.add("VERSION", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<client::Client>()?;
    module.add_class::<template::Template>()?;
    module.add_class::<object_ref::ObjectRef>()?;
    module.add_class::<actor_ref::ActorRef>()?;
    module.add_class::<serving::Serving>()?;
    module.add_class::<call::Call>()?;
    module.add_class::<stream::Stream>()?;
    module.add_class::<mailbox::Mailbox>()?;
    module.add_class::<view::View>()?;
    module.add_class::<fresh::Fresh>()?;
    module.add_function(wrap_pyfunction!(again::and_again, module)?)?;
    module.add_function(wrap_pyfunction!(object_ref::rebuild_ref, module)?)?;
    module.add_function(wrap_pyfunction!(object_ref::ref_of, module)?)?;
    module.add_function(wrap_pyfunction!(actor_ref::rebuild_actor, module)?)?;
    module.add_function(wrap_pyfunction!(stream::rebuild_dynamic, module)?)?;
    module.add_function(wrap_pyfunction!(stream::rebuild_streaming, module)?)?;
    module.add_function(wrap_pyfunction!(start::start, module)?)?;
    module.add_function(wrap_pyfunction!(start::join, module)?)?;
    module.add_function(wrap_pyfunction!(start::bind_types, module)?)?;
    module.add_function(wrap_pyfunction!(start::disable_in_child, module)?)?;
    module.add_function(wrap_pyfunction!(sentinel::end_with_zygote, module)?)?;
    module.add_function(wrap_pyfunction!(sentinel::wake_with_driver, module)?)?;
    #[cfg(feature = "kill-points")]
    kill::register(module)?;
    Ok(())
}
