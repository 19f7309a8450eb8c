"""Lines that several workers write alike: the first is shown, then their number.

    admit ─ new, or of the worker that wrote it first ─▶ shown
      └─ another worker, within 5 s ─▶ counted ─ due ─▶ one line: "... [repeated 3x across cluster]"
                                                        (a single one is shown as it was)

Invariant: nothing that may be part of an error is held back: neither words of trouble nor indented
or empty lines. What is counted is told at the latest 5 s after the first, or at the end.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WINDOW_S = 5.0
_MOST = 1000
_TROUBLE = ("error", "exception", "traceback", "fatal", "critical", "fail", "warn", "kill", "abort")

Line = tuple[bool, int, str, str, int]
"""Whether it is of stderr, pid, label, text, cell of a notebook."""


def _is_trouble(text: str) -> bool:
    return any(word in text for word in _TROUBLE)


class _Seen:
    """One text."""

    __slots__ = ("count", "ends", "last", "pid")

    def __init__(self, pid: int, ends: float) -> None:
        self.pid = pid
        self.ends = ends
        self.count = 0
        self.last: Line | None = None


class Repeats:
    """Which lines are shown."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[tuple[bool, str, int], _Seen] = {}
        self._counted = 0

    def admit(self, line: Line) -> bool:
        """Whether a line is to be shown now."""
        is_stderr, pid, _, text, cell = line
        if not text or text[0].isspace() or _is_trouble(text.lower()):
            return True
        now = self._clock()
        seen = self._seen.get((is_stderr, text, cell))
        if seen is None or (seen.ends <= now and not seen.count):
            if len(self._seen) < _MOST:  # else it is shown, and not remembered
                self._seen[is_stderr, text, cell] = _Seen(pid, now + _WINDOW_S)
            return True
        if seen.pid == pid:
            return True
        self._counted += not seen.count
        seen.count += 1
        seen.last = line
        return False

    def patience_s(self) -> float | None:
        """How long until something must be told; None if nothing is counted."""
        if not self._counted:
            return None
        ends = min(each.ends for each in self._seen.values() if each.count)
        return max(ends - self._clock(), 0.0)

    def due(self, *, is_end: bool = False) -> Iterator[tuple[Line, int]]:
        """The last of the repeated lines, and how many there were, whose time has come."""
        now = self._clock()
        for key, each in list(self._seen.items()):
            if is_end or each.ends <= now:
                del self._seen[key]
                if each.last is not None:
                    self._counted -= 1
                    yield each.last, each.count
