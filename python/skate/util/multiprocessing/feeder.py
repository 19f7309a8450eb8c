"""What a `Pool` is fed with: chunks, and for `imap` whoever cuts them off an iterable.

    iterable ─ islice ─▶ items ─▶ Chunk ─▶ Pool.submit_chunks   not more than `Pool.ahead()` unread

Invariant: the pool knows chunks only; how far an iterable has been read is known here alone. An
interrupt may come between any two steps: what was read is kept, and goes on when fed next.
"""

from __future__ import annotations

import itertools

from skate._condition import Condition
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
        self._read: list[Any] = []  # in no chunk yet
        self._cut: list[Chunk] = []  # in no table of the pool yet
        self._index = 0
        self._left = Condition()
        self._is_taken = False
        self._again = False
        self._is_unlimited = False
        self._is_over = False
        self.results = Results(self.feed, in_order=in_order)

    def feed(self, *, without_limit: bool = False) -> None:
        """Submits chunks until enough are under way or unread, or the iterable is at its end."""
        self._again = True
        self._is_unlimited = self._is_unlimited or without_limit
        while self._again and self._feed_alone():
            pass

    def finish(self) -> None:
        """Submits the rest of the iterable, as soon as whoever is at it has left it."""
        self._is_unlimited = True
        while not self._feed_alone():
            with self._left:
                self._left.wait_for(lambda: not self._is_taken)

    def _feed_alone(self) -> bool:
        """Feeds the pool; False if another thread does, or this one further up."""
        is_mine = False
        try:
            with self._left:
                if self._is_taken:
                    return False
                self._is_taken = is_mine = True  # in one step, after which an interrupt may come
            self._again = False
            self._feed()
            return True
        finally:
            if is_mine:
                with self._left:
                    self._is_taken = False
                    self._left.notify_all()

    def _feed(self) -> None:
        while not self._is_over:
            if self._cut:  # an interrupt came before they were submitted
                self._pool.submit_chunks(self._cut)
            if self._pool.is_over():
                self._end()
                return
            if not self._is_unlimited and self.results.unread() >= self._pool.ahead():
                return
            try:
                self._read += itertools.islice(self._items, self._chunksize - len(self._read))
            except Exception as error:  # of the iterable: it comes in its place
                self._read = []
                self.results.expect(self._index + 1)
                self.results.fail(self._index, error)
                self._index += 1
            if not self._read:
                self._end()
                return
            self.results.expect(self._index + 1)
            calls: list[Any] = [((item,), {}) for item in self._read]
            chunk = Chunk(self.results, self._index, self._function, calls)
            # Nothing is called before all of it is done.
            self._cut, self._read = [chunk], []
            self._index += 1
            self._pool.submit_chunks(self._cut)

    def _end(self) -> None:
        self.results.end(self._index)
        self._pool.drop_feeder(self)
        self._is_over = True
