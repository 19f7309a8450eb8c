"""Values are copied as between processes: pickled when stored, unpickled when got.

    value ─ pack ─▶ Packed: pickle, buffers, what it contains ─ unpack ─▶ another value

Its arrays are read-only, as those of the store are.

Invariant: a handle that is pickled within `pack` is kept by the `Packed`, which is what keeps the
thing alive until somebody unpacks it.
"""

from __future__ import annotations

import threading

from skate import _serialization

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Packed:
    """A value as bytes.

    Attributes:
        data: Its pickle, or the bytes of a memoryview.
        buffers: Those that the pickle leaves out.
        holds: What it contains.
        is_view: Whether it is a memoryview.
    """

    __slots__ = ("buffers", "data", "holds", "is_view")

    def __init__(
        self, data: bytes, buffers: list[bytes], holds: list[object], *, is_view: bool = False
    ) -> None:
        self.data = data
        self.buffers = buffers
        self.holds = holds
        self.is_view = is_view

    @property
    def size_bytes(self) -> int:
        """Length of all of it."""
        return len(self.data) + sum(map(len, self.buffers))

    def unpack(self) -> Any:
        """A fresh copy of the value."""
        if self.is_view:
            return memoryview(self.data)
        return _serialization.loads(self.data, self.buffers)


class _Containing(threading.local):
    def __init__(self) -> None:
        self.stack: list[list[object]] = []


_containing = _Containing()


def pack(value: object) -> Packed:
    """Copies a value.

    Raises:
        TypeError: it cannot be pickled.
    """
    if type(value) is memoryview and value.contiguous and value.format == "B" and value.ndim == 1:
        return Packed(bytes(value), [], [], is_view=True)
    holds: list[object] = []
    _containing.stack.append(holds)
    try:
        data, buffers = _serialization.dumps(value)
    finally:
        _containing.stack.pop()
    return Packed(data, [bytes(buffer.raw()) for buffer in buffers], holds)


def pack_as(value: object, what: str) -> Packed:
    """The same; an error says what could not be pickled."""
    try:
        return pack(value)
    except TypeError as error:
        msg = f"Could not serialize {what}: {error}"
        raise TypeError(msg) from error.__cause__


def note(held: object) -> bool:
    """Called when a handle is pickled: whether a value takes it, and will keep it."""
    if not _containing.stack:
        return False
    _containing.stack[-1].append(held)
    return True
