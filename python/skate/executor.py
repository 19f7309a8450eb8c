"""`Executor`: tasks behind the interface of `concurrent.futures`.

    submit ─▶ pending ─ a place is free ─▶ running: a task ─▶ finished
                 └─ future.cancel() ─▶ cancelled

Invariant: at most `max_workers` futures are running; a pending one has not been handed to skate, so
`cancel` always succeeds on it. Once `shutdown` has waited, all futures are done and their callbacks
have run. A call belongs to the session in which it was submitted, and fails with it. Functions and
arguments may be whatever cloudpickle takes.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections import deque
from functools import partial

import skate
from skate import _condition, _helper, _session
from skate.exceptions import RaySystemError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Any, ParamSpec, TypeAlias, TypeVar

    from skate._engine import Client

    P = ParamSpec("P")
    T = TypeVar("T")
    Call: TypeAlias = tuple[
        Client, Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]
    ]

_ENDED = "the session in which this was submitted has ended before it began"


def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return function(*args, **kwargs)


class Executor(concurrent.futures.Executor):
    """An executor whose calls are tasks.

    Args:
        max_workers: Calls at once; by default as many as there are CPUs.
        options: Of the tasks: `num_cpus`, `max_retries`, `resources` and so on.

    Raises:
        ValueError: `max_workers` is below 1, or an option is out of range.
    """

    def __init__(self, max_workers: int | None = None, **options: Any) -> None:
        if max_workers is not None and max_workers < 1:
            msg = "max_workers must be greater than 0"
            raise ValueError(msg)
        self._remote = skate.remote(_call)
        if options:
            self._remote = self._remote.options(**options)
        self._asked = max_workers
        self._places: int | None = max_workers
        self._waiting: deque[Call] = deque()
        self._running: dict[Future[Any], None] = {}
        self._telling: dict[Future[Any], int] = {}  # by which thread
        self._is_shut = False
        self._is_cancelling = False
        self._lock = self._quiet = _condition.Condition()  # reentrant for finalizers that submit

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Calls `fn(*args, **kwargs)` in a task.

        Raises:
            RuntimeError: after `shutdown`.
            RaySystemError: there is no session, and none may begin by itself; see `init`.
        """
        client = _session.connect()
        if self._places is None:
            self._places = max(int(skate.cluster_resources().get("CPU", 1)), 1)
        future: Future[T] = _condition.Future()
        try:
            with self._lock:
                self._check_running()
                self._waiting.append((client, future, fn, args, kwargs))
            self._start()
        except BaseException:  # Ctrl-C, maybe with the call in the table and nobody to send it
            self._start()
            raise
        return future

    def _check_running(self) -> None:
        if self._is_shut:
            msg = "cannot schedule new futures after shutdown"
            raise RuntimeError(msg)

    def _start(self) -> None:
        while True:
            call = None
            try:
                with self._lock:
                    is_full = len(self._running) >= (self._places or 1)
                    if not self._waiting or (is_full and not self._is_cancelling):
                        return
                    call = self._waiting[0]
                    self._running[call[1]] = None
                    del self._waiting[0]  # no call, between which somebody may come
                client, future, function, args, kwargs = call
                if self._is_cancelling:
                    future.cancel()
                if not future.set_running_or_notify_cancel():
                    self._finish(future, None, None)
                    continue
                promised = self._send(client, function, args, kwargs).future()
                promised.add_done_callback(partial(self._arrived, future))
            except BaseException as error:  # what cannot be pickled; Ctrl-C meanwhile
                if call is not None:
                    self._finish(call[1], None, error)
                if call is None or not isinstance(error, Exception):
                    self._start()  # the others do not depend on it
                    raise

    def _send(
        self,
        client: Client,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> skate.ObjectRef[Any]:
        if client is not _session.client:
            raise RaySystemError(_ENDED)
        ref: skate.ObjectRef[Any] = self._remote.remote(function, args, kwargs)
        return ref

    def _arrived(self, future: Future[Any], done: Future[Any]) -> None:
        error = done.exception()
        try:
            self._finish(future, None if error is not None else done.result(), error)
        finally:  # whatever a callback raises
            self._start()

    def _finish(self, future: Future[Any], value: Any, error: BaseException | None) -> None:
        # First the place, then the result: whoever waits for it may submit at once.
        with self._lock:
            if future not in self._running:  # an interrupt came when it had been told
                return
            del self._running[future]
            self._telling[future] = threading.get_ident()
        try:
            if future.cancelled():
                pass  # by whoever holds it, who has told it
            elif error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
        finally:
            with self._lock:
                del self._telling[future]
                self._quiet.notify_all()

    def _is_quiet(self) -> bool:
        """Whether nothing waits, runs or is being told. A callback does not wait for itself."""
        me = threading.get_ident()
        is_told = all(thread == me for thread in self._telling.values())
        return is_told and not self._waiting and not self._running

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more calls.

        Args:
            wait: Whether to return only when all calls have ended. A callback does not wait for
                the call that it belongs to.
            cancel_futures: Whether to cancel those that are pending.

        Raises:
            RuntimeError: a callback is to wait for other calls, as in the standard library.
        """
        with self._lock:
            self._is_shut = True
            self._is_cancelling = self._is_cancelling or cancel_futures
            pending = [call[1] for call in self._waiting] if cancel_futures else []
        try:
            for future in pending:
                future.cancel()
        finally:
            self._start()  # takes those out, or sends what interrupts may have left
        if wait:
            with self._lock:
                if not self._is_quiet():
                    _helper.check_may_wait("Executor.shutdown")
                    self._quiet.wait_for(self._is_quiet)

    def __repr__(self) -> str:
        return f"<skate.Executor max_workers={self._asked}>"
