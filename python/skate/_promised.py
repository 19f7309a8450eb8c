"""What `ref.future()` gives: a future whose waiter is known to sleep.

Invariant: a task that waits here by its own thread lends its CPU, as in `get`. What it waits for in
other ways, such as `concurrent.futures.wait`, is not seen.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from skate._condition import Future

if TYPE_CHECKING:
    from collections.abc import Iterator

    from skate._engine import Client

T = TypeVar("T")


class Promised(Future[T]):
    """A future of the value of a ref."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client

    def result(self, timeout: float | None = None) -> T:
        """As `Future.result`."""
        with self._asleep(timeout):
            return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As `Future.exception`."""
        with self._asleep(timeout):
            return super().exception(timeout)

    @contextmanager
    def _asleep(self, timeout: float | None) -> Iterator[None]:
        looks_only = timeout is not None and timeout <= 0
        sleeps = not looks_only and not self.done() and self._client.blocks(True)  # noqa: FBT003 - positional there
        try:
            yield
        finally:
            if sleeps:
                self._client.blocks(False)  # noqa: FBT003
