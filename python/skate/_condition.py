"""`Condition`: that of `threading`, which Ctrl-C cannot leave taken.

Invariant: `with` takes it and releases it in one step of C each, between which and its block no
signal's handler runs. In the standard library those are functions of Python that call the lock's: a
handler that raises there leaves it taken, and all others wait for ever. For a future that is the
helper thread, so that no result of the session came any more.
"""

from __future__ import annotations

import threading
from _thread import RLock
from collections import deque
from concurrent import futures
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

T = TypeVar("T")


class Condition(RLock, threading.Condition):  # type: ignore[misc] # final in the stubs only
    """One that is its own lock."""

    _is_owned: Callable[[], bool]  # of the lock

    def __init__(self) -> None:
        self._waiters: deque[Any] = deque()  # all that the waiting needs beside the lock

    def wait(self, timeout: float | None = None) -> bool:
        """As `threading.Condition.wait`; it is taken when a handler has raised, too."""
        try:
            return super().wait(timeout)
        except BaseException:
            if not self._is_owned():
                self.acquire()
            raise


class Future(futures.Future[T], Generic[T]):
    """A future with such a condition."""

    def __init__(self) -> None:
        super().__init__()
        self._condition = Condition()
