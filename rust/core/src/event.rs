//! What comes in: the one protocol that every client speaks, and what the runtime sees of processes.
//!
//! The driver hands its requests to `Node::step` directly, a worker's travel through its ring; the
//! node cannot tell the difference. Requests of one client arrive in the order they were made.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::group::GroupSpec;
use crate::id::{ActorId, ClientId, FunctionId, ObjectId, RequestId, TaskId, TemplateId, Ticket};
use crate::inspect::Query;
use crate::memory::Shortage;
use crate::value::{Bytes, Death, Trouble, Value};

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client asks or reports something.
    Client(ClientId, Request),
    /// The runtime took back a dispatch before the worker claimed it.
    Revoked(ClientId, Ticket),
    /// The worker had claimed that dispatch before the runtime could take it back.
    RevokeRefused(ClientId, Ticket),
    /// A worker that was asked for is up.
    WorkerStarted(ClientId),
    /// A worker's process is gone (or could not be made) and its ring has been drained. `started`
    /// are the tickets that it had claimed; every other dispatch goes elsewhere for free.
    WorkerDied(ClientId, Death, Vec<Ticket>),
    /// The write of that number has ended: the checksums of the first pieces, which are in the file now,
    /// and why the others are not.
    Written(u64, Box<[u32]>, Option<Trouble>),
    /// The read of that object has ended.
    Read(ObjectId, Result<(), Trouble>),
    /// The part of the spill file that starts there can be written to, or why not.
    Prepared(u64, Result<(), Trouble>),
    /// Memory is short, and how much; None: there is enough.
    Memory(Option<Box<Shortage>>),
    /// Time passes. Nanoseconds since the session began; never goes back.
    Tick(u64),
}

/// What a client may ask of the node or tell it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Registers what `.options(...)` decided. Before the first `Submit` that names it. With the code of its
    /// function, which is for the runtime, unless this client has another template of that function.
    Define(TemplateId, Arc<Template>, Option<Bytes>),
    /// This client will not submit with that template, of its own, again.
    Undefine(TemplateId),
    /// Starts a task. Gives the client one handle on each of its refs (see [`Returns`]).
    Submit(Submit),
    /// Makes an actor, whose id is that of `Creation::submit`, and gives the client one handle on it.
    /// With a name it is answered by [`crate::action::Reply::Actor`]: the new one, or the one that
    /// has the name already (then the client gets a weak handle on that).
    Create(Box<Creation>),
    /// Looks for the actor of that name: [`crate::action::Reply::Actor`] with a weak handle, or
    /// `Reply::Failed`.
    Find(RequestId, ActorName),
    /// Asks for what `Find` gives, of an actor that the client can reach.
    Describe(RequestId, ActorId),
    /// Answered by [`crate::action::Reply::Names`]: every name that is taken.
    Names(RequestId),
    /// Answered by [`crate::action::Reply::Count`]: this client's calls of the actor under way.
    CallsUnderWay(RequestId, ActorId),
    /// Ends an actor's process at once.
    Kill(ActorId, AfterKill),
    /// Sets resources aside; gives the client one handle on `GroupSpec::ready`.
    Reserve(Box<GroupSpec>),
    /// Undoes that, by the group's key; ends what runs there.
    RemoveGroup(Arc<str>),
    /// Answered by [`crate::action::Reply::Groups`].
    Groups(RequestId),
    /// Seals a value under a fresh id and gives the client one handle on it.
    Put(ObjectId, Value, Box<[Held]>),
    /// Answered by [`crate::action::Reply::Values`] when all are ready, or as soon as one is an error.
    Get(RequestId, Box<[ObjectId]>),
    /// Answered by [`crate::action::Reply::Ready`] with the first n in order that are ready: at once
    /// whatever there is, or when there are n.
    Wait(RequestId, Box<[Waitable]>, u32, Patience),
    /// Takes one item, answered by `Reply::Items` or `Reply::End`. `None` is the shared cursor of a
    /// stream, whose only reader may be given more than one; `Some(i)` moves this client's own cursor
    /// from i to i+1.
    Next(RequestId, TaskId, Option<u64>),
    /// Takes the items that are there, at least one and at most so many: waits only for the first.
    /// Answered by `Reply::Items`, or as `Next` at the end.
    NextBatch(RequestId, TaskId, Option<u64>, u32),
    /// Undoes a `Next` or `NextBatch` from that position, whose caller never returned these items, the
    /// last of those that it was given: they go back to the front.
    Untake(RequestId, TaskId, Option<u64>, Box<[ObjectId]>),
    /// So many more of the items that this request took from a shared cursor have reached their
    /// caller: they are consumed, by this dispatch if the stream was passed on to it. Until then they
    /// are only lent.
    Taken(RequestId, u32, Option<Ticket>),
    /// Ends a stream for all who hold it: nothing more can be read, unread items go, and the
    /// generator gets `GeneratorExit` at its next yield.
    Close(TaskId),
    /// How far a generator is, seen from its shared cursor (None) or a position; answered at once by
    /// [`crate::action::Reply::Progress`].
    Progress(RequestId, TaskId, Option<u64>),
    /// The same, but answered when the generator has ended.
    Length(RequestId, TaskId, Option<u64>),
    /// The client no longer wants to wait. If the request is still open it is answered by
    /// `Reply::Forgotten`, and has then taken nothing; otherwise its answer is on the way already.
    Forget(RequestId),
    /// One more handle, for something that this client can already reach. If it is not there, nothing is
    /// held, and whoever asks for it hears that it is unknown.
    Hold(Held),
    /// One handle less, if there is one.
    Release(Held),
    /// Something stays for the rest of the session: bytes that skate does not see may name it.
    Keep(Held),
    /// Stops a task.
    Cancel(TaskId, Cancel),
    /// Asks for a lease of that many bytes; answered by `Reply::Lease`, `Reply::LeaseOnDisk` if that will
    /// do, or `Reply::Failed`.
    Allocate(RequestId, u64, Within),
    /// Asks for resources; answered by `Reply::Resources`.
    Resources(RequestId),
    /// Asks for rows of the node's tables; answered by `Reply::Rows`.
    Inspect(RequestId, Box<Query>),

    /// A part of what the client does, that it gave a name: for people.
    Span(Box<Span>),

    /// A worker's running task yielded item `index` (0 is the first); when, by the clock of `Event::Tick`, 0
    /// if nobody knows.
    Yielded(Ticket, u64, Value, Box<[Held]>, u64),
    /// A worker's running task has ended.
    Finished(Ticket, Outcome),
    /// A worker's running task sleeps in a call, or at a `yield`: its CPU may go to others.
    Blocked(Ticket),
    /// It goes on.
    Resumed(Ticket),
    /// A worker's task that sleeps has done so for long in that request, and has no time-out: should it
    /// never be answered, the task never ends.
    Waits(RequestId),
}

/// A stretch of time in a client, named by its code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Span {
    /// The task that it was in; None in the driver.
    pub task: Option<TaskId>,
    /// For people.
    pub name: Arc<str>,
    /// JSON; opaque here.
    pub extra: Arc<str>,
    /// From when, by the clock of `Event::Tick`,
    pub began_ns: u64,
    /// until when.
    pub ended_ns: u64,
}

impl Request {
    /// The number by which it is answered, if it may be answered later.
    pub(crate) const fn question(&self) -> Option<RequestId> {
        match self {
            Self::Get(id, _)
            | Self::Wait(id, ..)
            | Self::Next(id, ..)
            | Self::NextBatch(id, ..)
            | Self::Length(id, ..)
            | Self::Allocate(id, ..) => Some(*id),
            _ => None,
        }
    }
}

/// One thing that a client's handle, or a value that contains it, keeps alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Held {
    /// A ref.
    Object(ObjectId),
    /// A zero-copy view of an object's bytes: keeps the object, and its block in place.
    Pin(ObjectId),
    /// A streaming generator; all holders share its cursor.
    Stream(TaskId),
    /// A position in a dynamic generator: keeps the items from there on.
    Cursor(TaskId, u64),
    /// A handle on an actor: it lives while there is one.
    Actor(ActorId),
    /// A handle that calls an actor and does not keep it alive: its own, or one found by name.
    WeakActor(ActorId),
    /// Space to write in, from this offset of the data segment. Released when no more blocks will
    /// be sealed in it; it returns to the allocator when the last of these has gone.
    Lease(u64),
    /// The same in the spill file, for one value. What was sealed there stays when this is released.
    DiskLease(u64),
}

/// Where a value may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Within {
    /// In the data segment, in place.
    Memory,
    /// In the spill file, if there will be no room in memory.
    MemoryOrDisk,
}

/// Something that `wait` can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Waitable {
    /// Ready when sealed.
    Object(ObjectId),
    /// Ready when an item, an error or the end can be taken at once.
    Stream(TaskId),
    /// The same from a position in a dynamic generator.
    Cursor(TaskId, u64),
}

/// Whether `wait` waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Patience {
    /// Answer now with what is ready.
    Now,
    /// Answer when enough are ready.
    Until,
}

/// How hard to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Kill the worker instead of interrupting the task.
    pub force: bool,
    /// Its children, too.
    pub recursive: bool,
}

/// What becomes of an actor that is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AfterKill {
    /// It is dead.
    Dead,
    /// As after a crash: it starts again if `max_restarts` allows it.
    MayRestart,
}

/// The name of an actor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActorName {
    /// Where it counts.
    pub namespace: Arc<str>,
    /// Unique among the living there.
    pub name: Arc<str>,
}

/// How an actor is made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Creation {
    /// The constructor. The resources of its template are what the actor holds while it lives; it
    /// has no returns.
    pub submit: Submit,
    /// For people, and for `Find`. With it goes the request to be answered.
    pub name: Option<(ActorName, RequestId)>,
    /// What the machine must have, in all, for the actor to be placed; units of 1/10000.
    pub placing: Box<[(Arc<str>, u64)]>,
    /// Starts after a crash; -1 for ever.
    pub max_restarts: i32,
    /// Whether it lives until it is killed, whoever holds it.
    pub is_detached: bool,
    /// In which order calls start.
    pub order: Order,
    /// Calls at once, for each concurrency group; the first one is the default group.
    pub lanes: Box<[u32]>,
    /// What a client needs to call it; opaque here.
    pub body: Bytes,
}

/// In which order an actor's calls start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Those of one caller as they were submitted: one that waits for its arguments holds up the rest.
    Submission,
    /// As their arguments come.
    Readiness,
}

/// One call of a remote function, or of an actor's method.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Submit {
    /// Fresh id of the task.
    pub task: TaskId,
    /// What it is to run and how.
    pub template: TemplateId,
    /// The actor whose process executes it; itself, for a constructor.
    pub actor: Option<ActorId>,
    /// The task that made the call, for recursive cancel.
    pub parent: Option<TaskId>,
    /// Overrides the template's name.
    pub name: Option<Arc<str>>,
    /// Packed arguments: inline, or an object that the client put before.
    pub args: Args,
    /// Refs that stand for a whole argument: the task waits for them and gets their values.
    pub waits: Box<[ObjectId]>,
    /// What is nested inside arguments: kept alive, not waited for.
    pub holds: Box<[Held]>,
}

/// Where packed arguments are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Args {
    /// In the message.
    Inline(Bytes),
    /// In an object; the task keeps it.
    Stored(ObjectId),
}

/// What `.options(...)` decided, shared by all calls made with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Template {
    /// Name for people.
    pub name: Arc<str>,
    /// The exported function, or class; 0 for a method of an actor.
    pub function: FunctionId,
    /// Concurrency group of a method, by its place in [`Creation::lanes`].
    pub lane: u32,
    /// Resources by name, in units of 1/10000.
    pub resources: Box<[(Arc<str>, u64)]>,
    /// What a call gives.
    pub returns: Returns,
    /// Attempts after a worker's death; -1 for ever. Also bounds `retry_exceptions`.
    pub max_retries: i32,
    /// At most so many unread items of a stream; its producer waits. Of a constructor: in all streams
    /// of the actor's methods together.
    pub window: Option<u32>,
    /// At most so many bytes of unread items, or one item.
    pub window_bytes: Option<u64>,
    /// What becomes of a generator whose last handle was dropped.
    pub on_drop: OnDrop,
    /// What only the worker needs to know; opaque here.
    pub body: Bytes,
}

/// What becomes of a generator that nobody can read any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OnDrop {
    /// It runs to its end; what it yields is not stored.
    #[default]
    RunOn,
    /// It gets `GeneratorExit`, as by `Request::Close`.
    Close,
}

/// What a call gives, and on what the submitting client gets a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Returns {
    /// `item(0)..item(k)`: one `Held::Object` each.
    Static(u32),
    /// `whole()`, whose value is a live generator: one `Held::Object` on it.
    Dynamic,
    /// A generator: one `Held::Stream`. While any is held, `whole()` exists too; it is sealed with
    /// the return value when the task has ended.
    Streaming,
}

/// How a task's attempt ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// What it ended with.
    pub end: End,
    /// When it began, by the clock of `Event::Tick`; 0 if nobody knows.
    pub began_ns: u64,
    /// Time it ran, for the estimate of the next ones.
    pub ran_ns: u64,
    /// An error that no ref can carry (all returns were already made): reported on the driver.
    pub unhandled: Option<Bytes>,
}

/// What a task's attempt ended with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum End {
    /// A plain function: every static return with what it contains.
    Returned(Vec<(Value, Box<[Held]>)>),
    /// A generator ran to its end: number of yields (of this attempt, those skipped in a replay
    /// included), its return value and what that contains.
    Exhausted(u64, Value, Box<[Held]>),
    /// An exception; `retry` says that `retry_exceptions` covers it. `yielded` as in `Exhausted`.
    Raised {
        /// `Value::Raised`, or `Value::Failed(StoreFull)`.
        error: Value,
        /// What the error contains.
        holds: Box<[Held]>,
        /// Run it again if attempts are left.
        retry: bool,
        /// Yields of this attempt, those skipped in a replay included.
        yielded: u64,
    },
    /// It stopped because it was cancelled, in the process with this pid.
    Cancelled(u32),
    /// The actor leaves because user code of this call said so. It is not started again.
    Left(Leave),
}

/// How an actor's own code ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leave {
    /// `exit_actor`.
    ExitActor,
    /// `__ray_terminate__`.
    Terminate,
    /// `sys.exit(0)`.
    ExitCodeZero,
}
