"""What a session in local mode has: objects, streams, actors, and how one waits for them.

Invariants: `lock` guards what waits look at and is held for a few steps only, never while user
code runs. The weak tables grow and shrink without it, at any moment: `living` looks through them.
Every wait is in `wait_until`: first whoever waits drives the task that it waits for, then it sleeps
until another thread has changed something.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections import deque
from weakref import WeakSet, WeakValueDictionary

from skate import _native
from skate._condition import Condition
from skate._group import ENTRY
from skate._ids import JOB_ID
from skate._local import codec
from skate._local.calls import Producer
from skate._local.loop import Loop
from skate._local.objects import Cell, Failure, Handle, Inherited
from skate._local.run import current
from skate.exceptions import ObjectLostError, RaySystemError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from skate._engine import Amounts
    from skate._local.actors import LocalActor
    from skate._local.calls import Exported, Template
    from skate._local.codec import Packed
    from skate._local.loop import AsyncCall
    from skate._local.objects import Maker
    from skate._local.streams import Cursor
    from skate._machine import Machine
    from skate._native import ObjectRef

    _T = TypeVar("_T")

CALL = 1 << 39
"""Set in the counter of a call of an actor, as the node does."""

_JOB = bytes.fromhex(JOB_ID)
_MOST_PROBLEMS = 10_000  # as many as in the node


class State:
    """The tables. Those of what only readers keep alive are weak."""

    def __init__(self, session: str, machine: Machine) -> None:
        self.session = session
        self.lock = self.changed = Condition()
        self.cells: WeakValueDictionary[bytes, Cell] = WeakValueDictionary()
        self.cursors: WeakValueDictionary[bytes, Cursor] = WeakValueDictionary()
        self.actors: WeakValueDictionary[bytes, LocalActor] = WeakValueDictionary()
        self.names: WeakValueDictionary[tuple[str, str], LocalActor] = WeakValueDictionary()
        self.detached: set[LocalActor] = set()
        self.handles: WeakSet[Any] = WeakSet()
        self.tasks: WeakValueDictionary[bytes, Producer | AsyncCall] = WeakValueDictionary()
        self.places: WeakValueDictionary[int, Cursor] = WeakValueDictionary()
        self.kept: list[object] = []
        self.running_loop: Loop | None = None
        self._tasks = itertools.count(1)
        self.requests = itertools.count(1)
        self.watches: dict[int, tuple[list[Callable[[], None]], Callable[[], None]]] = {}
        self.functions: WeakValueDictionary[bytes, Exported] = WeakValueDictionary()
        self.lately_exported: deque[Exported] = deque(maxlen=256)
        self.groups_made: dict[str, tuple[str, str, list[Amounts]]] = {}
        self.removed: dict[str, None] = {}  # the oldest first
        self.problems: deque[tuple[str, str, int | None, Packed, float]] = deque(
            maxlen=_MOST_PROBLEMS
        )
        self.machine = machine
        self.is_open = True

    # ── what there is ─────────────────────────────────────────────────────────────────────────

    @property
    def is_driver(self) -> bool:
        """Whether the calling code is of no task."""
        return current.get() is None

    @property
    def client_id(self) -> int:
        """There is one client."""
        return 0

    def check(self, handle: object = None) -> None:
        """Raises RaySystemError after `close`, when a handle is of an earlier session."""
        if not self.is_open:
            if handle is not None:
                raise stale(repr(handle))
            msg = "Ray has not been started yet. You can start Ray with 'ray.init()'."
            raise RaySystemError(msg)

    def next_task(self, *, is_call: bool) -> bytes:
        """A fresh id, 24 bytes: session, nothing, counter, job."""
        counter = next(self._tasks) | (CALL if is_call else 0)
        return bytes.fromhex(self.session) + bytes(4) + counter.to_bytes(8, "big") + _JOB

    def cell(self, task: bytes, index: int) -> Cell:
        """A new object: index 0 is the task as a whole, i + 1 its i-th return or yield."""
        key = task + index.to_bytes(4, "little")
        cell = self.cells[key] = Cell(key)
        return cell

    def ref(self, cell: Cell) -> ObjectRef[Any]:
        """One more ref of an object."""
        handle = Handle(self, cell)
        self.handles.add(handle)
        return _native.ref_of(cell.key, handle)

    def cell_of(self, ref: ObjectRef[Any]) -> Cell:
        """The object of a ref.

        Raises:
            ObjectLostError: the ref names nothing.
            RaySystemError: it is of another session.
        """
        kept = ref.kept
        if isinstance(kept, Handle) and kept.client is self:
            return kept.cell
        if kept is None and (ref.is_nil() or ref.binary().startswith(bytes(8))):
            raise ObjectLostError(ref.hex())
        raise stale(repr(ref))

    def whole(self, task: bytes, cursor: Cursor | None) -> Cell:
        """The object of a generator task as a whole."""
        with self.lock:
            cell = self.cells.get(task + bytes(4))
            if cell is None:
                cell = self.cell(task, 0)
                if cursor is None or cursor.channel.outcome is None:
                    cell.maker = cursor.maker if cursor is not None else None
                else:
                    self.settle(cell, cursor.channel.outcome)
        return cell

    def keep(self, held: object) -> None:
        """A handle is pickled: the value keeps what it names.

        If skate does not know who will unpickle it, the session does.
        """
        if not codec.note(held):
            self.kept.append(held)

    def place_of(self, cursor: Cursor) -> int:
        """A name for a place in a channel."""
        self.places[id(cursor)] = cursor
        return id(cursor)

    # ── waiting ───────────────────────────────────────────────────────────────────────────────

    def settle(self, cell: Cell, outcome: Packed | Failure | Any) -> None:
        """Gives a cell its value or error."""
        with self.lock:
            if isinstance(outcome, Failure | Inherited):
                cell.failure = outcome
            else:
                cell.packed = outcome
            cell.maker = None
            watchers, cell.watchers = cell.watchers, []
            for watcher in watchers:
                watcher()
            self.changed.notify_all()

    def wait_until(
        self, holds: Callable[[], bool], maker: Maker | None, timeout_s: float | None
    ) -> bool:
        """Drives the maker, or sleeps, until the condition holds: whether it does."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = None if deadline is None else max(deadline - time.monotonic(), 0)
            with self.lock:
                if holds():
                    return True
                if maker is None:
                    self._check_loop()
                    if not self.changed.wait(left_s) and left_s is not None:
                        return holds()
                    self.check()
                    continue
            if not maker.advance(left_s):
                return holds()
            self.check()

    def _check_loop(self) -> None:
        """Nothing on the loop goes on while its thread waits."""
        if self.running_loop is not None and self.running_loop.is_here:
            msg = (
                "in local mode all async actors share one thread, and this call would stop it for "
                "ever: use `await` instead of a call that waits"
            )
            raise RaySystemError(msg)

    def wait_for(self, cells: Sequence[Cell], timeout_s: float | None = None) -> bool:
        """Until all are ready, or one is and has an error."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for cell in cells:
            left_s = None if deadline is None else max(deadline - time.monotonic(), 0)
            if not self.wait_until(functools.partial(_is_settled, cell, cells), cell.maker, left_s):
                return False
        return True

    async def cell_ready(self, cell: Cell) -> None:
        """The same in an event loop."""
        from asyncio import Event, get_running_loop

        if cell.maker is not None:
            self.wait_for([cell])
        there = Event()
        watcher = functools.partial(_wake, get_running_loop(), there)
        with self.lock:
            if cell.is_ready:
                return
            cell.watchers.append(watcher)
        try:
            await there.wait()
        except BaseException:
            with self.lock:
                if watcher in cell.watchers:
                    cell.watchers.remove(watcher)
            raise

    def loop(self) -> Loop:
        """The thread of async actors."""
        with self.lock:
            if self.running_loop is None:
                self.running_loop = Loop()
            return self.running_loop

    # ── tasks, actors, errors ─────────────────────────────────────────────────────────────────

    def note_consumed(self, task: bytes, count: int) -> None:
        """The running task took items of a stream that was passed to it."""
        run = current.get()
        if run is not None:
            run.consumed[task] = run.consumed.get(task, 0) + count

    def close_stream(self, cursor: Cursor) -> None:
        """By a holder, for all of them."""
        channel = cursor.channel
        with self.lock:
            channel.is_closed = True
            cursor.skip()
            channel.go_on()
            is_over = channel.has_ended
            self.changed.notify_all()
        if not is_over and isinstance(cursor.maker, Producer):
            cursor.maker.close()

    def is_removed(self, template: Template) -> bool:
        """Whether it asks for resources of a placement group that was removed."""
        passes = (name for name, _ in template.resources if name.startswith(ENTRY))
        keys = [name.removeprefix(ENTRY) for name in passes]
        return any(key in self.removed or key not in self.groups_made for key in keys)

    def named(self, name: tuple[str, str]) -> LocalActor | None:
        """The living actor of that namespace and name."""
        actor = self.names.get(name)
        return actor if actor is not None and actor.is_alive else None

    def forget_actor(self, actor: LocalActor) -> None:
        """It is dead."""
        self.detached.discard(actor)

    def pack_error(self, error: BaseException) -> Packed:
        """An error that can be raised anew each time."""
        return codec.pack(error)

    def report(self, task: str, name: str, returns: int | None, error: BaseException) -> None:
        """An error that nobody can fetch."""
        if not self.is_open:
            return
        from skate._display import UNHANDLED, Display

        now = time.time()
        self.problems.append((task, name, returns, codec.pack(error), now))
        display = Display()
        display.show(UNHANDLED, (task, name, returns, error, now))
        display.flush()


def _is_settled(cell: Cell, cells: Sequence[Cell]) -> bool:
    return cell.is_ready or any(each.failure for each in cells)


def _wake(loop: asyncio.AbstractEventLoop, there: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(there.set)


def living(table: WeakValueDictionary[Any, _T]) -> list[_T]:
    """What is in a weak table now.

    Not by iterating it: other threads add to it meanwhile, and so do finalizers in this one.
    """
    return [each for reference in table.valuerefs() if (each := reference()) is not None]


def stale(what: str) -> RaySystemError:
    """For what was made before this session."""
    return RaySystemError(
        f"{what} belongs to an earlier session: it was made before the last shutdown"
    )
