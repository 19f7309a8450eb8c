"""Refs and generators in event loops, futures and callbacks.

    await ref ─ watch ─▶ node ─ token ─▶ Mailbox of this loop ─ add_reader ─▶ asyncio future
    ref.future(), ref._on_completed ─▶ the helper thread

Invariant: one mailbox (one descriptor) for each event loop and session, gone with the first of the
two that goes. Watching takes nothing: an item is taken, without waiting, by the coroutine that was
woken for it, so a cancelled await loses nothing. A watch that is cancelled is forgotten; its late
answer finds nobody. When the session ends, all that are awaited are woken, and find that out. When
an interrupt may have lost tokens, all are woken and ask again.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from weakref import WeakKeyDictionary, WeakValueDictionary

from skate import _native, _session
from skate._frames import hide
from skate.exceptions import GetTimeoutError, RayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Any, TypeVar

    from skate._engine import Client
    from skate._generator import ObjectRefGenerator
    from skate._native import ObjectRef

    T = TypeVar("T")


class _Bridge:
    """The mailbox of one event loop and session.

    It holds what is awaited, and so the loop. Therefore only the loop, which reads the mailbox, and
    those that await hold it.

    Attributes:
        client: The session.
        mailbox: Where it answers. Closed with the session, by whichever thread ends that.
        is_closed: Whether it was, said just before, so whom the closing wakes sees it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, client: Client) -> None:
        self.client = client
        self.mailbox = _native.Mailbox()
        self.is_closed = False
        self._tokens = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[bool]] = {}  # whether it was answered
        loop.add_reader(self.mailbox.fileno(), self._deliver)

    async def ready(self, waitable: ObjectRef[Any] | ObjectRefGenerator[Any]) -> None:
        """Returns when the ref is ready, `next` would not wait, or the session ends."""
        while not await self._is_answered(waitable):
            pass

    async def _is_answered(self, waitable: ObjectRef[Any] | ObjectRefGenerator[Any]) -> bool:
        """Watches it once. Nobody knows whether it was answered if that is False."""
        client = self.client
        token = next(self._tokens)
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[token] = future
        try:
            request = client.watch(waitable, self.mailbox, token)
            asleep = client.awaits()
            try:
                is_answered = await future
            except BaseException:
                client.forget(request)
                raise
            finally:
                if asleep is not None:
                    client.awoke(asleep)
        finally:
            self._waiting.pop(token, None)
        if not is_answered:
            client.forget(request)
        return is_answered

    def _deliver(self) -> None:
        try:
            for token, _ in self.mailbox.take():
                _wake(self._waiting.get(token), is_answered=True)
        except BaseException:  # of a signal's handler: what was taken may be lost
            self._wake_all(is_answered=False)
            raise
        if self.is_closed:
            # A closed mailbox stays readable.
            asyncio.get_running_loop().remove_reader(self.mailbox.fileno())
            self._wake_all(is_answered=True)

    def _wake_all(self, *, is_answered: bool) -> None:
        for future in self._waiting.values():
            _wake(future, is_answered=is_answered)

    def close(self) -> None:
        """The session has ended. From any thread."""
        self.is_closed = True
        self.mailbox.close()


def _wake(future: asyncio.Future[bool] | None, *, is_answered: bool) -> None:
    if future is not None and not future.done():
        future.set_result(is_answered)


# One loop may have several: that of a session whose end it has not heard of, and the next one's.
_bridges: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[Client, _Bridge]] = (
    WeakKeyDictionary()
)
_lock = threading.RLock()  # a finalizer that runs meanwhile may end the session


def _bridge(client: Client) -> _Bridge:
    loop = asyncio.get_running_loop()
    with _lock:
        of_loop = _bridges.setdefault(loop, WeakValueDictionary())
        bridge = of_loop.get(client)
        if bridge is None:
            bridge = of_loop[client] = _Bridge(loop, client)
        return bridge


def finish(client: Client) -> None:
    """Wakes all that await something of a session that was closed: they find out."""
    with _lock:
        bridges = [each for of_loop in _bridges.values() if (each := of_loop.get(client))]
    for bridge in bridges:
        bridge.close()


async def await_ref(ref: ObjectRef[T]) -> T:
    """The value of a ref. `ObjectRef.__await__` drives it."""
    client = _session.of(ref)
    ready = client.wait([ref], 1, 0)
    if not (ready and ready[0]):
        await _bridge(client).ready(ref)
    try:
        return client.get_one(ref, None)
    except RayError as error:
        hide(error)
        raise


async def next_item(stream: ObjectRefGenerator[Any]) -> ObjectRef[Any]:
    """The next item of a generator.

    Raises:
        StopAsyncIteration: it has ended.
    """
    client = _session.of(stream)
    while True:
        try:
            return stream.next_within(0)
        except GetTimeoutError:
            pass
        except StopIteration:
            raise StopAsyncIteration from None
        await _bridge(client).ready(stream)


async def next_item_within(
    stream: ObjectRefGenerator[Any], timeout_s: float | None
) -> ObjectRef[Any]:
    """The same with a timeout.

    Raises:
        GetTimeoutError: nothing came in time; nothing was taken.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await next_item(stream)
    except GetTimeoutError:
        raise
    except TimeoutError:
        msg = "Get timed out: the next item is not ready."
        raise GetTimeoutError(msg) from None


def future(ref: ObjectRef[T]) -> Future[T]:
    """A `concurrent.futures.Future` of the ref's value. Cancelling it does not cancel the task."""
    from skate._promised import Promised

    promised: Promised[T] = Promised(_session.of(ref))

    def settle(value: T | None, error: BaseException | None) -> None:
        if promised.set_running_or_notify_cancel():
            if error is None:
                promised.set_result(value)  # type: ignore[arg-type]
            else:
                promised.set_exception(error)

    call_off = _when_ready(ref, settle)

    def when_done(done: Future[T]) -> None:
        # Once called off `settle` never comes, and `concurrent.futures.wait` must hear of it.
        if done.cancelled() and call_off():
            done.set_running_or_notify_cancel()

    promised.add_done_callback(when_done)
    return promised


def on_completed(ref: ObjectRef[T], callback: Callable[[Any], object]) -> None:
    """Calls back in the helper thread with the value, or the exception that `get` would raise."""
    _when_ready(ref, lambda value, error: callback(value if error is None else error))


def _when_ready(
    ref: ObjectRef[T], settle: Callable[[T | None, BaseException | None], object]
) -> Callable[[], bool]:
    from skate import _helper

    client = _session.of(ref)

    def act() -> None:
        try:
            value = client.get_one(ref, None)
        except BaseException as error:
            settle(None, error)
        else:
            settle(value, None)

    return _helper.of(client).when_ready(ref, act)
