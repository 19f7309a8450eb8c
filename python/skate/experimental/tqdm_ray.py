"""Progress bars of tasks and actors, drawn by the driver.

    tqdm_ray.tqdm ─ update ─▶ at most ten times a second ─ stderr ─▶ the driver: _bars.py

Invariant: a bar costs its task a clock read for each update and a line now and then; the lines go
the way of all output, so no bar can block anybody. Outside of workers a bar is such lines.
"""

from __future__ import annotations

import itertools
import sys
import time
from contextlib import suppress

from skate import _checks, _native, _session
from skate._bars import MARK, line_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Self

_PERIOD_S = 0.1
_numbers = itertools.count()


class tqdm:  # noqa: N801 - its name everywhere
    """A progress bar with the interface of `tqdm.tqdm` that Ray's has.

    Attributes:
        n: How far it is.
        total: Where it ends; None if nobody knows.
        desc: What stands before it.
        unit: Of `n`.
        position: Accepted; the driver finds a place for each.
    """

    def __init__(  # noqa: PLR0917 - Ray's signature
        self,
        iterable: Iterable[Any] | None = None,
        desc: str | None = None,
        total: float | None = None,
        unit: str | None = None,
        position: int | None = None,
        flush_interval_s: float | None = None,
        **_others: Any,
    ) -> None:
        self._iterable = iterable
        length = getattr(type(iterable), "__len__", None)
        if total is None and length is not None:
            # That of a wrapper raises, if what it wraps has none.
            with suppress(TypeError, AttributeError):
                total = length(iterable)
        self.desc = desc or ""
        self.total = total
        self.unit = unit or "it"
        self.position = position
        self.n: float = 0
        self._period_s = _PERIOD_S if flush_interval_s is None else flush_interval_s
        self._shown_at = float("-inf")
        self._is_closed = False
        self._number = next(_numbers)
        self._shown: str | None = None

    def update(self, n: float = 1) -> None:
        """Goes on by `n`.

        Raises:
            TypeError: it is no number.
        """
        self.n += _checks.number("tqdm: update", n)
        if time.monotonic() - self._shown_at >= self._period_s:
            self.refresh()

    def set_description(self, desc: str) -> None:
        """Puts other words before it."""
        self.desc = desc
        self.refresh()

    def refresh(self) -> None:
        """Shows it now."""
        self._shown_at = time.monotonic()
        line = self._line()
        if line != self._shown:
            self._shown = line
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - what it is for

    def _line(self) -> str:
        n = _checks.number("tqdm: n", self.n)
        total = None if self.total is None else _checks.number("tqdm: total", self.total)
        if not _is_drawn_by_driver():
            return line_of(self.desc, n, total, self.unit)
        import json

        state = {
            "bar": self._number, "desc": self.desc, "n": n, "total": total,
            "unit": self.unit, "closed": self._is_closed,
        }  # fmt: skip
        return f"{MARK}{json.dumps(state)}"

    def close(self) -> None:
        """Shows the last state, once."""
        if not self._is_closed:
            self._is_closed = True
            self.refresh()

    def __iter__(self) -> Iterator[Any]:
        if self._iterable is None:
            msg = "this bar was given nothing to iterate over"
            raise ValueError(msg)
        for item in self._iterable:
            yield item
            self.update()
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_drawn_by_driver() -> bool:
    """Whether what this process writes to stderr is read by skate's driver."""
    client = _session.client
    is_worker = isinstance(client, _native.Client) and not client.is_driver
    return is_worker and sys.stderr is sys.__stderr__


def safe_print(*args: Any, **kwargs: Any) -> None:
    """Prints. The driver writes lines above the bars."""
    print(*args, **kwargs)  # noqa: T201 - its name says so


def trange(*args: int, **kwargs: Any) -> tqdm:
    """A bar over `range(...)`."""
    return tqdm(range(*args), **kwargs)
