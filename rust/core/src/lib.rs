//! The node of skate: one pure state machine that owns every task, object, reference, stream,
//! resource and worker. Events go in, actions come out; it has no clock, thread, file or Python.
//!
//! Reading order follows a task:
//!
//! ```text
//!   id, value            names and values
//!   event, action        what is asked, what is to be done
//!   node                 the tables, and the one door: `Node::step`
//!   submit, task         from a submission to a task; what was asked for
//!   template             what submissions name, and how long that is known
//!   resources            what it may use
//!   queue, scheduler     when it runs, and where
//!   brisk                why short tasks stay together
//!   worker, pool         who runs it
//!   blocked, cancel      what if it sleeps, or is to end
//!   deadlock             sleeps that can never end
//!   actor, call          processes with state, and who calls them
//!   group, devices       resources set aside, GPUs by number
//!   sound, seal          its values arrive, if they may
//!   object, refs         what lives on, and for whom
//!   ledger               what each client has of it
//!   store, space         where it lies
//!   warm                 free memory that is quick to write
//!   disk, spill          what has no room there
//!   memory               when the machine has none left
//!   table                rows of neighbours side by side
//!   shrink, crowd        the node's own memory goes back
//!   stream, reader, lend items, one at a time, and on their way to who asked (ahead: its side)
//!   share                one window for all streams of an actor
//!   room                 who waits for space in the store
//!   fate                 errors that nobody fetched
//!   remains              what stays when the session ends
//!   request, wait        questions that are answered later
//!   glance, statistics   what may be looked at, what is counted
//!   audit                what must add up
//!   history, inspect     what has ended lately; all of it as rows, for people
//! ```
#![forbid(unsafe_code)]

pub mod action;
mod actor;
pub mod ahead;
mod audit;
mod blocked;
mod brisk;
mod call;
mod cancel;
mod crowd;
mod deadlock;
mod devices;
mod disk;
pub mod event;
mod fate;
mod glance;
pub mod group;
mod history;
pub mod id;
pub mod inspect;
mod ledger;
mod lend;
pub mod memory;
pub mod node;
mod object;
mod pool;
mod queue;
mod reader;
mod refs;
mod remains;
mod request;
mod resources;
mod room;
mod scheduler;
mod seal;
mod share;
mod shrink;
mod sound;
mod space;
mod spill;
mod statistics;
mod store;
mod stream;
mod submit;
mod table;
mod task;
mod template;
pub mod value;
mod wait;
mod warm;
mod worker;
