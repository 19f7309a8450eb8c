"""`why`: the chain from what somebody waits for to what everything waits for in the end.

    why(ref) ─▶ object is not made ─▶ task waits for an argument ─▶ object ─▶ task runs

Invariant: the node follows the chain, in one moment; here it becomes words. A reason that has no
words is shown by its name, so none is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

from skate import _ids, _native
from skate.util.state._asking import Here
from skate.util.state.common import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from skate.util.state._asking import Source


@dataclass(frozen=True)
class WhyStep(Row):
    """One link of the chain.

    Attributes:
        kind: object, task, stream, actor, worker or driver.
        id: Of that.
        name: Of the task, or the actor's class.
        state: As the lists of tasks, objects and actors have it.
        reason: Why it goes no further: one of the keys of `REASONS`.
        pid: Of the process that it is in.
        details: Numbers and names that go with the reason.
    """

    kind: str
    id: str
    name: str | None
    state: str
    reason: str
    pid: int | None
    details: dict[str, Any]

    def __str__(self) -> str:
        said = REASONS.get(self.reason)
        text = said(self.details) if said else self.reason
        where = f" (pid {self.pid})" if self.pid else ""
        return f"{self._subject()}{where} {text}"

    def _subject(self) -> str:
        if self.kind in {"driver", "worker"}:
            return f"the {self.kind}"
        if self.kind == "object":
            return f"the value of {self.name}" if self.name else f"object {self.id}"
        return f"{self.kind} {self.name or self.id}"


class Why(list[WhyStep]):
    """The chain, from what was asked about to its end. `str` of it says it in words."""

    def __str__(self) -> str:
        lines = []
        for depth, step in enumerate(self):
            arrow = "   " * (depth - 1) + "└─ " if depth else ""
            lines.append(f"{arrow}{step}")
        return "\n".join(lines)


def why(waiting: Any = None) -> Why:
    """Says what something waits for: an argument, resources, a full window, a reader, ...

    Args:
        waiting: A ref, a generator, an actor's handle, or the hex id of an object, task, actor or
            worker; None asks about the driver.

    Returns:
        A list of steps; `print` of it shows the chain in words, its last line is the cause.

    Raises:
        TypeError: it is something else.
        ValueError: it is no id of this session.
        RaySystemError: in `local_mode`, which has no node.
    """
    return chain(Here(), *_subject_of(waiting))


def chain(source: Source, subject: str, position: int | None = None) -> Why:
    """The same for an id, of any driver; with a position, for the generator of that task.

    The position is -1 for the cursor that all holders of a stream share.
    """
    question: dict[str, Any] = {"table": "why", "subject": subject}
    if position is not None:
        question.update(is_stream=True, position=None if position < 0 else position)
    answer = source.ask(question)
    names = answer["columns"]
    return Why(WhyStep(**dict(zip(names, row, strict=True))) for row in answer["rows"])


def _subject_of(waiting: Any) -> tuple[str, int | None]:
    from skate._actor_handle import ActorHandle
    from skate._generator import DynamicObjectRefGenerator, ObjectRefGenerator

    if waiting is None:
        return "driver", None
    if isinstance(waiting := _ids.text(waiting), str):
        return waiting, None
    if isinstance(waiting, _native.ObjectRef):
        return waiting.hex(), None
    if isinstance(waiting, ObjectRefGenerator):
        is_dynamic = isinstance(waiting, DynamicObjectRefGenerator)
        return waiting.task_id(), waiting.position if is_dynamic else -1
    if isinstance(waiting, ActorHandle):
        return waiting._actor_id.hex(), None  # noqa: SLF001 - Ray's name for it
    msg = (
        f"why: got {type(waiting).__name__}, but expected an ObjectRef, a generator, an actor's "
        "handle, or the hex id of one"
    )
    raise TypeError(msg)


def _amounts(amounts: dict[str, float]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in amounts.items()) or "nothing"


def _many(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _resources(d: dict[str, Any]) -> str:
    running = f", taken by {_many(d['num_running'], 'running task')}" if d["num_running"] else ""
    names = f" ({', '.join(d['running'])})" if d["running"] else ""
    needs = f"it needs {_amounts(d['needs'])}, " if "needs" in d else ""
    return f"waits for resources: {needs}free are {_amounts(d['free'])}{running}{names}"


def _window(d: dict[str, Any]) -> str:
    full = f" of {d['window']:,}" if d["window"] is not None else ""
    readers = (
        f"; {_many(d['num_readers'], 'process', 'processes')} could read them"
        if d["num_readers"]
        else "; nobody reads them yet"
    )
    return f"is paused at a yield: its window is full ({d['num_unread']:,}{full} unread{readers})"


REASONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "ACTOR_QUEUE": lambda d: f"waits behind {_many(d['num_ahead'], 'call')} of its actor",
    "ACTOR_STARTS": lambda _: "waits for its actor to start",
    "ARGUMENT": lambda d: f"waits for {_many(d['num_missing'], 'argument')}, the first of which is",
    "BEHIND": lambda d: f"is in a worker's queue, behind {_many(d['num_ahead'], 'task')}",
    "CALLS": lambda d: (
        f"has {_many(d['num_calls_under_way'], 'call')} under way, "
        f"and {d['num_pending_calls']:,} waiting"
    ),
    "CALL_ORDER": lambda _: "waits for an earlier call of the same caller, which is not ready:",
    "CONSTRUCTOR": lambda _: "waits for its constructor",
    "CYCLE": lambda _: "closes a ring: it is waited for by what it waits for",
    "DEAD": lambda d: f"is dead: {d['death_cause']}" if d.get("death_cause") else "is dead",
    "FREED": lambda _: "is not there: it was freed, or never made in this session",
    "GET": lambda d: (
        f"sleeps in get: {_many(d['num_missing'], 'value')} not there, the first of which is"
    ),
    "GROUP": _resources,
    "INFEASIBLE": lambda d: (
        f"can never start: it needs {_amounts(d['needs'])}, "
        f"and this machine has {_amounts(d['machine_has'])}"
    ),
    "LENGTH": lambda _: "sleeps in len: the generator has not ended",
    "NEXT": lambda _: "sleeps in next",
    "NOTHING": lambda _: "waits for nothing: it is there",
    "NOT_MADE": lambda _: "is not made yet",
    "NO_ITEM": lambda d: f"has no unread item; {d['num_yielded']:,} were yielded",
    "ON_DISK": lambda _: "waits for nothing: it is there, on disk",
    "READS_DISK": lambda d: (
        f"sleeps in get: {_many(d['num_missing'], 'value')} come back from disk"
    ),
    "RESOURCES": _resources,
    "RUNS": lambda d: f"runs, for {d['running_for']:.1f} s" if "running_for" in d else "runs",
    "RUNS_BESIDE": lambda d: (
        f"runs, for {d['running_for']:.1f} s, beside {_many(d['num_others'], 'other call')}; "
        f"together they wait for {_many(d['num_requests'], 'answer')}"
    ),
    "STORE_ROOM": lambda d: (
        f"waits for room in the store: {d['free_bytes']:,} of {d['capacity_bytes']:,} bytes free"
    ),
    "WAIT": lambda d: f"sleeps in wait, for {d['num_missing']:,} more, the first of which is",
    "WINDOW": _window,
    "WORKER": lambda d: f"waits for a worker process; there are {d['num_workers']:,}",
    "WORKER_STARTS": lambda _: "waits for its worker process to start",
    "YIELD": lambda _: "is paused at a yield",
}
"""What each reason means, in words."""
