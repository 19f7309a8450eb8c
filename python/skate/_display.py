"""What people see of a session: lines of workers, lost errors, tasks that cannot start.

    line of a worker ─ record? ─▶ the driver's loggers      bar? ─▶ _bars.py
                     └─ repeated? ─ counted ─▶ told later     else ─▶ "(name pid=…) " line

Invariant: it writes to whatever `sys.stdout` and `sys.stderr` are now, and no error of theirs goes
further: a closed stream loses the line, not the session; one that is full, and set not to block, is
waited for. A bar of tqdm stays below the lines, and in a notebook lines go to the cell that
submitted their task, whatever runs meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from io import RawIOBase

from skate import _notebook, _settings
from skate._bars import MARK as BAR
from skate._bars import Bars
from skate._cells import LAST
from skate._cells import MARK as TASK
from skate._records import MARK, handle
from skate._repeats import Repeats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from select import poll
    from typing import Any

LINE, UNHANDLED, INFEASIBLE, CANNOT_SPILL = 0, 1, 2, 3
"""Kinds of notices, as `Client.notices` numbers them."""

_BATCH = 256  # lines written at once
_PIECE = 512  # characters: a buffer takes so many
_PATIENCE_S = 5.0  # for a reader
_COLOURS = (36, 35, 34, 33, 32, 96, 95, 94)  # of ANSI terminals; red is for errors


def _prefix(pid: int, label: str, stream: Any) -> str:
    """`(name pid=…) `, in the worker's colour if a terminal shows it."""
    prefix = f"({label or 'worker'} pid={pid})"
    if _has_colours(stream):
        prefix = f"\x1b[{_COLOURS[pid % len(_COLOURS)]}m{prefix}\x1b[0m"
    return f"{prefix} "


def _labelled(pid: int, label: str, text: str, *, is_stderr: bool) -> str:
    stream = sys.stderr if is_stderr else sys.stdout
    return f"{_prefix(pid, label, stream)}{text}\n"


def _has_colours(stream: Any) -> bool:
    if "NO_COLOR" in os.environ or not _settings.value("color_prefix"):
        return False
    try:
        return bool(stream.isatty())
    except Exception:
        return False


def _write(stream: Any, text: str) -> None:
    """Writes and flushes all of it."""
    raw = getattr(stream, "buffer", None)
    if isinstance(raw, RawIOBase):
        _write_unbuffered(stream, raw, text)
        return
    try:
        is_blocking = os.get_blocking(stream.fileno())
    except Exception:  # it is no file
        is_blocking = True
    if is_blocking:
        _put(stream, text)
        stream.flush()
        return
    # As a terminal or a pipe may be that is shared with another program, or used by asyncio. What
    # a stream has no room for it keeps in its buffer; what that has no room for would be lost.
    from select import POLLOUT, poll

    room = poll()
    room.register(stream.fileno(), POLLOUT)
    _flush(stream, room)
    for at in range(0, len(text), _PIECE):
        with contextlib.suppress(BlockingIOError):  # of a stream that flushes by itself
            _put(stream, text[at : at + _PIECE])
        _flush(stream, room)


def _write_unbuffered(stream: Any, raw: RawIOBase, text: str) -> None:
    """As `python -u` has it: of text that one write takes in part the rest would be lost."""
    from select import POLLOUT, poll

    stream.flush()
    try:
        data = text.encode(stream.encoding, stream.errors)
    except UnicodeEncodeError:
        data = text.encode(stream.encoding, "backslashreplace")
    room = poll()
    while data:
        count = raw.write(data)  # not all if a signal comes meanwhile, or it does not block
        if count is not None:
            data = data[count:]
            continue
        room.register(stream.fileno(), POLLOUT)
        if not room.poll(_PATIENCE_S * 1000):
            raise BlockingIOError


def _put(stream: Any, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = getattr(stream, "encoding", None) or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _flush(stream: Any, room: poll) -> None:
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            stream.flush()
        except BlockingIOError:
            left_s = until - time.monotonic()
            if left_s <= 0 or not room.poll(left_s * 1000):
                raise
        else:
            return


def _above_bars(stream: Any) -> contextlib.AbstractContextManager[Any]:
    """Takes bars of tqdm away while lines are written, if there are any."""
    tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
    if tqdm is None or not getattr(tqdm, "_instances", None):
        return contextlib.nullcontext()
    shown: contextlib.AbstractContextManager[Any] = tqdm.external_write_mode(file=stream)
    return shown


def _cell_of(task_id: str) -> int:
    """The cell of a notebook that a task belongs to."""
    cells = _notebook.cells
    if cells is None or not task_id:
        return LAST
    with contextlib.suppress(Exception):  # of a session that has just ended
        return cells.cell_of(task_id)
    return LAST


class Display:
    """Shows notices. Used by one thread only."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._is_stderr = False
        self._cell = LAST
        self._bars = Bars()
        self._warned: set[tuple[str, tuple[str, ...]]] = set()
        self._repeats = Repeats() if _settings.value("dedup_logs") else None

    def show(self, kind: int, what: Any) -> None:
        """Shows one notice, at the latest with the next `flush`."""
        if kind == LINE:
            self._line(*what)
        elif kind == UNHANDLED:
            self._unhandled(*what)
        elif kind == INFEASIBLE:
            self._infeasible(*what)
        elif kind == CANNOT_SPILL:
            self._cannot_spill(*what)

    def patience_s(self) -> float | None:
        """How long until `tell_repeats` has something to say; None if it has not."""
        return None if self._repeats is None else self._repeats.patience_s()

    def tell_repeats(self, *, is_end: bool = False) -> None:
        """Shows how often lines were repeated, whose time has come; at the end all."""
        if self._repeats is not None:
            for (is_stderr, pid, label, text, cell), count in self._repeats.due(is_end=is_end):
                more = text if count == 1 else f"{text} [repeated {count}x across cluster]"
                self._add(_labelled(pid, label, more, is_stderr=is_stderr), cell, is_stderr)

    def flush(self) -> None:
        """Writes what has gathered."""
        if self._lines:
            stream = sys.stderr if self._is_stderr else sys.stdout
            text = "".join(self._lines)
            self._lines.clear()
            # A stream may be None, closed, a pipe whose reader has gone, or any object.
            with contextlib.suppress(Exception), _above_bars(stream):
                _notebook.into_cell(stream, self._cell)
                _write(stream, text)

    def close(self) -> None:
        """Nothing comes any more."""
        self.tell_repeats(is_end=True)
        self.flush()
        with contextlib.suppress(Exception):
            self._bars.close()

    def _line(self, is_stderr: bool, pid: int, label: str, text: str) -> None:
        label, _, task_id = label.partition(TASK)
        cell = _cell_of(task_id)
        if text.startswith(MARK):
            self.flush()  # what was written before comes before
            shown = None
            with contextlib.suppress(Exception):  # a handler of the user's
                for stream in (sys.stdout, sys.stderr):
                    _notebook.into_cell(stream, cell)
                shown = handle(text, pid, label)
            if shown is None:
                return
            for each in shown.splitlines():
                self._add(_labelled(pid, label, each, is_stderr=True), cell, is_stderr=True)
            return
        if text.startswith(BAR):
            self.flush()
            shown = text
            with contextlib.suppress(Exception):  # a terminal that has gone
                shown = self._bars.show(text, pid, _prefix(pid, label, sys.stderr))
            if shown is not None:
                self._add(_labelled(pid, label, shown, is_stderr=True), cell)
            return
        if is_stderr and text.startswith("\r"):  # a bar: of all its states the last
            text = text.rstrip("\r").rpartition("\r")[2]
        if self._repeats is None or self._repeats.admit((is_stderr, pid, label, text, cell)):
            self._add(_labelled(pid, label, text, is_stderr=is_stderr), cell, is_stderr)

    def _add(self, text: str, cell: int, is_stderr: bool = True) -> None:
        place = cell, is_stderr
        if place != (self._cell, self._is_stderr) or len(self._lines) >= _BATCH:
            self.flush()
            self._cell, self._is_stderr = place
        self._lines.append(text)

    def _unhandled(
        self, task_id: str, task_name: str, returns: int | None, error: object, _time: float
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
        self._add(f"{heading}\n{error}\n", _cell_of(task_id))

    def more_unhandled(self, count: int) -> None:
        """Says that there were so many more."""
        if count and not _settings.value("ignore_unhandled_errors"):
            self._add(f"Unhandled errors: {count} more that nobody fetched\n", LAST)

    def _cannot_spill(self, why: str) -> None:
        self._add(
            f"Warning: the object store is full, and values that are not in use cannot be spilled: "
            f"{why}. Name a directory by init(object_spilling_directory=...) or SKATE_SPILL_DIR.\n",
            LAST,
        )

    def _infeasible(self, task_name: str, missing: list[tuple[str, float, float]]) -> None:
        key = task_name, tuple(name for name, _, _ in missing)
        if key in self._warned:
            return
        self._warned.add(key)
        lacks = ", ".join(
            f"{name} {asked:g} (there is {there:g})" for name, asked, there in missing
        )
        is_group = task_name.startswith("placement group ")  # of any name, perhaps of none
        what = task_name.rstrip() if is_group else f"task {task_name}"
        way_out = "Remove" if is_group else "Cancel"
        self._add(
            f"Warning: {what} stays pending: it asks for more than this machine will ever have: "
            f"{lacks}. {way_out} it, ask for less, or give init() more.\n",
            LAST,
        )
