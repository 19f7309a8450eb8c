"""What people see of a session: lines of workers, lost errors, tasks that cannot start.

Invariant: it writes to whatever `sys.stdout` and `sys.stderr` are now, and never raises: a closed
stream loses the line, not the session.
"""

from __future__ import annotations

import contextlib
import sys

from skate import _settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LINE, UNHANDLED, INFEASIBLE, CANNOT_SPILL = 0, 1, 2, 3
"""Kinds of notices, as `Client.notices` numbers them."""

_BATCH = 256  # lines written at once


class Display:
    """Shows notices. Used by the helper thread only."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._is_stderr = False
        self._warned: set[tuple[str, tuple[str, ...]]] = set()

    def show(self, kind: int, what: Any) -> None:
        """Shows one notice, at the latest with the next `flush`."""
        if kind == LINE:
            is_stderr, pid, label, text = what
            self._add(f"({label or 'worker'} pid={pid}) {text}\n", is_stderr=is_stderr)
        elif kind == UNHANDLED:
            self._unhandled(*what)
        elif kind == INFEASIBLE:
            self._infeasible(*what)
        elif kind == CANNOT_SPILL:
            self._cannot_spill(*what)

    def flush(self) -> None:
        """Writes what has gathered."""
        if self._lines:
            stream = sys.stderr if self._is_stderr else sys.stdout
            text = "".join(self._lines)
            self._lines.clear()
            # A stream may be None, closed, a pipe whose reader has gone, or any object.
            with contextlib.suppress(Exception):
                try:
                    stream.write(text)
                except UnicodeEncodeError:
                    encoding = getattr(stream, "encoding", None) or "ascii"
                    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
                stream.flush()

    def _add(self, text: str, *, is_stderr: bool) -> None:
        if is_stderr is not self._is_stderr or len(self._lines) >= _BATCH:
            self.flush()
            self._is_stderr = is_stderr
        self._lines.append(text)

    def _unhandled(
        self, _task_id: str, task_name: str, returns: int | None, error: object, _time: float
    ) -> None:
        if _settings.value("ignore_unhandled_errors"):
            return
        suppress = "(suppress with 'RAY_IGNORE_UNHANDLED_ERRORS=1')"
        if returns is None:
            heading = f"Unhandled error {suppress}: task {task_name}, whose error nobody fetched"
        else:
            heading = (
                f"Unhandled error: Task threw exception, but all {returns} return values already "
                f"created. Task: {task_name}. {suppress}"
            )
        self._add(f"{heading}\n{error}\n", is_stderr=True)

    def _cannot_spill(self, why: str) -> None:
        self._add(
            f"Warning: the object store is full, and values that are not in use cannot be spilled: "
            f"{why}. Name a directory by init(object_spilling_directory=...) or SKATE_SPILL_DIR.\n",
            is_stderr=True,
        )

    def _infeasible(self, task_name: str, missing: list[tuple[str, float, float]]) -> None:
        key = task_name, tuple(name for name, _, _ in missing)
        if key in self._warned:
            return
        self._warned.add(key)
        lacks = ", ".join(
            f"{name} {asked:g} (there is {there:g})" for name, asked, there in missing
        )
        self._add(
            f"Warning: task {task_name} stays pending: it asks for more than this machine will "
            f"ever "
            f"have: {lacks}. Cancel it, ask for less, or give init() more.\n",
            is_stderr=True,
        )
