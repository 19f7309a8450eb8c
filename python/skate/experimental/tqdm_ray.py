"""Progress bars of tasks and actors, drawn by the driver.

    tqdm_ray.tqdm ─ update ─▶ at most ten lines a second ─ stderr of the worker ─▶ the driver prints

Invariant: a bar costs its task a clock read for each update and a line now and then; the lines go
the way of all output, so no bar can block anybody.
"""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Self

_PERIOD_S = 0.1


class tqdm:  # noqa: N801 - its name everywhere
    """A progress bar with the interface of `tqdm.tqdm` that Ray's has.

    Attributes:
        n: How far it is.
        total: Where it ends; None if nobody knows.
        desc: What stands before it.
        unit: Of `n`.
        position: Accepted; lines have none.
    """

    def __init__(  # noqa: PLR0917 - Ray's signature
        self,
        iterable: Iterable[Any] | None = None,
        desc: str | None = None,
        total: int | None = None,
        unit: str | None = None,
        position: int | None = None,
        flush_interval_s: float | None = None,
        **_others: Any,
    ) -> None:
        self._iterable = iterable
        if total is None:
            length = getattr(type(iterable), "__len__", None)
            total = None if length is None else length(iterable)
        self.desc = desc or ""
        self.total = total
        self.unit = unit or "it"
        self.position = position
        self.n = 0
        self._period_s = _PERIOD_S if flush_interval_s is None else flush_interval_s
        self._shown_at = float("-inf")
        self._is_closed = False
        self._shown: str | None = None

    def update(self, n: int = 1) -> None:
        """Goes on by `n`."""
        self.n += n
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
        head = f"{self.desc}: " if self.desc else ""
        if self.total:
            return f"{head}{100 * self.n // self.total:3d} % {self.n}/{self.total} {self.unit}"
        return f"{head}{self.n} {self.unit}"

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


def safe_print(*args: Any, **kwargs: Any) -> None:
    """Prints. Bars are lines, so nothing can get between them."""
    print(*args, **kwargs)  # noqa: T201 - its name says so


def trange(*args: int, **kwargs: Any) -> tqdm:
    """A bar over `range(...)`."""
    return tqdm(range(*args), **kwargs)
