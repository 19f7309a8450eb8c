r"""Bars that tasks draw by `tqdm_ray`, on the driver's terminal.

    worker: bar.update ─ at most ten a second ─▶ stderr: "\x1a" JSON "\n"
    driver: Display ─ `show` ─ a terminal, and tqdm is installed ─▶ a bar of tqdm for each
                             └─ otherwise ─▶ a line: the first state, one each 5 s, and the last

Invariant: a bar is never in the way of lines, which tqdm writes above it. What is not closed, such
as the bar of a worker that died, is closed with the session.
"""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MARK = "\x1a"
_PERIOD_S = 5.0


def line_of(desc: str, n: float, total: float | None, unit: str) -> str:
    """A bar as a line."""
    head = f"{desc}: " if desc else ""
    if total:
        return f"{head}{int(100 * n // total):3d} % {n}/{total} {unit}"
    return f"{head}{n} {unit}"


class Bars:
    """The bars of one session. Used by the helper thread only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._drawn: dict[tuple[int, int], Any] = {}
        self._told: dict[tuple[int, int], float] = {}

    def show(self, text: str, pid: int, prefix: str) -> str | None:
        """Shows what a worker says of a bar. Returns the line that is to be written, if any."""
        import json

        try:
            state = json.loads(text.removeprefix(MARK))
            number, n, total = state["bar"], state["n"], state["total"]
            desc, unit, is_closed = state["desc"], state["unit"], state["closed"]
            line = line_of(desc, n, total, unit)
        except (ValueError, KeyError, TypeError):
            return text
        key = pid, number
        bar = self._drawn.get(key)
        if bar is None and key not in self._told and (bar := _new(total, unit)) is not None:
            self._drawn[key] = bar
        if bar is None:
            return line if self._is_due(key, is_closed=is_closed) else None
        bar.n, bar.total = n, total
        if is_closed:  # its last state is a line like others: tqdm mixes up bars that stay
            last = _last(bar, desc, len(prefix))
            self._drawn.pop(key).close()
            sys.stderr.write("\r")
            return last
        bar.set_description_str(f"{prefix}{desc}", refresh=False)
        bar.refresh()
        return None

    def close(self) -> None:
        """Leaves all as they are."""
        for bar in self._drawn.values():
            bar.leave = True
            bar.close()
        self._drawn.clear()

    def _is_due(self, key: tuple[int, int], *, is_closed: bool) -> bool:
        now = self._clock()
        if is_closed:
            self._told.pop(key, None)
            return True
        if now - self._told.get(key, float("-inf")) < _PERIOD_S:
            return False
        self._told[key] = now
        return True


def _last(bar: Any, desc: str, size: int) -> str:
    """A bar in its last state, so much shorter than the terminal is wide."""
    state = bar.format_dict
    columns = (state["ncols"] or 80) - size
    line: str = bar.format_meter(**{**state, "prefix": f"{desc}: " * bool(desc), "ncols": columns})
    return line


def _new(total: float | None, unit: str) -> Any:
    """A bar of tqdm's on a terminal; None elsewhere, and where it is not installed."""
    try:
        if not sys.stderr.isatty():
            return None
        from tqdm import tqdm
    except Exception:  # a stream of the user's may be anything
        return None
    return tqdm(total=total, unit=unit, file=sys.stderr, leave=False)
