"""The Rust side: one client of the node, in the driver or in a worker.

Everything here takes plain checked values; words for people, defaults and Ray's option names are
the business of the Python files beside it. A call that blocks releases the GIL, and signal handlers
run while it waits.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from typing import Any, Generic, Self, TypeVar, final

from skate._ids import JobID, TaskID
from skate._memory import Watching
from skate._spilling import Spilling

_T = TypeVar("_T")
_W = TypeVar("_W")

ABI3: bool
"""Whether this build uses the stable ABI."""

DYNAMIC: int
"""`returns` of a template: one ref to a live generator."""

STREAMING: int
"""`returns` of a template: a generator."""

VERSION: str
"""Of this package: the one of `Cargo.toml`."""

@final
class ObjectRef(Generic[_T]):
    """A reference to one immutable value, present or still to come.

    Hashable, comparable, picklable inside of skate calls. Dropping the last one frees the value.
    """

    @classmethod
    def __class_getitem__(cls, item: Any) -> Any: ...
    def __new__(cls, *_args: object) -> Self:
        """Refused, as by the next two: an id is no handle."""
    @staticmethod
    def from_binary(_binary: object, /) -> ObjectRef[Any]: ...
    @staticmethod
    def from_hex(_hex_id: object, /) -> ObjectRef[Any]: ...
    @staticmethod
    def size() -> int:
        """Bytes of `binary`."""
    def call_site(self) -> str:
        """Where it was made: empty, nobody records that."""
    def owner_address(self) -> bytes:
        """Empty: the node of the session owns all values."""
    @staticmethod
    def nil() -> ObjectRef[Any]: ...
    @staticmethod
    def from_random() -> ObjectRef[Any]: ...
    def hex(self) -> str: ...
    def binary(self) -> bytes: ...
    def is_nil(self) -> bool: ...
    def task_id(self) -> TaskID: ...
    def job_id(self) -> JobID: ...
    @property
    def kept(self) -> Any:
        """What `ref_of` was given; None in refs of the node."""
    def future(self) -> Future[_T]: ...
    def _on_completed(self, callback: Callable[[_T], None]) -> None: ...
    def __await__(self) -> Generator[Any, None, _T]: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

class Stream:
    """One handle on a streaming generator, or (with its own position) on a dynamic one.

    `skate._generator` subclasses it; `bind_types` says how.
    """

    def __new__(cls, seed: Any) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> ObjectRef[Any]:
        """Wait for the next item; at the end StopIteration(return value of the generator)."""
    def next_within(self, timeout_s: float | None, /) -> ObjectRef[Any]:
        """The same with a timeout: GetTimeoutError."""
    def batch_within(self, most: int, timeout_s: float | None, /) -> list[ObjectRef[Any]]:
        """The items that are there, at least one and at most `most`."""
    def shut(self) -> None:
        """Close: for all holders (streaming), or for this handle (dynamic)."""
    def is_ready(self) -> bool:
        """Whether `next` would give an item or an error now. False at the end."""
    def is_finished(self) -> bool:
        """Whether every item and the final error have been taken."""
    def whole(self) -> ObjectRef[Any]:
        """The task's own ref: ready when it has ended, with the generator's return value."""
    def size(self) -> int:
        """Wait for the end, then: items in all less those already passed."""
    @property
    def position(self) -> int:
        """Items taken through this handle (dynamic) or by all holders (streaming)."""
    def task_id(self) -> str: ...
    def __reduce__(self) -> tuple[Any, ...]:
        """Inside of skate calls only, unless it has its own position: else Ray's TypeError."""

@final
class Template:
    """A function with its options, registered with the node once."""

    def submit(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], name: str | None = None, /
    ) -> Any:
        """Call it: None, an ObjectRef, a list of ObjectRefs, or the bound generator class."""

@final
class ActorRef:
    """A handle on an actor. While a strong one lives, so does the actor.

    Those of `create` (of a new actor) and of a pickle are strong, the others are weak.
    """

    @staticmethod
    def create(
        template: Template,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: tuple[str, str] | None,
        placing: Sequence[tuple[str, int]],
        max_restarts: int,
        is_detached: bool,
        in_order: bool,
        lanes: Sequence[int],
        body: bytes,
        /,
    ) -> tuple[ActorRef, bytes | None, str]:
        """Make an actor; waits only if it has a name (namespace and name).

        Args:
            template: Of `Client.constructor`.
            args: For the constructor.
            kwargs: Likewise.
            name: Namespace and name.
            placing: What the machine must have in all; in units of 1/10000.
            max_restarts: -1 for ever.
            is_detached: Whether it lives until it is killed.
            in_order: Whether one caller's calls start in the order of their submission.
            lanes: Calls at once in each concurrency group.
            body: What `find` tells those who want to call it.

        Returns:
            A handle, and None; or one on the actor that has the name, and its `body`. Its name.
        """
    @staticmethod
    def find(client: Client, namespace: str, name: str, /) -> tuple[ActorRef, bytes | None, str]:
        """The living actor of that name."""
    @staticmethod
    def names(client: Client, /) -> list[tuple[str, str]]:
        """Namespace and name of all that have one, sorted."""
    @staticmethod
    def own(client: Client, /) -> tuple[ActorRef, bytes | None, str] | None:
        """The actor whose process this is."""
    def submit(
        self,
        template: Template,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None = None,
        /,
    ) -> Any:
        """Call a method of it: as `Template.submit`."""
    def calls_under_way(self) -> int:
        """This process's calls of it that have not ended."""
    def kill(self, may_restart: bool, /) -> None:
        """End its process at once."""
    def hex(self) -> str: ...
    def binary(self) -> bytes: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class Call:
    """One call of an actor with an event loop. It is ended once, by `finish`, `fail`, `exhausted`.

    `start` ends it, too, when it says None.
    """

    @property
    def name(self) -> str: ...
    @property
    def ticket(self) -> int: ...
    def start(self) -> Any:
        """Call the method: a coroutine, an async generator, or None if the call has ended."""
    def finish(self, value: Any, /) -> None: ...
    def fail(self, error: BaseException, /) -> None: ...
    def publish(self, item: Any, /) -> int:
        """Publish an item, or begin to: GO_ON, WAIT, CLOSED or OVER.

        WAIT: call `proceed` when `may_go_on` says so. CLOSED: close the generator, then say
        `exhausted`. OVER: the call has ended.
        """
    def may_go_on(self) -> bool: ...
    def proceed(self) -> int:
        """After a wait: as `publish`."""
    def exhausted(self) -> None: ...

@final
class Serving:
    """What an actor's process does after its constructor, if it runs several calls at once."""

    @property
    def is_loop(self) -> bool: ...
    @property
    def lanes(self) -> int:
        """Number of concurrency groups."""
    def serve(self, lane: int, spawn: Callable[[], None], /) -> None:
        """Execute calls of a lane in this thread until the process leaves.

        `spawn` is called when one more thread should serve the lane.
        """
    def wait(self) -> int:
        """Sleep until the process is to leave: its exit code."""
    def leave(self, exit_code: int, /) -> None:
        """Have the process leave, if nobody else has: the first decides on the exit code."""
    def use_loop(self, lane: int, variable: Any, /) -> int:
        """Serve a lane by an event loop of this thread: what is readable when `take` has something.

        The context variable, one for all loops, has the call that code belongs to.
        """
    def take(self, lane: int, /) -> tuple[list[Call], list[int], bool]:
        """Calls to start, tickets of running calls to cancel, whether to leave."""

@final
class View:
    """Read-only bytes of the store, or a copy of inline ones: the buffer behind an array."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Fresh:
    """Writable memory of the store: the buffer behind an array made by `empty`.

    Read-only from the moment when exactly that array was yielded, returned or put.
    """

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Mailbox:
    """Where answers to asynchronous questions arrive: a queue with an eventfd."""

    def __new__(cls) -> Self: ...
    @property
    def is_over(self) -> bool:
        """Closed and empty: nothing will come any more."""
    def fileno(self) -> int:
        """Readable while the mailbox is not empty."""
    def take(self) -> list[tuple[int, Any]]:
        """Everything in it, oldest first: `(token, what)`. Never waits."""
    def wait(self, timeout_s: float | None = None, /) -> list[tuple[int, Any]]:
        """Like take, but waits until there is something, the timeout has passed, or `close`."""
    def post(self, token: int, /) -> None:
        """Put `(token, None)` into it: what an engine without a node does."""
    def close(self) -> None: ...

@final
class Client:
    """This process's connection to the node."""

    ActorRef: type[ActorRef]
    """The class that makes and finds actors."""

    @property
    def can_spill(self) -> bool:
        """Whether there is a file for values that the store has no room for."""
    @property
    def is_driver(self) -> bool: ...
    @property
    def session(self) -> str:
        """16 hex digits, fresh for every `init`."""
    @property
    def pid(self) -> int: ...
    @property
    def client_id(self) -> int:
        """0 in the driver; workers count up from 1."""
    def template(
        self,
        name: str,
        function: bytes,
        resources: Sequence[tuple[str, int]],
        returns: int,
        max_retries: int,
        retry_exceptions: bool | bytes,
        window: int | None,
        window_bytes: int | None,
        closes_on_drop: bool,
        is_strict: bool,
        /,
    ) -> Template:
        """Register a function with its options.

        Args:
            name: For people.
            function: The cloudpickled function. Sent once per content.
            resources: In units of 1/10000.
            returns: Number of static returns, DYNAMIC or STREAMING.
            max_retries: -1 for ever.
            retry_exceptions: All, none, or a pickled tuple of classes.
            window: Most unread items of a stream, or None.
            window_bytes: Most bytes of unread items, or None.
            closes_on_drop: Whether a generator that nobody holds is closed.
            is_strict: Whether a wrong number of yields is the error of the last static return.
        """
    def constructor(
        self,
        name: str,
        cls: bytes,
        resources: Sequence[tuple[str, int]],
        serves: str,
        lanes: Sequence[int],
        window: int | None,
        /,
    ) -> Template:
        """Register a class with its options.

        Args:
            name: For people.
            cls: The cloudpickled class. Sent once per content.
            resources: What the actor holds while it lives; in units of 1/10000.
            serves: `"turns"`, `"threads"` or `"loop"`.
            lanes: Calls at once in each concurrency group, the default one first.
            window: Unread items in all streams of its methods together; None for no limit.
        """
    def method(
        self,
        name: str,
        method: str,
        returns: int,
        max_retries: int,
        retry_exceptions: bool | bytes,
        window: int | None,
        window_bytes: int | None,
        closes_on_drop: bool,
        is_strict: bool,
        lane: int,
        /,
    ) -> Template:
        """Register a method of actors with its options; `lane` is the place of its group."""
    def own_actor_id(self) -> str | None:
        """Hex id of the actor whose process this is."""
    def was_restarted(self) -> bool:
        """Whether that actor had another process before."""
    def put(self, value: Any, /) -> ObjectRef[Any]: ...
    @staticmethod
    def round_trip(value: object, /) -> object:
        """What would arrive in another process."""
    def empty(self, format: str | None, shape: Sequence[int], len: int, /) -> Fresh:
        """Memory of the store for an array of that buffer format and shape, or for bytes (None)."""
    def get(self, refs: Sequence[ObjectRef[Any]], timeout_s: float | None, /) -> list[Any]:
        """Values in order. Raises the first error, GetTimeoutError, or the failure of the node."""
    def get_one(self, ref: ObjectRef[_T], timeout_s: float | None, /) -> _T: ...
    def wait(
        self, waitables: list[_W], count: int, timeout_s: float | None, /
    ) -> tuple[list[_W], list[_W]] | None:
        """The first `count` that are ready (fewer after the timeout), and the rest, in order.

        None if something is in the list twice.
        """
    def watch(self, waitable: ObjectRef[Any] | Stream, mailbox: Mailbox, token: int, /) -> int:
        """Have `(token, None)` put into the mailbox when the waitable is ready.

        A generator is ready when `next` would give something at once (an item, an error or the
        end; another reader may be faster). Takes nothing. Returns a request for `forget`.
        """
    def awaits(self) -> int | None:
        """Say that the calling coroutine begins to await.

        While all calls of an async actor sleep, its CPU is lent; so is that of a task while
        anything awaits in a loop of its main thread. Gives what `awoke` needs, or None if that does
        not matter here.
        """
    def awoke(self, asleep: int, /) -> None:
        """Say that what `awaits` said is over, wherever it is noticed."""
    def blocks(self, is_blocked: bool, /) -> bool:
        """Say that the calling thread begins to wait, or (if that was True) no longer does."""
    def forget(self, request: int, /) -> None:
        """That answer is not wanted any more; it may still arrive in the mailbox."""
    def cancel(self, target: ObjectRef[Any] | Stream, force: bool, recursive: bool, /) -> None: ...
    def resources(self) -> dict[str, tuple[float, float]]:
        """Name to total and available."""
    def statistics(self) -> dict[str, int]:
        """Counters of the node (driver only); the keys are documented at `skate.statistics`."""
    def inspect(self, question: str, /) -> str:
        """Rows of the node's tables, for a question in JSON (see rust/native/src/inspect.rs).

        Raises:
            ValueError: the question names what is not there.
        """
    def note_span(self, name: str, extra: str, began_ns: int, /) -> None:
        """What the caller has been doing since `began_ns`, by `time.monotonic_ns`, for `timeline`.

        `extra` is JSON. Names and extras that are longer than 1 KiB together are only counted.
        """
    def unhandled_errors(self) -> list[tuple[str, str, int | None, BaseException, float]]:
        """Errors that nobody fetched (driver only), oldest first.

        Task id, name, number of static returns if all were made before the error, the error, and
        seconds since 1970.
        """
    def reserve(
        self, key: str, name: str, strategy: str, bundles: Sequence[Sequence[tuple[str, int]]], /
    ) -> ObjectRef[None]:
        """Set resources aside as `<resource>_group_<index>_<key>` and `<resource>_group_<key>`.

        The ref is ready when they are.
        """
    def remove_group(self, key: str, /) -> None: ...
    def groups(self) -> list[tuple[str, str, str, str, list[list[tuple[str, int]]]]]:
        """Key, name, strategy, state and bundles of each placement group."""
    def current_task(self) -> tuple[str, str, int] | None:
        """Id, name and attempt of the task that the calling worker's main thread runs."""
    def current_function(self) -> Callable[..., Any] | None:
        """The function that the calling worker's main thread runs."""
    def current_resources(self) -> list[tuple[str, int]]:
        """What its task, or actor, holds, in units of 1/10000; empty on the driver."""
    def is_canceled(self) -> bool: ...
    def notices(self) -> Mailbox:
        """What people should see, as `(kind, data)` (driver only).

        0: a line of a worker: `(is_stderr, pid, label, text)`;
        1: an unhandled error: a row of `unhandled_errors`;
        2: a task that can never start: `(task_name, [(resource, asked, there)])`.
        """
    def describe_workers(self) -> list[dict[str, Any]]:
        """pid, state and current task of each worker (driver only)."""
    def run(self) -> Serving | None:
        """Worker only: execute tasks until the node says leave.

        Or until the process has become that of an actor which runs several calls at once.
        """
    def unseen(self, most: int, /) -> tuple[list[Any], int]:
        """At the end: what nobody has fetched, as `unhandled_errors`, and how many there are.

        Each is given once.
        """
    def retire(self) -> None:
        """Worker only: leave when the running task has ended; others run elsewhere."""
    def let_go(self) -> None:
        """Worker only: it runs nothing more, and holds no function or method any longer."""
    def close(self) -> None:
        """End the session. In the driver: every worker is killed and reaped before it returns."""

def start(
    session: str,
    zygote_argv: Sequence[str],
    hello: bytes,
    resources: Sequence[tuple[str, int]],
    capacity: int,
    prestart: int,
    log_to_driver: bool,
    spilling: Spilling,
    memory: Watching,
    may_be_looked_at: bool,
    /,
) -> Client:
    """Start a node in this process, and its zygote with its end of a SEQPACKET socket as stdin.

    Args:
        session: 16 random hex digits, which `hello` tells the zygote, too.
        zygote_argv: Program and arguments.
        hello: First message on that socket (JSON, passed through; with it go the descriptors of
            this process (a pidfd), the hub, the data segment and, if there is one, the spill file,
            in this order).
        resources: Name and amount in units of 1/10000.
        capacity: Bytes of the object store.
        prestart: Workers to start at once.
        log_to_driver: Whether lines of workers become notices; otherwise they are read and dropped.
        spilling: Where values go that the store has no room for.
        memory: When memory counts as short.
        may_be_looked_at: Whether other processes of the same user may ask what `Client.inspect`
            answers, through an abstract socket.
    """

def join(
    hub_fd: int,
    data_fd: int,
    control_fd: int,
    driver_pidfd: int,
    spill_fd: int | None,
    client_id: int,
    session: str,
    may_be_looked_at: bool,
    /,
) -> Client:
    """Become a worker of the session (called in a child that the zygote forked)."""

def bind_types(streaming: type[Stream], dynamic: type[Stream], /) -> None:
    """The classes that `Template.submit` and `get` give for generators."""

def end_with_zygote(zygote: int, /) -> bool:
    """In a child just forked by the zygote: be killed when it ends, until the first task comes.

    False if it has ended already.
    """

def wake_with_driver() -> None:
    """In the zygote: be continued, if stopped, when the driver ends."""

def disable_in_child() -> None:
    """After a fork in user code: this process has no session any more; every call says so."""

def and_again(inner: Callable[..., bool], /) -> Callable[..., None]:
    """A function that does what `inner` does, and notes SIGINT as it leaves if that returned True.

    For handlers and hooks, which C code calls: the handler of SIGINT is called for it by whatever
    Python code runs next.
    """

def ref_of(binary: bytes, kept: Any, /) -> ObjectRef[Any]:
    """A ref of another engine, by its binary form.

    Args:
        binary: 28 bytes.
        kept: What that engine needs to know it; dropped with the ref. Its `reduce()` says how the
            ref is pickled.
    """

def rebuild_ref(bytes: bytes) -> ObjectRef[Any]:
    """The ref that its `__reduce__` wrote."""

def rebuild_streaming(nonce: int, task: int) -> Stream:
    """The streaming generator that its `__reduce__` wrote."""

def rebuild_actor(nonce: int, actor: int) -> ActorRef:
    """The handle that its `__reduce__` wrote."""

def rebuild_dynamic(nonce: int, task: int, at: int) -> Stream:
    """The dynamic generator that its `__reduce__` wrote."""
