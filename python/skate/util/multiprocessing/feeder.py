"""What a `Pool` is fed with: chunks, and for `imap` whoever cuts them off an iterable.

    iterable ─ islice ─▶ Chunk ─▶ Pool.submit_one          not more than `Pool.ahead()` unread

Invariant: the pool knows chunks only; how far an iterable has been read is known here alone.
"""

from __future__ import annotations

import itertools
import threading

from skate.util.multiprocessing.results import Results

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from skate.util.multiprocessing.pool import Pool
    from skate.util.multiprocessing.results import AsyncResult


class Chunk:
    """Calls that travel together, and who wants to know of them."""

    __slots__ = ("calls", "function", "index", "results")

    def __init__(
        self, results: AsyncResult | Results, index: int, function: Any, calls: list[Any]
    ) -> None:
        self.results = results
        self.index = index
        self.function = function
        self.calls = calls


class Feeder:
    """Reads the iterable of an `imap`, as far ahead as the pool allows.

    Invariant: the iterable is advanced by one thread at a time; who comes meanwhile leaves word.
    """

    def __init__(
        self, pool: Pool, function: Any, iterable: Iterable[Any], chunksize: int, *, in_order: bool
    ) -> None:
        self._pool = pool
        self._function = function
        self._items = iter(iterable)
        self._chunksize = chunksize
        self._index = 0
        self._lock = threading.Lock()
        self._again = False
        self._is_unlimited = False
        self._is_over = False
        self.results = Results(self.feed, in_order=in_order)

    def feed(self, *, without_limit: bool = False) -> None:
        """Submits chunks until enough are under way or unread, or the iterable is at its end."""
        self._again = True
        self._is_unlimited = self._is_unlimited or without_limit
        while self._again and self._lock.acquire(blocking=False):
            try:
                self._again = False
                self._feed()
            finally:
                self._lock.release()

    def finish(self) -> None:
        """Submits the rest of the iterable, as soon as whoever is at it has left it."""
        self._is_unlimited = True
        with self._lock:
            self._feed()

    def _feed(self) -> None:
        while not self._is_over:
            if self._pool.is_over():
                self._end()
                return
            if not self._is_unlimited and self.results.unread() >= self._pool.ahead():
                return
            try:
                items = list(itertools.islice(self._items, self._chunksize))
            except Exception as error:  # of the iterable: it comes in its place
                self.results.expect(self._index + 1)
                self.results.fail(self._index, error)
                self._index += 1
                items = []
            if not items:
                self._end()
                return
            self.results.expect(self._index + 1)
            calls: list[Any] = [((item,), {}) for item in items]
            chunk = Chunk(self.results, self._index, self._function, calls)
            self._index += 1
            self._pool.submit_one(chunk)

    def _end(self) -> None:
        self._is_over = True
        self.results.end(self._index)
        self._pool.drop_feeder(self)
