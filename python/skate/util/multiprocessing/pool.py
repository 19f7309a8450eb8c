"""`Pool`: the interface of `multiprocessing.Pool`, with actors as its processes.

    map, apply, imap ─▶ chunks ─▶ _waiting ─▶ an idle slot (one actor) ─▶ its batch, or the caller
                                     ▲                │ maxtasksperchild chunks: a fresh actor
                                     └────────────────┘

Invariant: a slot has at most one chunk, so no chunk waits behind a long one while another slot is
idle; a chunk is run at most once. A pool belongs to one session: when that has ended, what waits
fails and nothing begins. Under `_lock` there are list operations only, so it is reentrant: each of
them leaves the pool as it may be found, and a finalizer or a signal's handler, which may come
between any two, uses it there. Calls go out and results come in without it. Differences from the
standard library: `imap` reads its iterable only a few chunks ahead of its reader (until `close`),
functions and arguments may be whatever cloudpickle takes, and a worker that dies fails its chunk
instead of leaving the pool waiting for ever.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from functools import partial
from multiprocessing import TimeoutError as PoolTimeoutError

import skate
from skate import _helper, _session
from skate._condition import Condition
from skate.util.multiprocessing.feeder import Chunk, Feeder
from skate.util.multiprocessing.results import AsyncResult, Batch, Results, Single

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn, Self

_CHUNKS_PER_PROCESS = 4
"""As the standard library: long enough to cost little, short enough to balance."""

_AHEAD = 4
"""Chunks for each process that an `imap` may have under way or unread."""

_ENDED = "the session of the pool has ended"

_RUN, _CLOSED, _TERMINATED = range(3)

__all__ = ["AsyncResult", "Pool", "PoolTimeoutError"]


class _PoolActor:
    """One process of a pool."""

    def __init__(self, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]) -> None:
        if initializer is not None:
            initializer(*initargs)

    def ping(self) -> None:
        """For whoever waits until it is there."""

    def run(self, function: Callable[..., Any], calls: list[Any]) -> list[Any]:
        """Calls it once for each `(args, kwargs)`."""
        return [function(*args, **kwargs) for args, kwargs in calls]


def _fail_terminated(chunks: list[Chunk]) -> None:
    """Takes them out of the list; all of them, since others wait for them."""
    interrupt: BaseException | None = None
    while chunks:
        try:
            chunks[0].results.fail(chunks[0].index, RuntimeError("the pool was terminated"))
            del chunks[0]
        except BaseException as error:  # Ctrl-C, or a callback that exits
            interrupt = error
    if interrupt is not None:
        raise interrupt


class _Slot:
    """An actor and how many chunks it has run."""

    __slots__ = ("actor", "chunks")

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.chunks = 0


class Pool:
    """A pool of actors.

    Args:
        processes: How many; by default as many as there are CPUs.
        initializer: Called once in each process.
        initargs: For it.
        maxtasksperchild: Chunks after which a process is replaced by a fresh one.
        context: Accepted; there is one way to start processes.
        ray_address: For `init`, if there is no session.
        ray_remote_args: Options of the actors.

    Rule: semantics.md 5.13; the interface of `multiprocessing.Pool`.
    """

    def __init__(  # noqa: PLR0917 - Ray's signature
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: object = None,  # noqa: ARG002 - Ray's and the standard library's signature
        ray_address: str | None = None,
        ray_remote_args: dict[str, Any] | None = None,
    ) -> None:
        if processes is not None and processes < 1:
            msg = "Number of processes must be at least 1"
            raise ValueError(msg)
        if initializer is not None and not hasattr(initializer, "__call__"):  # noqa: B004 - for mypy
            msg = "initializer must be a callable"
            raise TypeError(msg)
        if maxtasksperchild is not None and maxtasksperchild < 1:
            msg = "maxtasksperchild must be a positive int or None"
            raise ValueError(msg)
        if not skate.is_initialized():
            skate.init(address=ray_address)
        self._client = _session.connect()
        self._processes = processes or max(int(skate.cluster_resources().get("CPU", 1)), 1)
        made = skate.remote(_PoolActor)
        self._class = made.options(**ray_remote_args) if ray_remote_args else made
        self._arguments = (initializer, tuple(initargs))
        self._chunks_most = maxtasksperchild
        self._lock = self._changed = Condition()
        self._state = _RUN
        self._waiting: deque[Chunk] = deque()
        self._under_way: dict[_Slot, Chunk] = {}
        self._telling: dict[Chunk, int] = {}  # whose results are being told, and by which thread
        self._slots = {self._fresh() for _ in range(self._processes)}
        self._idle: deque[_Slot] = deque(self._slots)
        self._feeders: list[Feeder] = []

    # ── calls ─────────────────────────────────────────────────────────────────────────────────────

    def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The value of `func(*args, **kwargs)`, called in a process of the pool."""
        return self.apply_async(func, args, kwargs).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """The same, at once, with the value to come."""
        self._check_running()
        result = Single(1, callback, error_callback)
        self.submit_chunks([Chunk(result, 0, func, [(tuple(args), kwargs or {})])])
        return result

    def map(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = None
    ) -> list[Any]:
        """`[func(item) for item in iterable]`, in the processes of the pool."""
        return list(self.map_async(func, iterable, chunksize).get())

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """The same, at once, with the list to come."""
        calls: list[Any] = [((item,), {}) for item in iterable]
        return self._batch(func, calls, chunksize, callback, error_callback)

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
    ) -> list[Any]:
        """`[func(*args) for args in iterable]`, in the processes of the pool."""
        return list(self.starmap_async(func, iterable, chunksize).get())

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """The same, at once, with the list to come."""
        calls: list[Any] = [(tuple(args), {}) for args in iterable]
        return self._batch(func, calls, chunksize, callback, error_callback)

    def imap(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1
    ) -> Results:
        """Values one by one, in order; `next(timeout)` raises `multiprocessing.TimeoutError`."""
        return self._stream(func, iterable, chunksize, in_order=True)

    def imap_unordered(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1
    ) -> Results:
        """Values one by one, as they come."""
        return self._stream(func, iterable, chunksize, in_order=False)

    # ── its end ───────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """Takes no more calls. Those that there are will be done."""
        with self._lock:
            if self._state == _RUN:
                self._state = _CLOSED
            feeders = list(self._feeders)
        for feeder in feeders:  # nobody may be reading what `join` will wait for
            feeder.feed(without_limit=True)

    def terminate(self) -> None:
        """Ends the processes at once. Calls that have not ended fail with a RuntimeError."""
        self._state = _TERMINATED
        left: list[Chunk] = []
        try:
            self._abort(left)
        except BaseException:  # Ctrl-C, maybe with chunks out of the tables and nobody to fail them
            self._abort(left)
            raise

    def _abort(self, left: list[Chunk]) -> None:
        """What it has taken out of the tables is in the list until it has failed."""
        with self._lock:
            slots, feeders = list(self._slots), list(self._feeders)
            found = [*self._under_way.values(), *self._waiting]
            self._idle.clear()
            self._changed.notify_all()
            nothing: deque[Chunk] = deque()
            # Nothing is called before all of it is done.
            left += found
            self._under_way, self._waiting = {}, nothing
        with contextlib.suppress(skate.exceptions.RaySystemError):  # it ends meanwhile
            for slot in slots if self._has_session() else ():
                skate.kill(slot.actor)
        self._slots = set()
        _fail_terminated(left)
        for feeder in feeders:  # whoever reads hears of the end
            feeder.feed()

    def join(self) -> None:
        """Waits until all that was asked for is done, callbacks included.

        A callback may call it as well: it does not wait for itself.

        Raises:
            ValueError: the pool is neither closed nor terminated.
            RuntimeError: a callback is to wait for other calls, as in the standard library.
        """
        with self._lock:
            if self._state == _RUN:
                msg = "Pool is still running"
                raise ValueError(msg)
            feeders = list(self._feeders) if self._state == _CLOSED else []
        for feeder in feeders:  # another thread may be at it still, between two chunks
            feeder.finish()
        self._dispatch()  # what interrupts may have left
        with self._lock:
            while self._waiting or self._under_way or self._is_telling_elsewhere():
                _helper.check_may_wait("Pool.join")
                self._changed.wait()
            slots, self._slots = self._slots, set()
            self._idle.clear()
        for slot in slots if self._has_session() else ():
            skate.wait([slot.actor.__ray_terminate__.remote()])

    def __enter__(self) -> Self:
        self._check_running()
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()

    def __reduce__(self) -> NoReturn:
        msg = "pool objects cannot be passed between processes or pickled"
        raise NotImplementedError(msg)

    def __repr__(self) -> str:
        state = ("RUN", "CLOSE", "TERMINATE")[self._state]
        return f"<skate.util.multiprocessing.Pool state={state} pool_size={self._processes}>"

    # ── chunks and slots ──────────────────────────────────────────────────────────────────────────

    def _has_session(self) -> bool:
        """Whether its session is the current one still."""
        return _session.client is self._client

    def _check_running(self) -> None:
        if self._state != _RUN or not self._has_session():
            msg = "Pool not running"
            raise ValueError(msg)

    def _fresh(self) -> _Slot:
        return _Slot(self._class.remote(*self._arguments))

    def _batch(
        self,
        func: Callable[..., Any],
        calls: list[Any],
        chunksize: int | None,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> AsyncResult:
        self._check_running()
        if chunksize is None:
            chunksize = -(-len(calls) // (self._processes * _CHUNKS_PER_PROCESS)) or 1
        if chunksize < 1:
            msg = f"Chunksize must be 1+, not {chunksize:n}"
            raise ValueError(msg)
        starts = range(0, len(calls), chunksize)
        result = Batch(len(starts), callback, error_callback)
        shared = skate.put(func) if len(starts) > 1 else func  # it is pickled once
        self.submit_chunks(
            [
                Chunk(result, index, shared, calls[start : start + chunksize])
                for index, start in enumerate(starts)
            ]
        )
        return result

    def _stream(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int,
        *,
        in_order: bool,
    ) -> Results:
        self._check_running()
        if chunksize < 1:
            msg = f"Chunksize must be 1+, not {chunksize:n}"
            raise ValueError(msg)
        feeder = Feeder(self, func, iterable, chunksize, in_order=in_order)
        with self._lock:
            self._feeders.append(feeder)
        feeder.feed()
        return feeder.results

    def drop_feeder(self, feeder: Feeder) -> None:
        """It has read its iterable to the end."""
        with self._lock:
            if feeder in self._feeders:
                self._feeders.remove(feeder)

    def submit_chunks(self, chunks: list[Chunk]) -> None:
        """Takes them out of the list: who is interrupted and calls again submits none twice."""
        try:
            with self._lock:
                is_over = self.is_over()
                if not is_over:
                    self._waiting += chunks
                    del chunks[:]  # no call, between which an interrupt may come
            if is_over:
                _fail_terminated(chunks)
            else:
                self._dispatch()
        except BaseException:  # Ctrl-C, maybe with the chunks in the table and nobody to send them
            self._dispatch()
            raise

    def is_over(self) -> bool:
        """Whether it was terminated."""
        return self._state == _TERMINATED

    def ahead(self) -> int:
        """Chunks that an `imap` may have under way or unread."""
        return _AHEAD * self._processes

    def _dispatch(self) -> None:
        while True:
            chunk = None
            try:
                with self._lock:
                    if not self._idle or not self._waiting:
                        return
                    slot, chunk = self._idle[0], self._waiting[0]
                    self._under_way[slot] = chunk
                    del self._idle[0], self._waiting[0]  # no call, between which somebody may come
                    slot.chunks += 1
                promised = self._send(slot, chunk).future()
                promised.add_done_callback(partial(self._arrived, slot, chunk))
            except BaseException as error:  # arguments that cannot be pickled; Ctrl-C meanwhile
                if chunk is not None:
                    self._done(slot, chunk, error=error)
                if chunk is None or not isinstance(error, Exception):
                    self._dispatch()  # the others do not depend on it
                    raise

    def _send(self, slot: _Slot, chunk: Chunk) -> skate.ObjectRef[list[Any]]:
        if not self._has_session():
            raise skate.exceptions.RaySystemError(_ENDED)
        ref: skate.ObjectRef[list[Any]] = slot.actor.run.remote(chunk.function, chunk.calls)
        return ref

    def _arrived(self, slot: _Slot, chunk: Chunk, future: Any) -> None:
        error = future.exception()
        try:
            if error is None:
                self._done(slot, chunk, values=future.result())
            else:
                self._done(slot, chunk, error=error)
        finally:  # whatever a callback raises
            self._dispatch()

    def _is_telling_elsewhere(self) -> bool:
        me = threading.get_ident()
        return any(thread != me for thread in self._telling.values())

    def _done(
        self,
        slot: _Slot,
        chunk: Chunk,
        *,
        values: list[Any] | None = None,
        error: BaseException | None = None,
    ) -> None:
        with self._lock:
            if self._under_way.get(slot) is not chunk:  # it was terminated or told meanwhile
                return
            self._telling[chunk] = threading.get_ident()
            del self._under_way[slot]
        try:
            slot = self._fit(slot, error)
        except BaseException as refused:  # the chunk's, so that somebody hears of it
            error = error or refused
            if not isinstance(refused, Exception):
                raise
        finally:
            self._tell(slot, chunk, values or [], error)

    def _fit(self, slot: _Slot, error: BaseException | None) -> _Slot:
        """The slot for the next chunk: a fresh one if this one is worn or gone."""
        is_worn = self._chunks_most is not None and slot.chunks >= self._chunks_most
        is_gone = isinstance(error, skate.exceptions.RayActorError)
        if not (is_worn or is_gone) or not self._has_session():
            return slot
        fresh = self._fresh()
        with self._lock:
            is_over = self.is_over()
            if not is_over:
                self._slots.discard(slot)
                self._slots.add(fresh)
        if is_over:  # `terminate` did not see it
            with contextlib.suppress(skate.exceptions.RaySystemError):
                skate.kill(fresh.actor)
        return fresh

    def _tell(
        self, slot: _Slot, chunk: Chunk, values: list[Any], error: BaseException | None
    ) -> None:
        """First the slot, then the result: whoever waits for it may submit at once."""
        try:
            with self._lock:
                self._idle.append(slot)
            if error is None:
                chunk.results.settle(chunk.index, values)
            else:
                chunk.results.fail(chunk.index, error)
        finally:
            with self._lock:
                del self._telling[chunk]
                self._changed.notify_all()
