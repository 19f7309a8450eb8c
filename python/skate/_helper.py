"""The one helper thread: shows what workers write, and completes futures and callbacks.

    node, workers ─ notices ─┐
    watched refs ── tokens ──┴─▶ one Mailbox ─▶ helper thread ─▶ stdout, stderr, futures, callbacks

Invariant: one helper per session, started when first needed; it ends when its mailbox is closed and
empty, and `finish` returns only then, so nothing that a worker wrote before the end is lost.
Callbacks of users run here: one that raises is reported and stops nothing.
"""

from __future__ import annotations

import itertools
import sys
import threading

from skate import _native
from skate._display import Display

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from skate._engine import Client

_FIRST_TOKEN = 1000  # smaller ones are kinds of notices
_PATIENCE_S = 5.0


class Helper:
    """The helper of one session."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._mailbox = client.notices() if client.is_driver else _native.Mailbox()
        self._tokens = itertools.count(_FIRST_TOKEN)
        self._waiting: dict[int, Callable[[], None]] = {}
        self._display = Display()
        self._thread = threading.Thread(target=self._run, name="skate-helper", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            from skate.exceptions import RaySystemError

            limit = "the limit of processes and threads (`ulimit -u`, or pids.max of the cgroup)"
            msg = f"{error}, for what workers write: {limit} is reached"
            raise RaySystemError(msg) from None

    def when_ready(
        self, ref: _native.ObjectRef[Any], act: Callable[[], None]
    ) -> Callable[[], bool]:
        """Calls `act` in the helper thread when the ref is ready.

        Returns:
            What calls that off, and says whether it did: else `act` has been or is being called.
        """
        token = next(self._tokens)
        self._waiting[token] = act
        try:
            request = self.client.watch(ref, self._mailbox, token)
        except BaseException:
            self._waiting.pop(token, None)
            raise

        def call_off() -> bool:
            self.client.forget(request)
            return self._waiting.pop(token, None) is not None  # it holds the ref

        return call_off

    def finish(self) -> None:
        """Waits until everything has been shown; the session must be closed."""
        self._mailbox.close()
        try:
            if threading.current_thread() is not self._thread:
                self._thread.join(_PATIENCE_S)
        finally:  # after a KeyboardInterrupt, too
            self._call_the_rest()

    def _run(self) -> None:
        while not self._mailbox.is_over:
            self._deliver()  # nothing of it is kept while waiting, such as the last ref
        self._call_the_rest()  # if a KeyboardInterrupt kept `finish` from it
        self._display.close()

    def _deliver(self) -> None:
        """Waits for what comes next, or until repeated lines are due."""
        for token, what in self._mailbox.wait(self._display.patience_s()):
            if token < _FIRST_TOKEN:
                self._display.show(token, what)
            elif act := self._waiting.pop(token, None):
                self._call(act)
        self._display.tell_repeats()
        self._display.flush()

    def _call_the_rest(self) -> None:
        """Those whose answers never came learn that the session has ended."""
        for token in list(self._waiting):
            if act := self._waiting.pop(token, None):
                self._call(act)

    @staticmethod
    def _call(act: Callable[[], None]) -> None:
        try:
            act()
        except BaseException:
            try:
                sys.excepthook(*sys.exc_info())
            except BaseException:  # it is the user's, too
                sys.__excepthook__(*sys.exc_info())


_current: Helper | None = None
_lock = threading.Lock()


def of(client: Client) -> Helper:
    """The helper of the session; started when there is none."""
    global _current  # noqa: PLW0603 - belongs to the one current session
    with _lock:
        if _current is None or _current.client is not client:
            _current = Helper(client)
        return _current


def finish(client: Client) -> None:
    """Ends the helper of a session that was closed, after it has shown everything."""
    global _current  # noqa: PLW0603 - belongs to the one current session
    with _lock:
        helper = _current
        if helper is None or helper.client is not client:
            return
        _current = None
    helper.finish()
