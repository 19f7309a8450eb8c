//! What goes out: everything the runtime must now do, in this order.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::event::ActorName;
use crate::group::{GroupSpec, GroupState};
use crate::id::{ActorId, ClientId, ObjectId, RequestId, TaskId, TemplateId, Ticket};
use crate::inspect::Rows;
use crate::value::{Bytes, Extent, Failure, Span, Value};

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Start a worker process. Messages for it may follow at once; it reads them when it is up.
    Spawn(ClientId),
    /// Offer the slot of that ticket, then send the task to the worker's ring.
    Run(ClientId, Run),
    /// Take that dispatch back if the worker has not claimed it; answer by `Event::Revoked` or
    /// `Event::RevokeRefused` (from within the same turn of the runtime).
    Revoke(ClientId, Ticket),
    /// Answer a request.
    Reply(ClientId, RequestId, Reply),
    /// So many bytes of items of the stream of that dispatch have been taken; a `Credit` follows.
    CreditBytes(ClientId, Ticket, u64),
    /// So many items of the stream of that dispatch have been taken.
    Credit(ClientId, Ticket, u64),
    /// Nobody can read the stream of that dispatch any more: its items need not be serialized.
    StreamDropped(ClientId, Ticket),
    /// The generator of that dispatch is to get `GeneratorExit` at its next yield.
    StreamClosed(ClientId, Ticket),
    /// Raise `KeyboardInterrupt` in that running task.
    Interrupt(ClientId, Ticket),
    /// Let that running call of an actor know that it is cancelled. Only async code is interrupted.
    Notify(ClientId, Ticket),
    /// End that worker's process by force: it was asked for, or it broke the protocol.
    Kill(ClientId, &'static str),
    /// Ask an idle worker to leave.
    Retire(ClientId),
    /// Give the pages of that free space back to the kernel, before anything else happens.
    Punch(Span),
    /// Copy sealed bytes into the spill file, in order; answer by `Event::Written`. They stay where
    /// they are until then.
    Write(u64, Box<[Piece]>),
    /// Copy bytes of the spill file into that free space, and see whether they are those that were
    /// written; answer by `Event::Read`.
    Read(ObjectId, Extent, Span),
    /// Make that part of the spill file ready for a client to write to, after all that was asked for before;
    /// answer by `Event::Prepared`.
    Prepare(Span),
    /// Nothing in that part of the spill file is needed any more.
    Discard(Span),
    /// Tell the user, once, that values would be spilled now if they could be.
    CannotSpill(Arc<str>),
    /// Nobody uses that template any more.
    Undefine(TemplateId),
    /// Give heap memory that is free back to the kernel: a crowd has gone.
    TrimHeap,
    /// Tell the user of an error that no ref carries, or whose refs have all gone unread. The bytes
    /// of a block stay until the actions before the next step are done.
    Unhandled {
        /// The task.
        task: TaskId,
        /// Its name.
        task_name: Arc<str>,
        /// Its number of static returns, if all were made before the error.
        returns: Option<u64>,
        /// The error.
        error: Value,
    },
    /// Tell the user that a task waits for resources that this machine does not have.
    Infeasible {
        /// Name of the first task that asks for them.
        task_name: Arc<str>,
        /// Name, amount asked for and amount there, in units of 1/10000.
        missing: Vec<(Arc<str>, u64, u64)>,
    },
}

/// Sealed bytes, and where in the spill file they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// In the data segment.
    pub from: Span,
    /// In the file; side by side with the piece before wherever that is possible.
    pub to: u64,
}

/// One dispatch of a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Which dispatch this is on its worker.
    pub ticket: Ticket,
    /// The task.
    pub task: TaskId,
    /// 0 for the first attempt.
    pub attempt: u32,
    /// Items that earlier attempts published: the generator is advanced over them in silence.
    pub skip: u64,
    /// Bytes of those that were stored.
    pub skip_bytes: u64,
    /// What it is to run; the runtime adds what the worker has not seen yet.
    pub template: TemplateId,
    /// Overrides the template's name.
    pub name: Option<Arc<str>>,
    /// Packed arguments, and their object if they were stored.
    pub args: Value,
    /// The object of `args`, when it lies in the store.
    pub args_object: Option<ObjectId>,
    /// Values of `Submit::waits`, in order.
    pub resolved: Vec<(ObjectId, Value)>,
    /// Numbers of the GPUs that the process may use: the same for all that it runs.
    pub devices: Box<[u32]>,
}

/// Items of a generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Items {
    /// In order, each with one `Held::Object` for this client. Those of a shared cursor are lent until
    /// the client tells that they are `Taken`.
    pub ids: SmallVec<[ObjectId; 1]>,
    /// Of as many of them, from the first on, as were small: for workers, which need not ask then.
    pub values: Vec<Value>,
    /// Their producer waits to hear that they are taken.
    pub has_window: bool,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// To `Get`: every value in order. Each value that is stored (in a block, or in the spill file if
    /// there is no room for it) comes with one `Held::Pin` for this client; `pins` names them, so
    /// that an answer nobody waits for can be given back.
    Values {
        /// In the order asked for.
        values: Vec<Value>,
        /// The objects pinned for it.
        pins: Vec<ObjectId>,
    },
    /// To `Get`: the first error seen, and its place in the question.
    Error {
        /// Index into the objects asked for.
        place: u32,
        /// The error.
        value: Value,
        /// The object, if it was pinned because the error is stored.
        pin: Option<ObjectId>,
    },
    /// To `Wait`: places of the first n that are ready, ascending.
    Ready(Vec<u32>),
    /// To `Next` and `NextBatch`: at least one item.
    Items(Items),
    /// To `Next` and `NextBatch`: there are no more items, and no return value but None.
    End,
    /// The same after a return value, which is that of `whole()`.
    Returned,
    /// To `Forget`, in place of the answer that had not come yet.
    Forgotten,
    /// To `Progress` and `Length`: items published and not yet passed, and whether there will be no
    /// more (an error counts as an item).
    Progress {
        /// Items left.
        left: u64,
        /// No more will be published.
        ended: bool,
    },
    /// To `Allocate`: a `Held::Lease` for this client.
    Lease(Span),
    /// To `Allocate`: a part of the spill file, a `Held::DiskLease` for this client.
    LeaseOnDisk(Span),
    /// To `Create` and `Find`: an actor, with a handle for this client.
    Actor {
        /// Which one.
        actor: ActorId,
        /// Its `Creation::body`.
        body: Bytes,
        /// Its name.
        name: Option<ActorName>,
        /// It was made by this request: the handle is a strong one.
        is_new: bool,
    },
    /// To `Names`.
    Names(Vec<ActorName>),
    /// To `Groups`.
    Groups(Vec<(GroupSpec, GroupState)>),
    /// To `CallsUnderWay`.
    Count(u64),
    /// To `Resources`: name, total and available, in units of 1/10000 (available may be negative).
    Resources(Vec<(Arc<str>, i64, i64)>),
    /// To `Inspect`: the rows, or what is wrong with the query.
    Rows(Result<Rows, String>),
    /// The request could not be met.
    Failed(Failure),
}
