"""What calls of a `Pool` give: a value to come, a list to come, an iterator.

    Chunk ─ settle(index, values) │ fail(index, error) ─▶ Single, Batch, Results

Invariant: each index is settled or failed once, and no value is lost, although an interrupt may hit
whoever reads; who is interrupted while telling may tell the same again. Callbacks run in the thread
that brings the result, before `wait` returns, and one that raises is shown and stops nothing.
"""

from __future__ import annotations

from collections import deque
from multiprocessing import TimeoutError as PoolTimeoutError

from skate._condition import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self


class AsyncResult:
    """A value that is still to come."""

    def __init__(
        self,
        chunks: int,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> None:
        self._missing = set(range(chunks))
        self._last: int | None = None  # the chunk that comes last, and is to finish
        self._parts: list[list[Any]] = [[] for _ in range(chunks)]
        self._error: BaseException | None = None
        self._callback = callback
        self._error_callback = error_callback
        self._changed = Condition()
        self._is_there = False
        if chunks == 0:
            self._finish()

    def _value(self) -> Any:
        raise NotImplementedError

    def settle(self, index: int, values: list[Any]) -> None:
        """A chunk has its values."""
        self._parts[index] = values
        self._count(index, None)

    def fail(self, index: int, error: BaseException) -> None:
        """A chunk has an error; the first counts."""
        self._count(index, error)

    def _count(self, index: int, error: BaseException | None) -> None:
        with self._changed:
            if index in self._missing:  # not counted before an interrupt
                if error is not None and self._error is None:
                    self._error = error
                if len(self._missing) == 1:
                    self._last = index
                self._missing.discard(index)
            is_last = self._last == index and not self._is_there
        if is_last:
            self._finish()

    def _finish(self) -> None:
        # First the callback, as in the standard library: whoever waits relies on what it did.
        try:
            if self._error is not None:
                _call(self._error_callback, self._error)
            else:
                _call(self._callback, self._value())
        finally:
            with self._changed:
                self._is_there = True
                self._changed.notify_all()

    def get(self, timeout: float | None = None) -> Any:
        """The value, or the error of the call.

        Raises:
            multiprocessing.TimeoutError: it did not come in time.
        """
        self.wait(timeout)
        if not self._is_there:
            raise PoolTimeoutError
        if self._error is not None:
            raise self._error
        return self._value()

    def wait(self, timeout: float | None = None) -> None:
        """Waits until it is there."""
        with self._changed:
            self._changed.wait_for(self.ready, timeout)

    def ready(self) -> bool:
        """Whether it is there."""
        return self._is_there

    def successful(self) -> bool:
        """Whether it is no error.

        Raises:
            ValueError: it is not there yet.
        """
        if not self.ready():
            msg = f"{self!r} not ready"
            raise ValueError(msg)
        return self._error is None


class Single(AsyncResult):
    """Of one call."""

    def _value(self) -> Any:
        return self._parts[0][0]


class Batch(AsyncResult):
    """Of many calls: a list."""

    def _value(self) -> list[Any]:
        return [value for part in self._parts for value in part]


def _call(callback: Callable[[Any], object] | None, value: Any) -> None:
    if callback is None:
        return
    try:
        callback(value)
    except Exception:
        import traceback

        traceback.print_exc()


class Results:
    """The values of an `imap`, one by one."""

    def __init__(self, feed: Callable[[], None], *, in_order: bool) -> None:
        self._feed = feed
        self._in_order = in_order
        self._lock = self._changed = Condition()
        self._arrived: dict[int, tuple[list[Any], BaseException | None]] = {}
        self._order: deque[int] = deque()  # of arrival, if that counts
        self._values: deque[tuple[Any, BaseException | None]] = deque()
        self._taken = 0  # chunks
        self._expected = 0
        self._end: int | None = None

    def unread(self) -> int:
        """Chunks that were submitted and not taken yet."""
        return self._expected - self._taken

    def expect(self, chunks: int) -> None:
        """So many were submitted in all."""
        self._expected = chunks

    def end(self, chunks: int) -> None:
        """There will be no more than these."""
        with self._lock:
            self._end = chunks
            self._changed.notify_all()

    def settle(self, index: int, values: list[Any]) -> None:
        """A chunk has its values."""
        self._arrive(index, values, None)

    def fail(self, index: int, error: BaseException) -> None:
        """A chunk has an error, which stands for all of its calls."""
        self._arrive(index, [], error)

    def _arrive(self, index: int, values: list[Any], error: BaseException | None) -> None:
        with self._lock:
            if index not in self._arrived:
                self._arrived[index] = (values, error)
                if not self._in_order:
                    self._order += [index]  # no call, between which an interrupt may come
            self._changed.notify_all()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: float | None = None) -> Any:
        """The next value.

        Raises:
            StopIteration: there are no more.
            multiprocessing.TimeoutError: it did not come in time.
        """
        taken = None
        try:
            with self._lock:
                self._wait(timeout)
                taken = self._values[0]
                del self._values[0]  # not `popleft`: an interrupt may come as a call returns
            self._feed()
        except BaseException:
            if taken is not None:  # it is still to be read
                with self._lock:
                    self._values.appendleft(taken)
                    self._changed.notify_all()
            raise
        value, error = taken
        if error is not None:
            raise error
        return value

    def _wait(self, timeout: float | None) -> None:
        """Under the lock: until there is a value."""
        if not self._changed.wait_for(self._has_something, timeout):
            raise PoolTimeoutError
        if not self._values:
            raise StopIteration

    def _has_something(self) -> bool:
        """Under the lock: moves what may be given now; True at the end, too."""
        while not self._values:
            if self._taken == self._end:
                return True
            index = self._taken if self._in_order else self._order[0] if self._order else -1
            if index not in self._arrived:
                return False
            values, error = self._arrived[index]
            moved: deque[tuple[Any, BaseException | None]] = deque()
            moved.extend((value, None) for value in values)
            if error is not None:
                moved.append((None, error))
            # From here on nothing is called, so an interrupt comes before or after all of it.
            self._values = moved
            self._taken += 1
            del self._arrived[index]
            if not self._in_order:
                del self._order[0]
        return True
