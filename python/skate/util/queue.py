"""`Queue`: a first-in first-out queue that every process of a session can use.

    queue ─ put, get ─▶ an async actor with an `asyncio.Queue`
            ◀─ item ──  whose taker was cancelled meanwhile: it goes back to the front

Invariant: an item is in the queue, on its way to a taker, or on its way back. So a taker that is
cancelled or interrupted takes nothing; others see the item a moment later. Except for a signal
that comes when the call has been sent and `.remote()` has not returned its ref yet, or a second one
while the item is given back: there is nothing then by which the item could be taken back.

Written on the public API. Ray's methods, exceptions and wording. The queue travels like a handle;
it ends with the last of its copies, or by `shutdown`.
"""

from __future__ import annotations

import asyncio
import queue as _standard
from functools import partial

import skate
from skate.exceptions import ActorDiedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import Future
    from typing import Any

_INTERRUPTS = (asyncio.CancelledError, KeyboardInterrupt)


class Empty(_standard.Empty):
    """There is no item, or not enough of them, and none came in time."""


class Full(_standard.Full):
    """There is no room, and none was made in time."""


class Queue:
    """A queue in an actor of its own.

    Args:
        maxsize: Most items; 0 for any number.
        actor_options: For the actor: `name`, `num_cpus` and so on.

    Rule: semantics.md 4.20.
    """

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        self.maxsize = maxsize
        made = skate.remote(_QueueActor)
        self.actor: Any = made.options(**(actor_options or {})).remote(maxsize)

    def _call(self, method: str, *args: Any) -> skate.ObjectRef[Any]:
        if self.actor is None:
            msg = f"Queue.{method}: the queue was shut down"
            raise ActorDiedError(None, msg)
        ref: skate.ObjectRef[Any] = getattr(self.actor, method).remote(*args)
        return ref

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """Items in the queue."""
        count: int = skate.get(self._call("qsize"))
        return count

    qsize = size

    def empty(self) -> bool:
        """Whether there is no item."""
        return self.size() == 0

    def full(self) -> bool:
        """Whether there is no room."""
        return 0 < self.maxsize <= self.size()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Adds an item.

        Args:
            item: Any value.
            block: Whether to wait for room.
            timeout: Seconds to wait at most; None waits for ever.

        Raises:
            Full: there is no room, and none was made in time.
            ValueError: the timeout is negative.
        """
        ref = self._call("put", item, _patience(block, timeout))
        try:
            skate.get(ref)
        except _INTERRUPTS:
            _cancel(ref)
            raise

    async def put_async(
        self,
        item: Any,
        block: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - Ray's signature
    ) -> None:
        """The same in an event loop."""
        ref = self._call("put", item, _patience(block, timeout))
        try:
            await ref
        except _INTERRUPTS:
            _cancel(ref)
            raise

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Takes the oldest item.

        Args:
            block: Whether to wait for one.
            timeout: Seconds to wait at most; None waits for ever.

        Raises:
            Empty: there is none, and none came in time.
            ValueError: the timeout is negative.
        """
        ref = self._call("get", _patience(block, timeout))
        try:
            return skate.get(ref)
        except _INTERRUPTS:
            self._give_back(ref)
            raise

    async def get_async(
        self,
        block: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - Ray's signature
    ) -> Any:
        """The same in an event loop."""
        ref = self._call("get", _patience(block, timeout))
        try:
            return await ref
        except _INTERRUPTS:
            self._give_back(ref)
            raise

    def _give_back(self, ref: skate.ObjectRef[Any]) -> None:
        """Of a taker that is there no more. Returns at once."""
        if self.actor is not None and _cancel(ref):
            ref.future().add_done_callback(partial(_put_back, self.actor))

    def put_nowait(self, item: Any) -> None:
        """Adds an item if there is room now; see `put`."""
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """Takes an item if there is one now; see `get`."""
        return self.get(block=False)

    def put_nowait_batch(self, items: list[Any]) -> None:
        """Adds all of the items, or none of them.

        Raises:
            Full: there is no room for all.
            TypeError: it is no iterable.
        """
        try:
            items = list(items)
        except TypeError:
            msg = "Argument 'items' must be an Iterable"
            raise TypeError(msg) from None
        skate.get(self._call("put_nowait_batch", items))

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Takes that many items, or none.

        Raises:
            Empty: there are not so many.
            TypeError: it is no int.
            ValueError: it is negative.
        """
        count: object = num_items
        if not isinstance(count, int):
            msg = "Argument 'num_items' must be an int"
            raise TypeError(msg)
        if num_items < 0:
            msg = "'num_items' must be nonnegative"
            raise ValueError(msg)
        items: list[Any] = skate.get(self._call("get_nowait_batch", num_items))
        return items

    def shutdown(self, force: bool = False, grace_period_s: int = 5) -> None:
        """Ends the queue's actor.

        Args:
            force: Whether to end it at once, and not after the calls that it has.
            grace_period_s: Seconds to wait for that before it is ended at once.
        """
        if self.actor is None:
            return
        if not force:
            skate.wait([self.actor.__ray_terminate__.remote()], timeout=grace_period_s)
        skate.kill(self.actor)
        self.actor = None


def _cancel(ref: skate.ObjectRef[Any]) -> bool:
    """Whether there was a session to do it in."""
    if not skate.is_initialized():
        return False
    skate.cancel(ref)
    return True


def _put_back(actor: Any, taken: Future[Any]) -> None:
    if taken.exception() is None:  # the cancel came too late
        actor.put_back.remote(taken.result())


def _patience(block: bool, timeout: float | None) -> float | None:
    """Seconds to wait at most; None for ever."""
    if not block:
        return 0
    if timeout is not None and timeout < 0:
        msg = "'timeout' must be a non-negative number"
        raise ValueError(msg)
    return timeout


class _QueueActor:
    """The items. A wait of no seconds looks once."""

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self.items: asyncio.Queue[Any] = asyncio.Queue(maxsize)

    def qsize(self) -> int:
        return self.items.qsize()

    async def put(self, item: Any, patience_s: float | None) -> None:
        try:
            self.items.put_nowait(item)
        except asyncio.QueueFull:
            if patience_s == 0:
                raise Full from None
            try:
                await asyncio.wait_for(self.items.put(item), patience_s)
            except TimeoutError:
                raise Full from None

    async def get(self, patience_s: float | None) -> Any:
        try:
            return self.items.get_nowait()
        except asyncio.QueueEmpty:
            if patience_s == 0:
                raise Empty from None
            try:
                return await asyncio.wait_for(self.items.get(), patience_s)
            except TimeoutError:
                raise Empty from None

    def put_back(self, item: Any) -> None:
        """To the front, and into a full queue, too: it had its place."""
        items: Any = self.items  # which has no method for that
        items._queue.appendleft(item)  # noqa: SLF001
        items._wakeup_next(items._getters)  # noqa: SLF001

    def put_nowait_batch(self, items: list[Any]) -> None:
        if 0 < self.maxsize < self.qsize() + len(items):
            msg = (
                f"Cannot add {len(items)} items to queue of size {self.qsize()} and maxsize "
                f"{self.maxsize}."
            )
            raise Full(msg)
        for item in items:
            self.items.put_nowait(item)

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        if num_items > self.qsize():
            msg = f"Cannot get {num_items} items from queue of size {self.qsize()}."
            raise Empty(msg)
        return [self.items.get_nowait() for _ in range(num_items)]
