"""Calls of async actors: asyncio tasks on one thread that all of them share.

    .remote() ─▶ AsyncCall ─ call_soon_threadsafe ─▶ lane ─▶ await, iterate ─▶ Sink

Invariant: a call that was taken ends its sink once. Code on the loop must not wait for other calls
on it except by `await`: that would stop them, so it is refused.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import Future
from functools import partial

from skate._begun import begin, entered
from skate._local.calls import FailedError
from skate._local.run import current
from skate._local.sink import Sink, TooManyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from typing import Any

    from skate._local.calls import Arguments
    from skate._local.objects import Failure
    from skate._local.run import Run
    from skate._local.state import State

_PATIENCE_S = 5.0


class Loop:
    """The thread.

    Attributes:
        calls: Those under way, which nobody else may hold: asyncio holds its tasks weakly.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.calls: set[AsyncCall] = set()
        self._thread = threading.Thread(target=self._run, name="skate-local-loop", daemon=True)
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether the calling thread is it."""
        return threading.current_thread() is self._thread

    @staticmethod
    def lanes(limits: Sequence[int]) -> list[asyncio.Semaphore]:
        """Those of one actor."""
        return [asyncio.Semaphore(limit) for limit in limits]

    def start(self, client: State, run: Run, arguments: Arguments) -> Any:
        """Begins a call: what `.remote()` returns."""
        call = AsyncCall(client, self, run, arguments)
        given = call.sink.given(None)
        try:
            call.enter()
            # A context of its own: what the caller's context says of tasks is not true there.
            self._loop.call_soon_threadsafe(call.begin, context=contextvars.Context())
        except BaseException:  # Ctrl-C: nobody will hold what it gives
            call.cancel()  # if it is on its way already
            call.leave()
            raise
        return given

    def call(self, act: Callable[[], None]) -> None:
        """Calls on the loop, and waits for that."""
        if self.is_here:
            act()
            return
        done: Future[None] = Future()

        def settle() -> None:
            try:
                act()
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._loop.call_soon_threadsafe(settle, context=contextvars.Context())
        done.result()

    def soon(self, act: Callable[[], object]) -> None:
        """Calls back on the loop, unless it has ended."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(act)

    def close(self) -> None:
        """Ends what runs and waits for that."""
        self.soon(self._loop.stop)
        if not self.is_here:
            self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        ending = asyncio.gather(*tasks, self._loop.shutdown_asyncgens(), return_exceptions=True)
        self._loop.run_until_complete(ending)
        self._loop.close()


class AsyncCall:
    """One call."""

    def __init__(self, client: State, loop: Loop, run: Run, arguments: Arguments) -> None:
        assert run.actor is not None  # noqa: S101 - a call is of an actor
        self._client = client
        self._loop = loop
        self.run = run
        self._actor = run.actor
        self._arguments: Arguments | None = arguments
        self.sink = Sink(client, run)
        self._task: asyncio.Task[None] | None = None
        client.tasks[run.task] = self

    def enter(self) -> None:
        """It is under way."""
        self._loop.calls.add(self)
        self._actor.calls.add(self)

    def leave(self) -> None:
        """It has ended."""
        self._actor.calls.discard(self)
        self._loop.calls.discard(self)

    def begin(self) -> None:
        """On the loop."""
        self._task = begin(self._main(), asyncio.get_running_loop())
        if self.run.is_cancelled or self.sink.has_ended:
            self._stop()

    def cancel(self) -> None:
        """From any thread."""
        self.run.is_cancelled = True
        self._loop.soon(self._stop)

    def close(self) -> None:
        """The channel was closed: a generator that waits for its reader sees it."""

    def give_up(self, failure: Failure) -> None:
        """The actor is dead."""
        self.sink.failed(failure)
        self._loop.soon(self._stop)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _main(self) -> None:
        try:
            while True:
                try:
                    await entered()
                    current.set(self.run)
                    async with self._actor.lanes[self.run.template.lane]:
                        await self._attempts()
                except BaseException as error:  # before it had its place in the lane
                    self._failed(error)
                if self.sink.has_ended:
                    break
        finally:
            self._arguments = None
            self.leave()

    async def _attempts(self) -> None:
        while not self.sink.has_ended:
            try:
                await self._attempt()
            except BaseException as error:
                self._failed(error)

    async def _attempt(self) -> None:
        run, sink, arguments = self.run, self.sink, self._arguments
        assert arguments is not None  # noqa: S101 - they go with the call
        if run.is_cancelled:
            raise asyncio.CancelledError
        self._actor.check(run.name)
        for cell in arguments.cells():
            await self._client.cell_ready(cell)
        args, kwargs = arguments.unpack()
        run.function = run.template.find(self._actor)
        result = run.function(*args, **kwargs)
        del args, kwargs
        kind = type(result).__name__
        if kind == "coroutine":
            result = await result
        if kind == "async_generator":
            await self._iterate(result)
        elif kind == "generator":
            await self._iterate(_as_async(result))
        else:
            sink.returned(result)

    async def _iterate(self, generator: AsyncGenerator[Any, None]) -> None:
        sink = self.sink
        try:
            async for item in generator:
                try:
                    await self._room_for(item)
                    sink.accept(item)
                except TooManyError as error:
                    raise ValueError(*error.args) from None
                del item  # before the next one is made
                await self._turn()
                if sink.channel is not None and sink.channel.is_closed:
                    break
        finally:
            await generator.aclose()
        if sink.channel is not None and sink.channel.is_closed:
            sink.closed()
        else:
            sink.exhausted(None)

    async def _room_for(self, item: object) -> None:
        """A window of bytes: an item is stored only when it fits beside the unread ones."""
        limit = self.run.template.window_bytes
        if limit is None:
            return
        from skate._local import codec

        channel = self.sink.channel
        assert channel is not None  # noqa: S101 - windows belong to streams
        try:
            need = codec.pack(item).size_bytes
        except TypeError:
            return  # told when it is stored
        await self._paused(
            lambda: (
                channel.passed == channel.published
                or channel.stored_bytes - channel.passed_bytes + need <= limit
            )
        )

    async def _turn(self) -> None:
        """A window of items: goes on when fewer than so many are unread. Others run meanwhile."""
        window, channel = self.run.template.window, self.sink.channel
        if window is None or channel is None:
            await asyncio.sleep(0)
        else:
            await self._paused(lambda: channel.published - channel.passed < window)

    async def _paused(self, may_go_on: Callable[[], bool]) -> None:
        sink, channel = self.sink, self.sink.channel
        assert channel is not None  # noqa: S101 - windows belong to streams

        def waits() -> bool:
            return not (may_go_on() or sink.is_dropped or sink.has_ended)

        while True:
            woken = asyncio.Event()
            with self._client.lock:
                if waits():
                    channel.pauses.append(partial(self._loop.soon, woken.set))
                if not waits():  # the last reader may have gone meanwhile: it takes no lock
                    return
            await woken.wait()

    def _failed(self, error: BaseException) -> None:
        run, sink = self.run, self.sink
        if isinstance(error, FailedError):
            return sink.failed(error.args[0])
        if isinstance(error, asyncio.CancelledError) and run.is_cancelled:
            return sink.failed(sink.cancelled())
        if gone := self._actor.left_by(error, run.name):
            return sink.failed(gone)
        if sink.channel is not None and sink.channel.is_closed:
            return sink.unhandled(error)
        if self._client.is_open and run.may_retry(error):  # else the end of the loop cancelled it
            run.attempt += 1
            run.consumed = {}
            return sink.restart()
        return sink.raised(error)


async def _as_async(generator: Any) -> AsyncGenerator[Any, None]:
    """A plain generator in an async actor: the loop stands still while it runs."""
    for item in generator:
        yield item
