"""The client of a session in local mode: what `_engine.Client` asks for.

Invariant: nothing is decided here: tasks, readers and actors do what they do (see `__init__`), and
what they share is `State`.
"""

from __future__ import annotations

import time

from skate import _native
from skate._generator import ObjectRefGenerator
from skate._local import codec
from skate._local.actors import ActorRef, LocalActor
from skate._local.calls import Exported, Template
from skate._local.objects import Inherited
from skate._local.run import current
from skate._local.state import CALL, State, living, stale
from skate._local.streams import Dynamic, Streaming
from skate.exceptions import GetTimeoutError, RaySystemError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from skate._engine import Amounts, GroupRow, Problem
    from skate._local.calls import Producer
    from skate._local.loop import AsyncCall
    from skate._local.objects import Cell, Failure, Maker
    from skate._native import Mailbox, ObjectRef

_UNITS = 10_000
_LARGE = 1 << 16  # 256 of them are 16 MB: see `define.rs`
_MOST_REMOVED = 1_000  # groups that are still listed: as many as in the node
_GAUGES = (
    "tasks_waiting", "tasks_queued", "objects_pending", "requests",
    "requests_for_room", "worker_handles", "pins", "leases", "warm_bytes", "workers",
    "workers_idle", "workers_blocked", "resident_bytes", "huge_pages",
)  # fmt: skip


class Client(State):
    """The one client of a session, whoever asks. The methods are documented in `_native.pyi`."""

    ActorRef = ActorRef

    # ── templates ─────────────────────────────────────────────────────────────────────────────

    def template(  # noqa: PLR0917 - one call defines a whole template
        self,
        name: str,
        function: bytes,
        resources: Amounts,
        returns: int,
        max_retries: int,
        retry_exceptions: bool | bytes,
        window: int | None,
        window_bytes: int | None,
        _closes_on_drop: bool,
        is_strict: bool,
        /,
    ) -> Template:
        self.check()
        find = self._exported(function)
        return Template(self, name, find, resources, returns, max_retries, retry_exceptions,
                        window, window_bytes, is_strict)  # fmt: skip

    def constructor(
        self,
        name: str,
        cls: bytes,
        resources: Amounts,
        serves: str,
        _lanes: Sequence[int],
        _window: int | None,  # one item is made at a time
        /,
    ) -> Template:
        self.check()
        template = Template(self, name, self._exported(cls), resources)
        template.serves = serves
        return template

    def method(  # noqa: PLR0917 - one call defines a whole template
        self,
        name: str,
        method: str,
        returns: int,
        max_retries: int,
        retry_exceptions: bool | bytes,
        window: int | None,
        window_bytes: int | None,
        _closes_on_drop: bool,
        is_strict: bool,
        lane: int,
        /,
    ) -> Template:
        self.check()

        def find(actor: LocalActor | None) -> Callable[..., Any]:
            assert actor is not None  # noqa: S101 - a method is called on an actor
            return actor.method(method)

        return Template(self, name, find, (), returns, max_retries, retry_exceptions, window,
                        window_bytes, is_strict, lane)  # fmt: skip

    def _exported(self, data: bytes) -> Exported:
        """Known by its content while a template has it, and for a while: see `define.rs`."""
        found = self.functions.get(data)
        if found is None:
            found = self.functions[data] = Exported(data)
            if len(data) < _LARGE:
                self.lately_exported.append(found)
        return found

    # ── values ────────────────────────────────────────────────────────────────────────────────

    def put(self, value: Any, /) -> ObjectRef[Any]:
        self.check()
        cell = self.cell(self.next_task(is_call=False), 1)
        cell.packed = codec.pack(value)
        return self.ref(cell)

    @staticmethod
    def round_trip(value: object, /) -> object:
        return codec.pack(value).unpack()

    def empty(self, _format: str | None, _shape: Sequence[int], len: int, /) -> bytearray:
        """Ordinary memory: there is no store, and what is yielded is copied."""
        self.check()
        return bytearray(len)

    def get(self, refs: Sequence[ObjectRef[Any]], timeout_s: float | None, /) -> list[Any]:
        self.check()
        cells = [self.cell_of(ref) for ref in refs]
        if not self.wait_for(cells, timeout_s):
            msg = "Get timed out: some object(s) not ready."
            raise GetTimeoutError(msg)
        failed = [cell for cell in cells if cell.failure is not None]
        for cell in failed:
            _origin(cell).is_known = True  # one of them is raised for all
        for cell in failed:
            cell.value()
        return [cell.value() for cell in cells]

    def get_one(self, ref: ObjectRef[Any], timeout_s: float | None, /) -> Any:
        return self.get([ref], timeout_s)[0]

    def wait(
        self, waitables: list[Any], count: int, timeout_s: float | None, /
    ) -> tuple[list[Any], list[Any]] | None:
        self.check()
        waitables = list(waitables)
        looks = [self._look(each) for each in waitables]
        keys = [each if isinstance(each, _native.ObjectRef) else id(each) for each in waitables]
        if len(set(keys)) != len(keys):
            return None
        deadline = None if timeout_s is None else time.monotonic() + timeout_s

        def ready() -> int:
            return sum(holds() for holds, _ in looks)

        for holds, maker in looks:  # those that whoever waits can drive, as far as they are needed
            if maker is not None and ready() < count and not holds():
                left_s = None if deadline is None else max(deadline - time.monotonic(), 0)
                self.wait_until(holds, maker, left_s)
        left_s = None if deadline is None else max(deadline - time.monotonic(), 0)
        self.wait_until(lambda: ready() >= count, None, left_s)
        first = [each for each, (holds, _) in zip(waitables, looks, strict=True) if holds()][:count]
        taken = set(map(id, first))
        return first, [each for each in waitables if id(each) not in taken]

    def _look(self, waitable: object) -> tuple[Callable[[], bool], Maker | None]:
        """Whether it is ready, and who can make it so."""
        if isinstance(waitable, _native.ObjectRef):
            cell = self.cell_of(waitable)
            return lambda: cell.is_ready, cell.maker
        if isinstance(waitable, ObjectRefGenerator):
            cursor = self._own(waitable).cursor
            if cursor is None:
                return lambda: True, None
            return lambda: cursor.has_item or cursor.is_over, cursor.maker
        msg = f"wait: expected ObjectRefs and generators, got {type(waitable).__name__}"
        raise TypeError(msg)

    def _own(self, generator: ObjectRefGenerator[Any]) -> Streaming | Dynamic:
        """The generator, which must be of this session."""
        if isinstance(generator, Streaming | Dynamic) and generator.client is self:
            return generator
        raise stale(repr(generator))

    def watch(self, waitable: Any, mailbox: Mailbox, token: int, /) -> int:
        self.check()
        holds, maker = self._look(waitable)
        if maker is not None:
            self.wait_until(holds, maker, 0 if isinstance(waitable, Streaming | Dynamic) else None)
        request = next(self.requests)
        with self.lock:
            if holds():
                mailbox.post(token)
                return request

            def post() -> None:
                if self.watches.pop(request, None) is not None:
                    mailbox.post(token)

            watchers = (
                self.cell_of(waitable).watchers
                if isinstance(waitable, _native.ObjectRef)
                else waitable.cursor.channel.watchers
            )
            watchers.append(post)
            self.watches[request] = watchers, post
        return request

    def forget(self, request: int, /) -> None:
        with self.lock:
            watch = self.watches.pop(request, None)
            if watch is not None:
                watchers, post = watch
                watchers.remove(post)

    def awaits(self) -> None:
        """Whoever awaits here has nothing to lend."""

    def awoke(self, _asleep: int, /) -> None:
        """Likewise."""

    def blocks(self, _is_blocked: bool, /) -> bool:
        return False

    # ── ending ────────────────────────────────────────────────────────────────────────────────

    def cancel(self, target: Any, force: bool, recursive: bool, /) -> None:
        self.check()
        if isinstance(target, _native.ObjectRef):
            task = self.cell_of(target).key[:24]
        else:
            task = bytes.fromhex(self._own(target).task_id())
        if force and int.from_bytes(task[12:20], "big") & CALL:
            msg = "force=True is not supported for actor tasks."
            raise ValueError(msg)
        found = self.tasks.get(task)
        if found is None or found.sink.has_ended:
            return
        others = self._running() if recursive else []
        found.cancel()
        for other in others:
            if other.run.has_ancestor(found.run):
                other.cancel()

    def _running(self) -> list[Producer | AsyncCall]:
        return [task for task in living(self.tasks) if not task.sink.has_ended]

    def retire(self) -> None:
        """The one process there is stays."""

    def close(self) -> None:
        with self.lock:
            if not self.is_open:
                return
            self.is_open = False
            self.changed.notify_all()
        if self.running_loop is not None:
            self.running_loop.close()
        self.detached.clear()
        self.kept.clear()

    # ── errors ────────────────────────────────────────────────────────────────────────────────

    def inspect(self, _question: str, /) -> NoReturn:
        msg = (
            "the state API shows tasks, workers and the store of a node, and local_mode has none: "
            "use skate.statistics(), or init without local_mode"
        )
        raise RaySystemError(msg)

    def note_span(self, _name: str, _extra: str, _began_ns: int, /) -> None:
        """There is no timeline."""

    def unhandled_errors(self) -> list[Problem]:
        self.check()
        return [
            (task, name, returns, packed.unpack(), at)
            for task, name, returns, packed, at in list(self.problems)
        ]

    def unseen(self, most: int, /) -> tuple[list[Problem], int]:
        found = {}
        for cell in living(self.cells):
            if cell.failure is not None and not (origin := _origin(cell)).is_known:
                found[origin.task] = origin
        told = [found[task] for task in sorted(found)[:most]]
        now = time.time()
        rows: list[Problem] = [(each.task, each.name, None, each.exception(), now) for each in told]
        return rows, len(found)

    # ── actors ────────────────────────────────────────────────────────────────────────────────

    def own_actor_id(self) -> str | None:
        run = current.get()
        return None if run is None or run.actor is None else run.actor.id.hex()

    def was_restarted(self) -> bool:
        run = current.get()
        return run is not None and run.actor is not None and run.actor.restarts > 0

    # ── where code runs ───────────────────────────────────────────────────────────────────────

    def current_task(self) -> tuple[str, str, int] | None:
        run = current.get()
        return None if run is None else (run.task.hex(), run.name, run.attempt)

    def current_function(self) -> Callable[..., Any] | None:
        run = current.get()
        return None if run is None else run.function

    def current_resources(self) -> list[tuple[str, int]]:
        run = current.get()
        if run is None:
            return []
        return list((run.actor.template if run.actor else run.template).resources)

    def is_canceled(self) -> bool:
        run = current.get()
        return run is not None and run.is_cancelled

    # ── the machine ───────────────────────────────────────────────────────────────────────────

    def resources(self) -> dict[str, tuple[float, float]]:
        """All of them are free: nothing runs beside the one who asks."""
        self.check()
        return {name: (amount / _UNITS, amount / _UNITS) for name, amount in self.machine.resources}

    def statistics(self) -> dict[str, int]:
        self.check()
        # Held beyond the lock: they may be the last that hold them, whose end is user code.
        cells, tasks, actors = living(self.cells), self._running(), living(self.actors)
        with self.lock:
            return {
                "tasks": len(tasks),
                "tasks_dispatched": len(tasks),
                "objects": len(cells),
                "streams": len(self.cursors),
                "actors": len(self.actors),
                "actors_living": sum(actor.is_alive for actor in actors),
                "driver_handles": len(self.handles),
                "used_bytes": sum(cell.packed.size_bytes for cell in cells if cell.packed),
                "capacity_bytes": self.machine.store_bytes,
                **dict.fromkeys(_GAUGES, 0),
                "templates": len(self.functions),
                "objects_pending": sum(not cell.is_ready for cell in cells),
            }

    def reserve(
        self, key: str, name: str, strategy: str, bundles: Sequence[Amounts], /
    ) -> ObjectRef[None]:
        """At once: nothing is ever taken."""
        self.check()
        self.groups_made[key] = (name, strategy, list(bundles))
        return self.put(None)

    def remove_group(self, key: str, /) -> None:
        self.check()
        if key not in self.groups_made or key in self.removed:
            return
        self.removed[key] = None
        for oldest in list(self.removed)[:-_MOST_REMOVED]:  # other threads drop it as well
            self.groups_made.pop(oldest, None)
            self.removed.pop(oldest, None)
        for actor in living(self.actors):
            if self.is_removed(actor.template):
                actor.leave_group()

    def groups(self) -> list[GroupRow]:
        return [
            (
                key,
                name,
                strategy,
                "REMOVED" if key in self.removed else "CREATED",
                [list(bundle) for bundle in bundles],
            )
            for key, (name, strategy, bundles) in list(self.groups_made.items())
        ]

    def notices(self) -> Mailbox:
        """Nobody writes there: what tasks print appears by itself."""
        return _native.Mailbox()

    def describe_workers(self) -> list[dict[str, Any]]:
        """There are none."""
        return []


def _origin(failed: Cell) -> Failure:
    """The error where it happened."""
    failure = failed.failure
    assert failure is not None  # noqa: S101 - the caller has looked
    return failure.failure if isinstance(failure, Inherited) else failure
