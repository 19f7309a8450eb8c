"""The rows of the state API.

Invariant: a row is a record of one moment: frozen, with attributes and items of the same names, as
Ray's state API has them. Fields in `DETAILS` are None unless details were asked for; those in
`CONSTANTS` are the same in all rows of a session, and are not asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Row:
    """One row: its fields are attributes, items, and `dict(row)`."""

    DETAILS: ClassVar[frozenset[str]] = frozenset()
    CONSTANTS: ClassVar[frozenset[str]] = frozenset({"job_id", "node_id"})

    def __getitem__(self, name: str) -> Any:
        if name not in self.keys():
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    @classmethod
    def keys(cls) -> list[str]:
        """Names of the columns, for `dict(row)`."""
        return [each.name for each in fields(cls)]

    def asdict(self) -> dict[str, Any]:
        """The row as a dict."""
        return {name: getattr(self, name) for name in self.keys()}


@dataclass(frozen=True)
class TaskState(Row):
    """One attempt of a task, or of a call of an actor.

    Attributes:
        task_id: 48 hex digits.
        attempt_number: 0 for the first.
        name: Its name, or its function's.
        state: PENDING_ARGS_AVAIL, PENDING_NODE_ASSIGNMENT (it waits for resources, a worker or its
            actor), SUBMITTED_TO_WORKER (it is in a worker's queue), RUNNING, FINISHED, FAILED.
        job_id: Of the session.
        actor_id: Of the actor that it makes or calls.
        type: NORMAL_TASK, ACTOR_CREATION_TASK or ACTOR_TASK.
        func_or_class_name: The function, class or method.
        parent_task_id: The task that made the call; None for the driver.
        node_id: Of the one node.
        worker_id: Where it runs, ran or is queued.
        worker_pid: The same as a pid.
        error_type: Why it failed, in Ray's words: TASK_EXECUTION_EXCEPTION, WORKER_DIED, ...
        sleeps_in: The call that the running task sleeps in: get, wait, next, len, put, or yield if
            its window is full. None if it computes.
        required_resources: By name.
        creation_time_ms: Of its submission. This and the next two in ms since 1970.
        start_time_ms: When it began.
        end_time_ms: When it ended.
        error_message: What is known beyond `error_type`.
        num_returns: A number, "dynamic" or "streaming".
        num_yielded: Items, or returns of a generator, so far.
        arguments: Ids of the objects that were passed as whole arguments; of an attempt with more
            than 32 that has ended, none.
    """

    DETAILS = frozenset({
        "required_resources", "creation_time_ms", "start_time_ms", "end_time_ms",
        "error_message", "num_returns", "num_yielded", "arguments",
    })  # fmt: skip

    task_id: str
    attempt_number: int
    name: str
    state: str
    type: str
    func_or_class_name: str
    actor_id: str | None = None
    parent_task_id: str | None = None
    worker_id: str | None = None
    worker_pid: int | None = None
    error_type: str | None = None
    sleeps_in: str | None = None
    job_id: str = ""
    node_id: str = ""
    required_resources: dict[str, float] | None = None
    creation_time_ms: float | None = None
    start_time_ms: float | None = None
    end_time_ms: float | None = None
    error_message: str | None = None
    num_returns: int | str | None = None
    num_yielded: int | None = None
    arguments: list[str] | None = None


@dataclass(frozen=True)
class ActorState(Row):
    """One actor.

    Attributes:
        actor_id: 32 hex digits.
        class_name: Of its class.
        state: DEPENDENCIES_UNREADY (its constructor's arguments are not there), PENDING_CREATION,
            ALIVE, RESTARTING, DEAD.
        name: Its own name; empty without one.
        ray_namespace: Of that name.
        pid: Of its process.
        worker_id: The same as an id.
        is_detached: Whether it lives without handles.
        num_restarts: Starts after a crash.
        num_pending_calls: Calls that are not in its process.
        num_calls_under_way: Calls that run there or are queued there.
        num_handles: That keep it alive.
        death_cause: In words.
        job_id: Of the session.
        node_id: Of the one node.
        required_resources: That it holds while it lives, by name.
        concurrency: `at_once`: how many calls of each concurrency group.
    """

    DETAILS = frozenset({
        "num_handles", "required_resources", "concurrency",
    })  # fmt: skip

    actor_id: str
    class_name: str
    state: str
    name: str = ""
    ray_namespace: str = ""
    pid: int | None = None
    worker_id: str | None = None
    is_detached: bool = False
    num_restarts: int = 0
    num_pending_calls: int = 0
    num_calls_under_way: int = 0
    death_cause: str | None = None
    job_id: str = ""
    node_id: str = ""
    num_handles: int | None = None
    required_resources: dict[str, float] | None = None
    concurrency: dict[str, list[int]] | None = None


@dataclass(frozen=True)
class ObjectState(Row):
    """One object that somebody keeps.

    Attributes:
        object_id: 56 hex digits.
        state: PENDING, READY or ERROR.
        object_size: Bytes of the packed value.
        place: Where these are: INLINE (small, in messages), STORE, DISK; None while it is pending.
        task_id: Of the task that makes it, or of the `put`.
        index: 0: the task as a whole; i + 1: its i-th return or yield.
        num_holders: How many refs, views, tasks, values, streams and open calls keep it.
        pinned_by: Pids of the processes that read it in place: while one of their views lives, its
            bytes cannot be spilled or freed.
        node_id: Of the one node.
        made_by: Name of the task that makes it, if that is known.
        held_by: Who keeps it: a list of dicts with `kind` (REF, VIEW, GET, ARGUMENT, CONTAINED,
            UNREAD, or OTHERS beyond a hundred), `by` (the id of the process, task or object),
            `pid` and `count`.
    """

    DETAILS = frozenset({
        "made_by", "held_by",
    })  # fmt: skip

    object_id: str
    state: str
    object_size: int
    place: str | None
    task_id: str
    index: int
    num_holders: int
    pinned_by: list[int]
    node_id: str = ""
    made_by: str | None = None
    held_by: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class WorkerState(Row):
    """One process of the session.

    Attributes:
        worker_id: 56 hex digits.
        worker_type: DRIVER or WORKER.
        state: DRIVER, or of a worker STARTING, IDLE, RUNNING, BLOCKED (its task sleeps in a call),
            LEAVING, DYING.
        pid: Of the process.
        is_alive: Whether nobody has asked it to end.
        task_name: Of what it runs; of one of them, if it runs several.
        actor_id: The actor whose process it is.
        num_running: Tasks that it executes.
        num_queued: Tasks that were sent ahead and wait behind these.
        sleeps_in: As of a task.
        node_id: Of the one node.
        resources: What its task, or actor, holds.
        num_handles: What it keeps alive: refs, views, generators, handles, leases of memory.
        num_requests: Questions that it waits for an answer to.
    """

    DETAILS = frozenset({
        "resources", "num_handles", "num_requests",
    })  # fmt: skip

    worker_id: str
    worker_type: str
    state: str
    pid: int | None = None
    is_alive: bool = True
    task_name: str | None = None
    actor_id: str | None = None
    num_running: int = 0
    num_queued: int = 0
    sleeps_in: str | None = None
    node_id: str = ""
    resources: dict[str, float] | None = None
    num_handles: int | None = None
    num_requests: int | None = None


@dataclass(frozen=True)
class PlacementGroupState(Row):
    """One placement group.

    Attributes:
        placement_group_id: Hex.
        name: Its name; may be empty.
        state: PENDING, CREATED or REMOVED.
        strategy: As it was asked for.
        bundles: What each sets aside.
    """

    DETAILS = frozenset({
        "bundles",
    })  # fmt: skip

    placement_group_id: str
    name: str
    state: str
    strategy: str
    bundles: list[dict[str, float]] | None = None


@dataclass(frozen=True)
class StreamState(Row):
    """One generator, seen as what lies between its task and its readers. Ray has no such table.

    Attributes:
        task_id: Of the generator's task.
        name: Of that task.
        mode: streaming or dynamic.
        state: PENDING (it has not begun), RUNNING, PAUSED (its window, or the store, is full),
            ENDED, CLOSED.
        num_yielded: Items so far.
        num_unread: Items that no reader has taken.
        unread_bytes: Bytes of those; of a dynamic generator, of all.
        window: At most so many unread; None: no limit.
        window_bytes: The same in bytes.
        num_readers_waiting: `next` and `wait` calls that wait for an item.
        num_handles: That can read it.
    """

    task_id: str
    name: str | None
    mode: str
    state: str
    num_yielded: int
    num_unread: int
    unread_bytes: int
    window: int | None
    window_bytes: int | None
    num_readers_waiting: int
    num_handles: int


@dataclass(frozen=True)
class NodeState(Row):
    """The one node.

    Attributes:
        node_id: 56 hex digits.
        node_ip: Of this machine.
        is_head_node: It is.
        state: ALIVE.
        node_name: As `node_ip`.
        resources_total: By name.
        resources_available: By name.
    """

    node_id: str
    node_ip: str
    is_head_node: bool
    state: str
    node_name: str
    resources_total: dict[str, float]
    resources_available: dict[str, float]


@dataclass(frozen=True)
class JobState(Row):
    """The one job: the driver's program.

    Attributes:
        job_id: 8 hex digits.
        type: DRIVER.
        status: RUNNING.
        entrypoint: Its command line.
        driver_pid: Its pid.
    """

    job_id: str
    type: str
    status: str
    entrypoint: str
    driver_pid: int
