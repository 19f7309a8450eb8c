r"""Worker side of stdout and stderr: each line says of which task it is.

    print ─▶ TextIOWrapper ─ line ─▶ _Buffer ─▶ Labelled ─▶ pipe: "\x1e" label "\x1f" line "\n" ...

Invariant: the label in force at any byte of the pipe is that of the last marker before it. A
marker is written only when the task's name has changed, so what C code writes to the descriptor
goes under the label of the last task that used Python. The node takes the markers out and splits
the lines.
"""

from __future__ import annotations

import io
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

_has_unflushed = False
_IN_ONE_LINE = str.maketrans("\n\x1e\x1f", "   ")
"""For a label: that of an actor is its `repr`."""


class Labelled(io.RawIOBase):
    """A descriptor that a marker precedes when the label has changed.

    A cancel interrupts no `write` (see `_worker`): the buffer would write the same once more.
    """

    def __init__(self, descriptor: int, label: Callable[[], str]) -> None:
        self._descriptor = descriptor
        self._label = label
        self._last = ""

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        label = self._label()
        if label == self._last:
            return os.write(self._descriptor, data)
        text = bytes(data)
        marker = label.translate(_IN_ONE_LINE).encode(errors="backslashreplace")
        rest = memoryview(b"\x1e%b\x1f%b" % (marker, text))
        while rest:  # the marker must not be cut in two
            rest = rest[os.write(self._descriptor, rest) :]
        self._last = label
        return len(text)


class _Buffer(io.BufferedWriter):
    """Remembers that something was written."""

    def write(self, data: ReadableBuffer, /) -> int:
        global _has_unflushed  # noqa: PLW0603 - read after each task
        _has_unflushed = True
        return super().write(data)


def install(label: Callable[[], str]) -> None:
    """Replaces `sys.stdout` and `sys.stderr`.

    Args:
        label: Name of the task that runs now, or "".
    """
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = io.TextIOWrapper(
            _Buffer(Labelled(descriptor, label)),
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=True,
            write_through=True,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def before_result() -> None:
    """Flushes what was written since the last call. Called after each task."""
    global _has_unflushed  # noqa: PLW0603 - see _Buffer
    if _has_unflushed:
        _has_unflushed = False
        flush()


def flush() -> None:
    """Flushes both streams, whatever user code has put in their place."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: S112 - a user's stream may be closed or hostile
            continue
