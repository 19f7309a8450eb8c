"""The calls that take refs: get, put, wait, cancel; and the views of the session.

Invariant: everything is checked here, before the Rust side is asked, so that a wrong argument has
had no effect. Wording is Ray's where users' tests match it.
"""

from __future__ import annotations

# ruff: noqa: F811 - `overload` is not the one of `typing` at run time, and ruff sees that one
from operator import index

from skate import _checks, _session
from skate._frames import HIDDEN, REFUSALS, hide
from skate._generator import ObjectRefGenerator
from skate._native import ObjectRef
from skate.exceptions import GetTimeoutError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias, TypeVar, overload

    from skate._engine import Client
    from skate._statistics import Statistics

    T = TypeVar("T")
    G = TypeVar("G", bound=ObjectRefGenerator[Any])
    W = TypeVar("W", bound="Waitable")
    Waitable: TypeAlias = ObjectRef[Any] | ObjectRefGenerator[Any]

else:

    def overload(_declaration: object) -> None:
        """For type checkers only; `typing` takes 10 ms to import."""


@overload
def get(object_refs: ObjectRef[T], *, timeout: float | None = None) -> T: ...
@overload
def get(object_refs: list[ObjectRef[T]], *, timeout: float | None = None) -> list[T]: ...
@overload
def get(object_refs: list[ObjectRef[Any]], *, timeout: float | None = None) -> list[Any]: ...
@overload
def get(object_refs: G, *, timeout: float | None = None) -> G: ...
def get(object_refs: Any, *, timeout: float | None = None, _use_object_store: bool = False) -> Any:
    """The value of a ref, or the values of a list of refs, in order. Waits until they are there.

    Args:
        object_refs: One ref, a list of n refs, or a generator, which is returned as it is.
        timeout: Seconds, at least 0; None waits for ever, 0 only looks.
        _use_object_store: Accepted for compatibility: every value comes from the store.

    Returns:
        The value, or a list of n values. Arrays are read-only views of shared memory, which stays
        as long as the view.

    Raises:
        GetTimeoutError: not everything came in time.
        RayTaskError: a task raised; also an instance of the class of its exception. The first
            error is raised without waiting for the rest.
        RayError: a system failure; see `exceptions`.
        TypeError: the list contains something else than a ref, or the timeout is no number.
        ValueError: it is neither ref, list nor generator, or the timeout is negative.

    Rule: semantics.md 3.2.
    """
    try:
        if timeout is not None:
            timeout = _checked_timeout("get", timeout)
        if _use_object_store is not False:
            _checks.flag("get: _use_object_store", _use_object_store)
        client = _session.client or _session_of(object_refs)
        if type(object_refs) is ObjectRef:
            return client.get_one(object_refs, timeout)
        if isinstance(object_refs, list):
            if not set(map(type, object_refs)) <= _REF_ONLY:
                raise _no_ref(object_refs)
            return client.get(object_refs, timeout)
        if isinstance(object_refs, ObjectRefGenerator):
            return object_refs
        msg = (
            f"Invalid type of object refs, {type(object_refs)}, is given. 'object_refs' must "
            "either be an ObjectRef or a list of ObjectRefs. "
        )
        raise ValueError(msg)
    except REFUSALS as error:
        if isinstance(error, GetTimeoutError) and timeout:  # 0 only looks, perhaps often
            error.add_note(_what_is_late(object_refs, timeout))
        hide(error)
        raise


def _no_ref(values: list[Any]) -> TypeError:
    stranger = next(each for each in values if type(each) is not ObjectRef)
    return TypeError(
        f"Attempting to call `get` on the value {stranger!r}, which is not an ray.ObjectRef."
    )


def _what_is_late(object_refs: Any, timeout: float) -> str:
    """How many of the refs did not come in time, and what the first of them waits for."""
    refs = list(dict.fromkeys(object_refs if isinstance(object_refs, list) else [object_refs]))
    _, late = wait(refs, num_returns=len(refs), timeout=0)
    text = f"After {timeout:g} s, not ready: {len(late)} of {len(refs)}."
    if late:
        try:
            from skate.util.state import why

            text += f" The first:\n{why(late[0])}"
        except Exception:  # an engine that does not know, or a session that ends meanwhile
            text += f" The first: {late[0]}."
    return text


_REF_ONLY = {ObjectRef}


def put(value: T, *, _owner: Any = None) -> ObjectRef[T]:
    """Stores a value once, to be read by any number of tasks.

    Args:
        value: The value.
        _owner: None, for compatibility: the node owns every value, as long as there are refs.

    Raises:
        TypeError: it is a ref, or cannot be pickled; the text names the part that cannot.
        ValueError: an owner is given.
        ObjectStoreFullError: there is no room.

    Rule: semantics.md 3.1.
    """
    try:
        if type(value) is ObjectRef:
            msg = (
                "Calling 'put' on an ray.ObjectRef is not allowed. If you really want to do this, "
                "you can wrap the ray.ObjectRef in a list and call 'put' on it."
            )
            raise TypeError(msg)
        if _owner is not None:
            expected = "None: the node owns every value, so it outlives who made it"
            raise ValueError(_checks.refusal("put: _owner", _owner, expected))
        return (_session.client or _session.connect()).put(value)
    except REFUSALS as error:
        hide(error)
        raise


def wait(
    ray_waitables: list[W],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,  # noqa: ARG001 - one machine has one store
) -> tuple[list[W], list[W]]:
    """Waits until `num_returns` of the refs are ready or `timeout` has passed.

    Args:
        ray_waitables: n distinct refs or generators. A ref is ready when it has a value or an
            error, a generator when an item, its error or its end can be taken.
        num_returns: How many to wait for, from 1 to n.
        timeout: Seconds, at least 0; None waits for ever, 0 only looks.
        fetch_local: Accepted for compatibility.

    Returns:
        `(ready, pending)`: a partition of the input, each part in input order;
        `len(ready) <= num_returns`.

    Raises:
        TypeError: it is no list, or contains something else; `num_returns` is no int, or
            `timeout` no number.
        ValueError: a ref occurs twice, or `num_returns` or `timeout` is out of range.
        RaySystemError: one is of a session that has ended.

    Rule: semantics.md 3.3, 1.4.8.
    """
    with HIDDEN:
        if not isinstance(ray_waitables, list):
            raise _no_waitables(ray_waitables)
        if timeout is not None:
            timeout = _checked_timeout("wait", timeout)
        try:
            num_returns = index(num_returns)
        except TypeError:
            msg = f"wait() expected num_returns to be an int, got {type(num_returns)}"
            raise TypeError(msg) from None
        client = _session.client or _session_of(ray_waitables)
        count = len(ray_waitables)
        if count == 0:
            return [], []
        if num_returns <= 0:
            msg = f"Invalid number of objects to return {num_returns}."
            raise ValueError(msg)
        if num_returns > count:
            msg = (
                "num_returns cannot be greater than the number of ray_waitables provided to "
                "ray.wait."
            )
            raise ValueError(msg)
        try:
            parts = client.wait(ray_waitables, num_returns, timeout)
        except TypeError:
            raise _no_waitables(ray_waitables) from None
        if parts is None:
            msg = "Wait requires a list of unique ray_waitables."
            raise ValueError(msg)
        return parts


def _session_of(given: object) -> Client:
    """The session, for who was given this; begins one unless a part of it came from one."""
    for each in given if isinstance(given, list) else (given,):
        if isinstance(each, ObjectRef | ObjectRefGenerator):
            return _session.of(each)
    return _session.connect()


def _no_waitables(waitables: object) -> TypeError:
    """The error for what is no list of refs and generators."""
    if isinstance(waitables, list):
        for kind in map(type, waitables):
            if kind is not ObjectRef and not issubclass(kind, ObjectRefGenerator):
                return TypeError(
                    "wait() expected a list of ray.ObjectRef or ray.ObjectRefGenerator, got list "
                    f"containing {kind}"
                )
    got = f"{type(waitables)}"
    if isinstance(waitables, ObjectRef | ObjectRefGenerator):
        got = f"a single ray.ObjectRef or ray.ObjectRefGenerator {waitables}"
    return TypeError(
        f"wait() expected a list of ray.ObjectRef or ray.ObjectRefGenerator, got {got}"
    )


def _checked_timeout(function: str, timeout: Any) -> float:
    timeout_s = _checks.seconds(f"{function}: timeout", timeout)
    if not timeout_s >= 0:
        msg = f"{function}: The 'timeout' argument must be nonnegative. Received {timeout}"
        raise ValueError(msg)
    return timeout_s


def cancel(
    object_ref: Waitable,
    *,
    force: bool = False,
    recursive: bool = True,
) -> None:
    """Stops the task that makes a ref or feeds a generator. Returns at once.

    A task that has not started never does; one that runs gets a KeyboardInterrupt in its main
    thread; one that has finished stays as it is. Its refs, and those of tasks that depend on it,
    raise `TaskCancelledError`; items of a generator that were stored before stay readable.

    Args:
        object_ref: What the task gave.
        force: Whether to kill its worker instead.
        recursive: Whether to stop the tasks that it started, too.

    Raises:
        TypeError: it is neither ref nor generator, or a flag is no bool.
        RaySystemError: it is of a session that has ended.

    Rule: semantics.md 2.19, 1.8, A10.
    """
    target: object = object_ref
    if not isinstance(target, ObjectRef | ObjectRefGenerator):
        msg = (
            "ray.cancel() only supported for object refs. For actors, try ray.kill(). Got: "
            f"{type(target)}."
        )
        with HIDDEN:
            raise TypeError(msg)
    with HIDDEN:
        force = _checks.flag("cancel: force", force)
        recursive = _checks.flag("cancel: recursive", recursive)
    (_session.client or _session.of(target)).cancel(target, force, recursive)


def cluster_resources() -> dict[str, float]:
    """All resources by name, in units of one (memory in bytes)."""
    table = _session.connect().resources()
    return {name: total for name, (total, _) in table.items()}


def available_resources() -> dict[str, float]:
    """Those that no task uses now. One that is used up is left out, as in Ray."""
    table = _session.connect().resources()
    return {name: available for name, (_, available) in table.items() if available > 0}


def nodes() -> list[dict[str, Any]]:
    """One row: this machine, with Ray's keys."""
    from skate._ids import node_id
    from skate._machine import IP, hostname
    from skate._placing import labels

    client = _session.connect()
    rows = getattr(client, "nodes", None)  # an engine with nodes of its own
    if rows is not None:
        return list(rows())
    return [
        {
            "NodeID": node_id(client),
            "Alive": True,
            "NodeManagerAddress": IP,
            "NodeManagerHostname": hostname(),
            "NodeManagerPort": 0,
            "ObjectManagerPort": 0,
            "ObjectStoreSocketName": None,
            "RayletSocketName": None,
            "MetricsExportPort": 0,
            "NodeName": IP,
            "RuntimeEnvAgentPort": 0,
            "alive": True,
            "Resources": cluster_resources(),
            "Labels": labels(client),
        }
    ]


def statistics() -> Statistics:
    """Counters of the session, at one moment.

    Raises:
        RaySystemError: in a worker: only the driver has them.
    """
    from skate._statistics import Statistics

    return Statistics(_session.connect().statistics())
