"""An async actor's process: an event loop for each concurrency group, each call an asyncio task.

    node ─▶ Rust thread ─ event ─▶ look: start calls ┊ cancel tasks ┊ wake paused generators ┊ leave
              of the lane's loop

The loop of the default group runs on the main thread, where the constructor runs, too; those of
other groups have threads of their own, so that a group that blocks its loop leaves others alone.

Invariant: every call that was taken ends by exactly one of `finish`, `fail` and `exhausted` of its
`Call`. On the main thread a handler of a signal may raise at any line of a look: what was taken is
done all the same. What user code starts on the loop belongs to the call that started it: a context
variable says so.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import time
from contextvars import ContextVar, copy_context
from itertools import starmap
from threading import Thread, current_thread
from types import CoroutineType

from skate import _actor_worker, _session
from skate._begun import begin, entered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine
    from contextvars import Context
    from typing import Any

    from skate._native import Call, Serving

_current: ContextVar[Call | None] = ContextVar("skate_call", default=None)

_GO_ON, _WAIT = 0, 1
"""What an async generator does next, as `Call` says; otherwise it is to end."""

BLOCKED_S = 1.0
"""A loop that does not look for so long is reported."""

_PATIENCE_S = 1.0
"""How long an actor that leaves waits for groups that block their loops."""


def serve_loops(serving: Serving) -> int:
    """Runs the loops until the actor ends. Returns the exit code."""
    threads: dict[int, Thread] = {}
    loop = _make_loop(serving, 0)
    _start_groups(serving, threads, loop)
    _run(serving, loop)
    # What they still hold of the actor's instance goes with them.
    until = time.monotonic() + _PATIENCE_S
    for thread in list(threads.values()):
        thread.join(max(0.0, until - time.monotonic()))
    return serving.wait()


def _start_groups(
    serving: Serving, threads: dict[int, Thread], loop: asyncio.AbstractEventLoop
) -> None:
    """Those that have no thread yet. What cannot be started is told and, by the loop, retried."""
    try:
        for lane in range(1, serving.lanes):
            if lane not in threads:
                args, name = (serving, lane, threads), f"skate-loop-{lane}"
                thread = Thread(target=_serve_group, args=args, name=name, daemon=True)
                thread.start()
                threads.setdefault(lane, thread)
    except Exception:  # nobody else would start it, and its calls would wait for ever
        _actor_worker.print_exception()
        loop.call_later(_actor_worker.RETRY_S, _start_groups, serving, threads, loop)


def _serve_group(serving: Serving, lane: int, threads: dict[int, Thread]) -> None:
    me = current_thread()
    if threads.setdefault(lane, me) is not me:  # started twice, as the first start was interrupted
        return
    try:
        _run(serving, _make_loop(serving, lane))
    except SystemExit as exit_:
        code = _actor_worker.exit_code(exit_)
    except BaseException:
        _actor_worker.print_exception()
        code = 1
    else:
        return
    serving.leave(code)


def _make_loop(serving: Serving, lane: int) -> asyncio.AbstractEventLoop:
    """The loop of a lane, for this thread."""
    selector = _Selector()
    loop = asyncio.SelectorEventLoop(selector)
    asyncio.set_event_loop(loop)
    runner = _Runner(serving, lane, loop, selector)
    loop.add_reader(serving.use_loop(lane, _current), runner.look)
    loop.call_soon(runner.look)
    return loop


def _run(serving: Serving, loop: asyncio.AbstractEventLoop) -> None:
    """Until the actor ends."""
    loop.run_forever()
    serving.leave(0)  # if user code has stopped the loop


class _Selector(selectors.EpollSelector):
    """Sees how long the loop was busy between two looks for events, and reports it once."""

    def __init__(self) -> None:
        super().__init__()
        self.last_started = ""
        self._since = time.monotonic()
        self._is_reported = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        busy_s = time.monotonic() - self._since
        if busy_s > BLOCKED_S and not self._is_reported:
            self._is_reported = True
            print(  # noqa: T201 - the way to the driver
                f"The event loop of this async actor was blocked for {busy_s:.1f} s by synchronous "
                f"code; no other call on it could go on meanwhile. The call started last was "
                f"{self.last_started or 'none'}. Await instead, or use asyncio.to_thread.",
                file=sys.stderr,
                flush=True,
            )
        ready = super().select(timeout)
        self._since = time.monotonic()
        return ready


class _Runner:
    """The calls on the loop of a lane."""

    def __init__(
        self, serving: Serving, lane: int, loop: asyncio.AbstractEventLoop, selector: _Selector
    ) -> None:
        self._serving = serving
        self._lane = lane
        self._loop = loop
        self._selector = selector
        self._taken: list[tuple[list[Call], list[int], bool]] = []
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._paused: dict[Call, asyncio.Future[None]] = {}

    def look(self) -> None:
        """Does what there is to do."""
        try:
            # By one call, which also keeps it: no handler of a signal can come between.
            self._taken.extend(starmap(self._serving.take, [(self._lane,)]))
            while self._taken:
                self._do(*self._taken[0])
                del self._taken[0]
        except BaseException:  # of such a handler: what is left of it is still to be done
            self._loop.call_soon(self.look)
            raise

    def _do(self, calls: list[Call], cancelled: list[int], is_leaving: bool) -> None:
        while calls:
            context = copy_context()
            context.run(self._start, calls, context)
        while cancelled:
            task = self._tasks.get(cancelled[0])
            del cancelled[0]
            if task:
                task.cancel()
        for call, future in list(self._paused.items()):
            if call.may_go_on() and not future.done():
                future.set_result(None)
        if is_leaving:
            self._loop.stop()

    def _start(self, calls: list[Call], context: Context) -> None:
        call = calls[0]
        try:
            del calls[0]  # whatever comes from here on, it ends
            _current.set(call)
            self._selector.last_started = call.name
            begun = call.start()
            if begun is None:
                return
            ticket = call.ticket
            run = self._await if type(begun) is CoroutineType else self._iterate
            self._tasks[ticket] = begin(run(call, ticket, begun), self._loop, call.name, context)
        except SystemExit as exit_:
            self._serving.leave(_actor_worker.exit_code(exit_))
        except BaseException as error:
            self._fail(call, error)

    async def _await(self, call: Call, ticket: int, coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            await entered()
            value = await coroutine
        except BaseException as error:
            coroutine.close()  # if it has not begun
            self._fail(call, error)
        else:
            call.finish(value)
        finally:
            self._tasks.pop(ticket, None)

    async def _iterate(self, call: Call, ticket: int, generator: AsyncGenerator[Any, None]) -> None:
        try:
            try:
                await entered()
                async for item in generator:
                    state = call.publish(item)
                    del item  # before the next one is made
                    while state == _WAIT:
                        await self._pause(call)
                        state = call.proceed()
                    if state != _GO_ON:
                        break
            finally:
                await generator.aclose()
        except BaseException as error:
            self._fail(call, error)
        else:
            call.exhausted()  # nothing, if the call is over
        finally:
            self._tasks.pop(ticket, None)

    async def _pause(self, call: Call) -> None:
        future = self._loop.create_future()
        self._paused[call] = future
        client = _session.connect()
        asleep = client.awaits()
        try:
            while not call.may_go_on():
                await future
                self._paused[call] = future = self._loop.create_future()
        finally:
            self._paused.pop(call, None)
            if asleep is not None:
                client.awoke(asleep)

    def _fail(self, call: Call, error: BaseException) -> None:
        try:
            call.fail(error)
        except SystemExit as exit_:
            self._serving.leave(_actor_worker.exit_code(exit_))
