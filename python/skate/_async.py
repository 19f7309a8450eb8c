"""Refs and generators in event loops, futures and callbacks.

    await ref ─ watch ─▶ node ─ token ─▶ Mailbox of this loop ─ add_reader ─▶ asyncio future
    ref.future(), ref._on_completed ─▶ the helper thread

Invariant: one mailbox (one descriptor) for each event loop, gone with the loop. Watching takes
nothing: an item is taken, without waiting, by the coroutine that was woken for it, so a cancelled
await loses nothing. A watch that is cancelled is forgotten; its late answer finds nobody.
"""

from __future__ import annotations

import asyncio
import itertools
from weakref import WeakKeyDictionary

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
    """The mailbox of one event loop and who waits for what in it. Does not hold the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.mailbox = _native.Mailbox()
        self._tokens = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[None]] = {}
        loop.add_reader(self.mailbox.fileno(), self._deliver)

    async def ready(
        self, client: Client, waitable: ObjectRef[Any] | ObjectRefGenerator[Any]
    ) -> None:
        """Returns when the ref is ready, or when `next` of the generator would not wait."""
        token = next(self._tokens)
        future = asyncio.get_running_loop().create_future()
        self._waiting[token] = future
        try:
            request = client.watch(waitable, self.mailbox, token)
            sleeps = client.awaits(True)  # noqa: FBT003 - positional in the native module
            try:
                await future
            except BaseException:
                client.forget(request)
                raise
            finally:
                if sleeps:
                    client.awaits(False)  # noqa: FBT003
        finally:
            self._waiting.pop(token, None)

    def _deliver(self) -> None:
        for token, _ in self.mailbox.take():
            future = self._waiting.pop(token, None)
            if future is not None and not future.done():
                future.set_result(None)


_bridges: WeakKeyDictionary[asyncio.AbstractEventLoop, _Bridge] = WeakKeyDictionary()


def _bridge() -> _Bridge:
    loop = asyncio.get_running_loop()
    bridge = _bridges.get(loop)
    if bridge is None:
        bridge = _bridges[loop] = _Bridge(loop)
    return bridge


async def await_ref(ref: ObjectRef[T]) -> T:
    """The value of a ref. `ObjectRef.__await__` drives it."""
    client = _session.connect()
    ready = client.wait([ref], 1, 0)
    if not (ready and ready[0]):
        await _bridge().ready(client, ref)
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
    client = _session.connect()
    while True:
        try:
            return stream.next_within(0)
        except GetTimeoutError:
            pass
        except StopIteration:
            raise StopAsyncIteration from None
        await _bridge().ready(client, stream)


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
    from concurrent.futures import Future

    promised: Future[T] = Future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if promised.set_running_or_notify_cancel():
            if error is None:
                promised.set_result(value)  # type: ignore[arg-type]
            else:
                promised.set_exception(error)

    call_off = _when_ready(ref, settle)
    promised.add_done_callback(lambda done: call_off() if done.cancelled() else None)
    return promised


def on_completed(ref: ObjectRef[T], callback: Callable[[Any], object]) -> None:
    """Calls back in the helper thread with the value, or the exception that `get` would raise."""
    _when_ready(ref, lambda value, error: callback(value if error is None else error))


def _when_ready(
    ref: ObjectRef[T], settle: Callable[[T | None, BaseException | None], object]
) -> Callable[[], None]:
    from skate import _helper

    client = _session.connect()

    def act() -> None:
        try:
            value = client.get_one(ref, None)
        except BaseException as error:
            settle(None, error)
        else:
            settle(value, None)

    return _helper.of(client).when_ready(ref, act)
