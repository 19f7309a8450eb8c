//! Everything unsafe of skate: it moves bytes, and decides nothing.
//!
//! In reading order:
//!
//! ```text
//!   sync      std atomics and the futex, or loom's stand-ins
//!   mapping   a sealed memfd, mapped          overlay    a layout of atomics laid over one
//!   huge      a file of 2 MiB pages           segment    where payloads live
//!   lane, ring messages from one process to another
//!   flags     who has sent some               spin       a short look before sleeping
//!   doorbell  how a sleeper hears of them
//!   claim     who may run a task              control    what node and one worker share
//!   hub       what all processes share        fd         descriptors between processes
//!   spill_file  values on disk
//!   killpoint  where tests end a process
//!   watch     deaths, told by the kernel      thread     signals and Rust threads
//! ```
//!
//! Invariant: no other crate of skate needs `unsafe` to use shared memory, but for the two promises
//! that only the node can make ([`Segment::writing`](segment::Segment::writing) and
//! [`Segment::punch`](segment::Segment::punch)).

mod lane;
mod sync;

pub mod claim;
pub mod doorbell;
pub mod flags;
pub mod killpoint;
pub mod ring;

#[cfg(not(loom))]
mod huge;
#[cfg(not(loom))]
mod mapping;
#[cfg(not(loom))]
mod overlay;

#[cfg(not(loom))]
pub mod control;
#[cfg(not(loom))]
pub mod fd;
#[cfg(not(loom))]
pub mod hub;
#[cfg(not(loom))]
pub mod segment;
#[cfg(not(loom))]
pub mod spill_file;
#[cfg(not(loom))]
pub mod spin;
#[cfg(not(loom))]
pub mod thread;
#[cfg(not(loom))]
pub mod watch;
#[cfg(not(loom))]
pub mod window;

#[cfg(not(loom))]
pub use mapping::MapError;
#[cfg(not(loom))]
pub use overlay::OverlayError;
