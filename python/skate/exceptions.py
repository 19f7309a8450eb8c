"""What can go wrong, with Ray's names and bases.

    RayError ─┬─ RayTaskError            user code raised: `get` raises `RayTaskError(ValueError)`
              ├─ TaskCancelledError      `cancel` stopped it
              ├─ WorkerCrashedError      the process died under it
              ├─ RayActorError ...       the actor is gone
              ├─ ObjectLostError ...     the value is gone
              ├─ RaySystemError ...      skate itself cannot go on
              └─ GetTimeoutError ...     the caller gave up

Invariant: every instance survives pickling with its fields: `args` are exactly the arguments of
`__init__`, from which `__reduce__` makes it again, and `__str__` computes the text. The Rust side
builds failures by `from_failure` alone, so each kind of failure has one class and one wording.
"""

from __future__ import annotations

import os

from skate._advice import after_death

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LOCAL_IP = "127.0.0.1"


class RayError(Exception):
    """Base of all errors of skate."""


class RayTaskError(RayError):
    """User code raised an exception while it ran for this ref.

    `get` raises an instance of both this class and the cause's class, made by
    `as_instanceof_cause`.

    Attributes:
        function_name: Name of the task.
        traceback_str: Heading `ray::f() (pid=…, ip=…)` and the remote traceback.
        cause: The exception, or a stand-in when it could not be pickled.
        proctitle: Title of the process.
        pid: Of the worker.
        ip: Of the worker's machine.
    """

    def __init__(  # noqa: PLR0917 - Ray's signature
        self,
        function_name: str,
        traceback_str: str,
        cause: BaseException,
        proctitle: str | None = None,
        pid: int | None = None,
        ip: str | None = None,
    ) -> None:
        self.function_name = function_name
        self.traceback_str = traceback_str
        self.cause = cause
        self.proctitle = proctitle or f"ray::{function_name}()"
        self.pid = os.getpid() if pid is None else pid
        self.ip = ip or _LOCAL_IP
        super().__init__(function_name, traceback_str, cause, self.proctitle, self.pid, self.ip)

    def __str__(self) -> str:
        return self.traceback_str

    def _fields(self) -> tuple[str, str, BaseException, str, int, str]:
        return (
            self.function_name,
            self.traceback_str,
            self.cause,
            self.proctitle,
            self.pid,
            self.ip,
        )

    def __reduce__(self) -> tuple[Callable[..., RayTaskError], tuple[object, ...]]:
        return RayTaskError, self._fields()

    def plain(self) -> RayTaskError:
        """The same error without the cause's class: the form that is stored."""
        return RayTaskError(*self._fields())

    def as_instanceof_cause(self) -> RayTaskError:
        """The same error, of the cause's class too, so that `except ValueError` works.

        Returns:
            An instance of a class named `RayTaskError(ValueError)`; itself, when that class cannot
            be made (final or hostile classes) or would end the process (`SystemExit`,
            `KeyboardInterrupt`, `GeneratorExit`).

        Rule: semantics.md 3.5.
        """
        cause = self.cause
        cause_class = type(cause)
        if isinstance(self, cause_class) or isinstance(
            cause, SystemExit | KeyboardInterrupt | GeneratorExit
        ):
            return self
        try:
            from skate._dual import dual_of
            from skate._frames import with_sources

            self.traceback_str = with_sources(self.traceback_str)
            self.args = self._fields()
            return dual_of(self)
        except Exception:
            return self


class TaskCancelledError(RayError):
    """The task was stopped by `cancel`, or depends on one that was.

    The error of one that was running is a `RayTaskError` as well.
    """

    def __init__(self, task_id: object = None, error_message: str | None = None) -> None:
        super().__init__(task_id, error_message)
        self.task_id = task_id
        self.error_message = error_message

    def __str__(self) -> str:
        if self.error_message:
            return self.error_message
        return (
            "This task or its dependency was cancelled by user"
            if self.task_id is None
            else (f"Task: {self.task_id} was cancelled.")
        )


class WorkerCrashedError(RayError):
    """The worker process died while it ran the task, and no retry was left."""

    def __init__(
        self, message: str = "The worker died unexpectedly while executing this task."
    ) -> None:
        super().__init__(message)


class GetTimeoutError(RayError, TimeoutError):
    """`get` or `next` gave up after its timeout."""


class RaySystemError(RayError):
    """skate itself cannot do what was asked.

    There is no session, this is a forked child, a system call failed, or the call waited for
    something that waits for it in turn: then the text names who waits for whom.
    """

    def __init__(self, client_exc: object, traceback_str: str | None = None) -> None:
        super().__init__(client_exc, traceback_str)
        self.client_exc = client_exc
        self.traceback_str = traceback_str

    def __str__(self) -> str:
        text = f"System error: {self.client_exc}"
        return f"{text}\ntraceback: {self.traceback_str}" if self.traceback_str else text


class StreamingGeneratorReplayInconsistentError(RaySystemError):
    """A generator that was run again yielded fewer items than had been published before."""


class ObjectRefStreamEndOfStreamError(RayError):
    """The stream has ended."""


# ── actors ────────────────────────────────────────────────────────────────────────────────────────


class RayActorError(RayError):
    """The actor is gone, or cannot be reached.

    Attributes:
        actor_id: Hex id of the actor, or None.
        error_msg: What happened.
        actor_init_failed: Whether the constructor raised.
        preempted: Always False on one machine.
        cause: What the constructor raised, or one of its arguments, if that is why.
    """

    def __init__(
        self,
        actor_id: str | None = None,
        error_msg: str = "The actor experienced an error before finishing this task.",
        actor_init_failed: bool = False,
        preempted: bool = False,
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(actor_id, error_msg, actor_init_failed, preempted, cause)
        self.cause = cause
        self.actor_id = actor_id
        self.error_msg = error_msg
        self.actor_init_failed = actor_init_failed
        self.preempted = preempted

    def __str__(self) -> str:
        return self.error_msg


class ActorDiedError(RayActorError):
    """The actor died for good."""


class ActorUnavailableError(RayActorError):
    """The actor cannot be reached now; it may come back."""

    def __init__(self, error_message: str, actor_id: str | None = None) -> None:
        super().__init__(actor_id, f"The actor {actor_id} is unavailable: {error_message}")
        self.args = (error_message, actor_id)


class ActorAlreadyExistsError(ValueError, RayError):
    """The name is taken."""


class ActorHandleNotFoundError(ValueError, RayError):
    """No actor has that name, or the handle is of another session."""


class ActorUnschedulableError(RayError):
    """The actor can never be placed."""


class ActorPlacementGroupRemoved(RayError):  # noqa: N818 - Ray's name
    """The placement group of the actor was removed."""


class AsyncioActorExit(RayError):  # noqa: N818 - Ray's name
    """Raised inside an async actor to leave it."""


class PendingCallsLimitExceeded(RayError):  # noqa: N818 - Ray's name
    """The actor has `max_pending_calls` calls waiting."""


# ── objects ───────────────────────────────────────────────────────────────────────────────────────


class ObjectLostError(RayError):
    """The value of a ref is gone.

    Attributes:
        object_ref_hex: Id of the object.
        owner_address: None on one machine.
        call_site: Where the ref was made, if that is recorded.
    """

    def __init__(
        self, object_ref_hex: str, owner_address: bytes | None = None, call_site: str = ""
    ) -> None:
        super().__init__(object_ref_hex, owner_address, call_site)
        self.object_ref_hex = object_ref_hex
        self.owner_address = owner_address
        self.call_site = call_site

    def __str__(self) -> str:
        return f"The value of object {self.object_ref_hex} is gone; it cannot be had any more."


class ObjectCorruptedError(ObjectLostError):
    """The value was spilled to disk, and its bytes cannot be read back: not in Ray.

    Attributes:
        reason: What is wrong with them.
    """

    def __init__(self, object_ref_hex: str, reason: str = "") -> None:
        super().__init__(object_ref_hex)
        self.args = (object_ref_hex, reason)
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"The value of object {self.object_ref_hex} was spilled to disk and cannot be read "
            f"back: {self.reason}"
        )


class ObjectFetchTimedOutError(ObjectLostError):
    """The value could not be fetched in time."""


class OwnerDiedError(ObjectLostError):
    """For compatibility: in skate the node owns every object, so no owner dies (A14)."""


class ObjectFreedError(ObjectLostError):
    """The value was freed by hand."""


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """The value was freed although it was still referenced."""


class ObjectReconstructionFailedError(ObjectLostError):
    """The value was lost and could not be made again."""


class ObjectReconstructionFailedMaxAttemptsExceededError(ObjectReconstructionFailedError):
    """The value was lost more often than `max_retries` allows."""


class ObjectReconstructionFailedLineageEvictedError(ObjectReconstructionFailedError):
    """The value was lost, and how it was made is no longer known."""


class ObjectStoreFullError(RayError):
    """Neither the store nor the disk has room for the value."""


class OutOfDiskError(RayError):
    """The disk has no room to spill to."""


class OutOfMemoryError(RayError):
    """The task was ended because memory ran out."""


class PlasmaObjectNotAvailable(RayError):  # noqa: N818 - Ray's name
    """The value is not in the store now."""


class OufOfBandObjectRefSerializationException(RayError):  # noqa: N818 - Ray's name
    """A ref was pickled outside of a call while that was forbidden."""


# ── the machine, the code and the rest ────────────────────────────────────────────────────────────


class LocalRayletDiedError(RayError):
    """The node is gone."""


class NodeDiedError(RayError):
    """The node is gone."""


class RuntimeEnvSetupError(RayError):
    """The environment of a task could not be made."""

    def __init__(self, error_message: str | None = None) -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        return "Failed to set up runtime environment." + (
            f"\n{self.error_message}" if self.error_message else ""
        )


class TaskPlacementGroupRemoved(RayError):  # noqa: N818 - Ray's name
    """The placement group of the task was removed."""


class TaskUnschedulableError(RayError):
    """The task can never be placed."""


class RayChannelError(RaySystemError):
    """A channel was closed."""


class RayChannelTimeoutError(RayChannelError, TimeoutError):
    """A channel was not ready in time."""


class RayCgraphCapacityExceeded(RaySystemError):  # noqa: N818 - Ray's name
    """A compiled graph has too many executions under way."""


class RayDirectTransportError(RaySystemError):
    """A tensor could not be sent directly."""


class CrossLanguageError(RayError):
    """Code in another language failed."""


class UserCodeException(RayError):  # noqa: N818 - Ray's name
    """User code that is not a task failed."""


class UnserializableException(RayError):  # noqa: N818 - Ray's name
    """Stands for an exception that could not be pickled; its text is kept.

    Attributes:
        original_stack_trace: The exception as text.
    """

    def __init__(self, original_stack_trace: str) -> None:
        super().__init__(original_stack_trace)
        self.original_stack_trace = original_stack_trace


class AuthenticationError(RayError):
    """A cluster refused the credentials."""


class RpcError(RayError):
    """A message to a cluster failed."""

    def __init__(self, message: str, rpc_code: int | None = None) -> None:
        super().__init__(message, rpc_code)
        self.message = message
        self.rpc_code = rpc_code

    def __str__(self) -> str:
        return self.message


def from_failure(kind: str, **fields: object) -> RayError:  # noqa: PLR0911, PLR0912, C901 - one per kind
    """The exception for a failure that the node itself saw. Called by the Rust side.

    Args:
        kind: Name of the variant of the node's `Failure`.
        fields: Its fields: `task_name`, `death` (how the process ended, as text), `need`, `free`,
            `capacity`, `spilled` (bytes, or None), `why` and `trouble` (text), `object_id` (hex),
            `yielded`, `published` (items), `pid` (0 for none); of an actor `actor_id`,
            `class_name`, `name`, `namespace`, `pid` and `cause` (a key of `_WHY_DEAD`).
    """
    task = fields.get("task_name")
    match kind:
        case "WorkerCrashed":
            death = str(fields["death"])
            return WorkerCrashedError(
                f"The worker died unexpectedly while executing this task: {task}: {death}"
                f"{after_death(death)}"
            )
        case "WorkerStart":
            return WorkerCrashedError(
                f"No worker process could be started for this task: {task}: {fields['death']}"
            )
        case "Cancelled":
            cancelled = TaskCancelledError(task, f"Task: {task} was cancelled.")
            return _interrupted(str(task), cancelled, pid) if (pid := fields["pid"]) else cancelled
        case "StoreFull":
            return ObjectStoreFullError(
                f"The object store is full: {fields['need']} bytes are needed, {fields['free']} of "
                f"{fields['capacity']} bytes are free. Nothing can be spilled to disk for it: "
                f"{fields['why']}. Drop refs and views that are no longer "
                f"needed, or give `init` a larger object_store_memory."
            )
        case "OutOfDisk":
            spilled = fields["spilled"]
            already = "" if spilled is None else f", {spilled} bytes are spilled"
            return OutOfDiskError(
                f"The object store is full, and the disk takes no more: {fields['need']} bytes are "
                f"needed{already}. {fields['trouble']}. Drop refs that are no longer needed, or "
                "name another directory by object_spilling_directory."
            )
        case "OutOfMemory":
            return OutOfMemoryError(
                f"Task {task} was stopped because memory ran short, and is not run again. "
                f"{fields['why']}. Use less memory, run fewer tasks at once (num_cpus), set "
                "RAY_memory_usage_threshold, or RAY_memory_monitor_refresh_ms=0 to switch this off."
            )
        case "Lost":
            return ObjectCorruptedError(str(fields["object_id"]), str(fields["trouble"]))
        case "ReplayInconsistent":
            return StreamingGeneratorReplayInconsistentError(
                f"{task} yielded {fields['yielded']} items when it was run again, but "
                f"{fields['published']} items had been published before; a generator that is "
                f"retried must yield at least as many items."
            )
        case "ActorDied":
            return ActorDiedError(str(fields["actor_id"]), _actor_died(fields))
        case "ActorUnavailable":
            return ActorUnavailableError(
                f"The actor is temporarily unavailable: its process died under {task} "
                f"({fields['death']}), and it is started again. The task may or may not have been "
                "executed on the actor.",
                str(fields["actor_id"]),
            )
        case "GroupRemoved":
            return TaskPlacementGroupRemoved(f"The placement group of {task} was removed.")
        case "Deadlock":
            return RaySystemError(f"This call waited for ever: {fields['chain']}.")
        case "NoSuchActor":
            return ActorHandleNotFoundError(
                f"Failed to look up actor with name '{fields['name']}'. This could because 1. You "
                "are trying to look up a named actor you didn't create. 2. The named actor died. "
                "3. You did not use a namespace matching the namespace of the actor."
            )
        case "Unknown":
            return RaySystemError("the object was freed, or is not known in this session")
    details = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    return RaySystemError(f"{kind}: {details}")


def _interrupted(task: str, cancelled: TaskCancelledError, pid: object) -> RayError:
    """The error of a task that was running in that process when it was cancelled."""
    assert isinstance(pid, int)  # noqa: S101 - for mypy
    heading = f"ray::{task}() (pid={pid}, ip={_LOCAL_IP})"
    text = f"{heading}\n{TaskCancelledError.__module__}.TaskCancelledError: {cancelled}"
    return RayTaskError(task, text, cancelled, pid=pid).as_instanceof_cause()


_WHY_DEAD = {
    "Crashed": (
        "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR "
        "Worker exit detail: {death}. max_restarts says how often it is started again."
    ),
    "NotStarted": ("The actor is dead because no worker process could be started for it: {death}"),
    "Killed": "The actor is dead because it was killed by `ray.kill`.",
    "ExitActor": (
        "The actor is dead because its worker process has died. Worker exit type: "
        "INTENDED_USER_EXIT Worker exit detail: Worker exits by an user request. exit_actor() is "
        "called."
    ),
    "Terminate": (
        "The actor is dead because its worker process has died. Worker exit type: "
        "INTENDED_USER_EXIT Worker exit detail: Worker exits by an user request. "
        "__ray_terminate__() is called."
    ),
    "ExitCodeZero": (
        "The actor is dead because its worker process has died. Worker exit type: "
        "INTENDED_USER_EXIT Worker exit detail: Worker exits by an user request. Worker exits with "
        "an exit code 0."
    ),
    "GroupRemoved": "The actor is dead because its placement group was removed.",
    "OutOfScope": "The actor is dead because all references to the actor were removed.",
}


def _actor_died(fields: dict[str, object]) -> str:
    """What happened to which actor, in Ray's form."""
    lines = ["The actor died unexpectedly before finishing this task."]
    known = ("class_name", "actor_id", "pid", "name", "namespace")
    lines += [f"\t{field}: {fields[field]}" for field in known if fields[field]]
    lines += [f"\tip: {_LOCAL_IP}", f"\ttask: {fields['task_name']}"]
    lines.append(_WHY_DEAD[str(fields["cause"])].format_map(fields))
    return "\n".join(lines)


_PUBLIC = {
    name
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, RayError)
}
__all__ = sorted(_PUBLIC)  # noqa: PLE0605 - exactly the classes above
