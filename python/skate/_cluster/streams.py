"""Generators: skate's classes, around Ray's.

Invariant: whoever reads holds `_lock` only while Ray is asked, in short steps, so that several
threads may read one stream and a `next` that ends by its timeout has taken nothing.
"""

from __future__ import annotations

import threading
import time

from skate._cluster.errors import translated
from skate._cluster.notes import refused
from skate._cluster.refs import ref_of
from skate._generator import DynamicObjectRefGenerator, ObjectRefGenerator
from skate.exceptions import GetTimeoutError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Self

    from skate._native import ObjectRef

_STEP_S = 0.1
_NO_PICKLE = (
    "You cannot return or pass a generator to other task. Serializing a ObjectRefGenerator is not "
    "allowed. (skate passes streams on its own engine; on a Ray cluster pass its items, or use "
    "num_returns='dynamic'.)"
)


def _late() -> GetTimeoutError:
    return GetTimeoutError("Get timed out: some object(s) not ready.")


class Streaming(ObjectRefGenerator["Any"]):
    """A stream.

    Attributes:
        theirs: Ray's generator.
    """

    theirs: Any

    def __new__(cls, theirs: Any) -> Self:
        self = object.__new__(cls)
        self.theirs = theirs
        self._lock = threading.Lock()
        self._position = 0
        return self

    _lock: threading.Lock
    _position: int

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ObjectRef[Any]:
        return self.next_within(None)

    def next_within(self, timeout_s: float | None, /) -> ObjectRef[Any]:
        if timeout_s is not None and not timeout_s >= 0:
            msg = f"ObjectRefGenerator.next: timeout is {timeout_s}, but must be at least 0"
            raise ValueError(msg)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = _STEP_S if deadline is None else max(deadline - time.monotonic(), 0)
            with self._lock, translated():
                # Ray's own `next` takes no other argument than seconds; nil means not in time.
                found = self.theirs._next_sync(min(left_s, _STEP_S))  # noqa: SLF001 - its name
                if not found.is_nil():
                    self._position += 1
                    return ref_of(found)
            if deadline is not None and time.monotonic() >= deadline:
                raise _late()

    def batch_within(self, most: int, timeout_s: float | None, /) -> list[ObjectRef[Any]]:
        taken = [self.next_within(timeout_s)]
        while len(taken) < most and self.is_ready():
            try:
                taken.append(self.next_within(0))
            except (GetTimeoutError, StopIteration):  # another reader was faster
                break
        return taken

    def shut(self) -> None:
        raise refused("ObjectRefGenerator.close", "use skate.cancel(generator)")

    def is_ready(self) -> bool:
        with self._lock, translated():
            return bool(self.theirs.next_ready())

    def is_finished(self) -> bool:
        with self._lock, translated():
            return bool(self.theirs.is_finished())

    def whole(self) -> ObjectRef[Any]:
        return ref_of(self.theirs.completed())

    def size(self) -> int:
        raise refused("the length of a stream", "count its items")

    @property
    def position(self) -> int:
        return self._position

    def task_id(self) -> str:
        return str(self.theirs.completed().task_id().hex())

    def __reduce__(self) -> NoReturn:
        raise TypeError(_NO_PICKLE)


class Dynamic(DynamicObjectRefGenerator["Any"]):
    """The items of a task with `num_returns="dynamic"`, all of which are there."""

    _refs: list[Any]
    _position: int

    def __new__(cls, refs: list[Any], position: int = 0) -> Self:
        self = object.__new__(cls)
        self._refs = refs
        self._position = position
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ObjectRef[Any]:
        if self._position >= len(self._refs):
            raise StopIteration
        ref = self._refs[self._position]
        self._refs[self._position] = None
        self._position += 1
        return ref_of(ref)

    def next_within(self, _timeout_s: float | None, /) -> ObjectRef[Any]:
        return next(self)

    def batch_within(self, most: int, _timeout_s: float | None, /) -> list[ObjectRef[Any]]:
        taken = [next(self)]
        while len(taken) < most and self.is_ready():
            taken.append(next(self))
        return taken

    def shut(self) -> None:
        self._refs, self._position = [], 0

    def is_ready(self) -> bool:
        return self._position < len(self._refs)

    def is_finished(self) -> bool:
        return not self.is_ready()

    def whole(self) -> NoReturn:
        raise refused("completed() of a dynamic generator", "the ref of the task is that")

    def size(self) -> int:
        return len(self._refs) - self._position

    @property
    def position(self) -> int:
        return self._position

    def task_id(self) -> str:
        return ""

    def __reduce__(self) -> tuple[Any, ...]:
        return Dynamic, (self._refs[self._position :],)


# People see what it is, not which engine made it.
Streaming.__name__ = Streaming.__qualname__ = "ObjectRefGenerator"
Dynamic.__name__ = Dynamic.__qualname__ = "DynamicObjectRefGenerator"


def arrived(value: Any) -> Any:
    """A value that came from Ray: its dynamic generators are skate's."""
    if type(value).__name__ == "DynamicObjectRefGenerator" and not isinstance(value, Dynamic):
        return Dynamic(list(value._refs))  # noqa: SLF001 - Ray's `iter` would pop them
    return value
