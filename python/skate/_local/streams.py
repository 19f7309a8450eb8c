"""The items of a generator, and those who read them.

    Channel.tail ─▶ (empty) ◀─ … ◀─ Slot ◀─ Slot      each slot points to the next one
                                     ▲        ▲
                                   Cursor   Cursor    where somebody reads next

    streaming   one Cursor, which all generators of the stream share
    dynamic     one Cursor in each generator

Invariant: slots point forward only, so an item that all cursors have passed is gone. Cursors hold
the task that fills the channel; the task does not hold them.
"""

from __future__ import annotations

from typing import ClassVar

from skate._generator import DynamicObjectRefGenerator, ObjectRefGenerator
from skate._local import codec
from skate.exceptions import GetTimeoutError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from skate._local.codec import Packed
    from skate._local.objects import Cell, Failure, Inherited, Maker
    from skate._local.state import State
    from skate._native import ObjectRef


class Slot:
    """Where one item is, or will be."""

    __slots__ = ("cell", "next")

    def __init__(self) -> None:
        self.cell: Cell | None = None
        self.next: Slot | None = None


class Channel:
    """What a generator task and its readers share.

    Attributes:
        task: Id of the task, 24 bytes.
        published: Items there have been, the error included.
        passed, passed_bytes: Items that the shared cursor has passed, and their size.
        stored_bytes: Size of all items.
        has_ended: No more will come.
        is_closed: By a holder.
        outcome: What the task as a whole has given.
        watchers: Called once, when an item or the end is there.
        pauses: Called once, when an item is taken or nobody reads any more.
    """

    __slots__ = ("__weakref__", "has_ended", "is_closed", "outcome", "passed", "passed_bytes",
                 "pauses", "published", "stored_bytes", "tail", "task", "watchers")  # fmt: skip

    def __init__(self, task: bytes) -> None:
        self.task = task
        self.tail = Slot()
        self.published = 0
        self.passed = self.passed_bytes = self.stored_bytes = 0
        self.has_ended = self.is_closed = False
        self.outcome: Packed | Failure | Inherited | None = None
        self.watchers: list[Callable[[], None]] = []
        self.pauses: list[Callable[[], None]] = []

    def append(self, cell: Cell) -> None:
        """Publishes an item."""
        slot = self.tail
        slot.cell, slot.next = cell, Slot()
        self.tail = slot.next
        self.published += 1
        self.stored_bytes += cell.packed.size_bytes if cell.packed else 0
        self.tell()

    def tell(self) -> None:
        """Wakes those who wait for an item."""
        watchers, self.watchers = self.watchers, []
        for watcher in watchers:
            watcher()

    def go_on(self, _gone: object = None) -> None:
        """Wakes a producer that waits for its reader."""
        pauses, self.pauses = self.pauses, []
        for pause in pauses:
            pause()


class Cursor:
    """A place in a channel."""

    __slots__ = ("__weakref__", "at", "channel", "is_shared", "maker", "position")

    def __init__(
        self, channel: Channel, at: Slot, position: int, maker: Maker | None, *, is_shared: bool
    ) -> None:
        self.channel = channel
        self.at = at
        self.position = position
        self.maker = maker
        self.is_shared = is_shared

    @property
    def has_item(self) -> bool:
        """Whether there is something to take."""
        return self.at.next is not None

    @property
    def is_over(self) -> bool:
        """Whether there never will be."""
        return self.channel.has_ended and not self.has_item

    def take(self) -> Cell:
        """The next item, which must be there."""
        slot, cell = self.at.next, self.at.cell
        assert slot is not None  # noqa: S101 - who takes has looked
        assert cell is not None  # noqa: S101 - the same
        self.at = slot
        self.position += 1
        if self.is_shared:
            self.channel.passed += 1
            self.channel.passed_bytes += cell.packed.size_bytes if cell.packed else 0
            self.channel.go_on()
        return cell

    def skip(self) -> None:
        """Passes everything."""
        while self.has_item:
            self.take()

    def copy(self) -> Cursor:
        """Another one at the same place."""
        return Cursor(self.channel, self.at, self.position, self.maker, is_shared=False)


class _Reader:
    """The part that both kinds of generators have: see `_native.Stream`."""

    _is_streaming: ClassVar[bool]
    client: State
    cursor: Cursor | None
    _task: bytes
    _place: int
    _is_passed_on: bool

    def __new__(cls, client: State, cursor: Cursor, *, is_passed_on: bool = False) -> Self:
        self = object.__new__(cls)
        self.client = client
        self.cursor = cursor
        self._task = cursor.channel.task
        self._place = 0 if cursor.is_shared else cursor.position
        self._is_passed_on = is_passed_on
        client.handles.add(self)
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ObjectRef[Any]:
        return self._take(1, None, "next")[0]

    def next_within(self, timeout_s: float | None, /) -> ObjectRef[Any]:
        return self._take(1, timeout_s, "next")[0]

    def batch_within(self, most: int, timeout_s: float | None, /) -> list[ObjectRef[Any]]:
        return self._take(most, timeout_s, "next_batch")

    def _take(self, most: int, timeout_s: float | None, method: str) -> list[ObjectRef[Any]]:
        if timeout_s is not None and not timeout_s >= 0:
            msg = (
                f"ObjectRefGenerator.{method}: timeout is {timeout_s}, but must be at least 0 (or "
                "None to wait for ever)"
            )
            raise ValueError(msg)
        cursor = self.cursor
        self.client.check(self)
        if cursor is None:
            raise StopIteration
        if not self.client.wait_until(
            lambda: cursor.has_item or cursor.is_over, cursor.maker, timeout_s
        ):
            msg = "Get timed out: some object(s) not ready."
            raise GetTimeoutError(msg)
        with self.client.lock:
            taken: list[ObjectRef[Any]] = []
            while cursor.has_item and len(taken) < most:
                taken.append(self.client.ref(cursor.take()))
        if not taken:  # it is over, unless another thread was faster
            if not cursor.is_over:
                return self._take(most, timeout_s, method)
            raise StopIteration(self._returned(cursor))
        self._place += len(taken)
        if self._is_passed_on:
            self.client.note_consumed(cursor.channel.task, len(taken))
        return taken

    def _returned(self, cursor: Cursor) -> Any:
        outcome = cursor.channel.outcome
        if not cursor.is_shared or not isinstance(outcome, codec.Packed):
            return None
        return outcome.unpack()

    def shut(self) -> None:
        self.client.check(self)
        cursor = self.cursor
        if cursor is None:
            return
        if cursor.is_shared:
            self.client.close_stream(cursor)
        else:
            self.cursor = None

    def is_ready(self) -> bool:
        self.client.check(self)
        cursor = self.cursor
        if cursor is None:
            return False
        self.client.wait_until(lambda: cursor.has_item or cursor.is_over, cursor.maker, 0)
        return cursor.has_item

    def is_finished(self) -> bool:
        self.client.check(self)
        return self.cursor is None or self.cursor.is_over

    def whole(self) -> ObjectRef[Any]:
        self.client.check(self)
        return self.client.ref(self.client.whole(self._task, self.cursor))

    def size(self) -> int:
        self.client.check(self)
        cursor = self.cursor
        if cursor is None:
            return 0
        self.client.wait_until(lambda: cursor.channel.has_ended, cursor.maker, None)
        return cursor.channel.published - cursor.position

    @property
    def position(self) -> int:
        return self._place

    def task_id(self) -> str:
        return self._task.hex()

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Any, ...]]:
        from skate._local.restore import restore_dynamic, restore_streaming

        self.client.check(self)
        cursor = self.cursor
        if cursor is None or (cursor.is_shared and not codec.note(cursor)):
            msg = (
                "You cannot return or pass a generator to other task. Serializing a "
                "ObjectRefGenerator is not allowed."
            )
            raise TypeError(msg)
        if cursor.is_shared:
            return restore_streaming, (self._task,)
        copy = cursor.copy()
        self.client.keep(copy)
        return restore_dynamic, (self.client.place_of(copy),)


class Streaming(_Reader, ObjectRefGenerator["Any"]):
    """A handle on a stream."""


class Dynamic(_Reader, DynamicObjectRefGenerator["Any"]):
    """A generator with a cursor of its own."""


class PackedDynamic:
    """The value of a dynamic ref: the beginning of a channel."""

    __slots__ = ("_client", "_cursor", "size_bytes")

    def __init__(self, client: State, cursor: Cursor) -> None:
        self._client = client
        self._cursor = cursor
        self.size_bytes = 0

    def unpack(self) -> Dynamic:
        """A fresh generator that starts there."""
        return Dynamic(self._client, self._cursor.copy())


# People see what it is, not which engine made it.
Streaming.__name__ = Streaming.__qualname__ = "ObjectRefGenerator"
Dynamic.__name__ = Dynamic.__qualname__ = "DynamicObjectRefGenerator"
