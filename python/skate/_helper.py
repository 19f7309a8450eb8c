"""The one helper thread: shows what workers write, and completes futures and callbacks.

    node, workers ─ notices ─┐
    watched refs ── tokens ──┴─▶ one Mailbox ─▶ helper thread ─▶ stdout, stderr, futures, callbacks

Invariant: one helper per session, and one thread that reads its mailbox: two would take each
other's letters. The thread is started when first needed and takes the reading itself, once; so an
interrupt may hit whoever starts it at any line. It ends when the mailbox is closed and empty, and
`finish` waits for that while something is done in every 5 s: what a worker wrote before the end is
lost only if nobody takes it. A helper can be found until its session has ended. No lock is held
here: a finalizer may come at any line, and call something that needs the helper.
Callbacks of users run here, and their streams and handlers of logging: what one raises, even
SystemExit, is reported and stops nothing.
"""

from __future__ import annotations

import itertools
import sys
import threading

from skate import _native, _session
from skate._display import Display

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from skate._engine import Client

_FIRST_TOKEN = 1000  # smaller ones are kinds of notices
_PATIENCE_S = 5.0  # with a thread that does nothing


class Helper:
    """The helper of one session."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._mailbox = client.notices() if client.is_driver else _native.Mailbox()
        self._tokens = itertools.count(_FIRST_TOKEN)
        self._waiting: dict[int, Callable[[], None]] = {}
        self._display = Display()
        self._reader: dict[str, threading.Thread] = {}  # one at most, by the atomic `setdefault`
        self._is_started = False
        self._delivered = 0  # letters, that is

    def start(self) -> None:
        """Starts its thread, unless that was done. One too many finds a reader, and ends."""
        if self._is_started:
            return
        try:
            threading.Thread(target=self._run, name="skate-helper", daemon=True).start()
        except RuntimeError as error:
            if "lock" in str(error) and error.__context__ is not None:
                # An interrupt while `start` waits for the thread may find the lock of that wait
                # released, and leaving the lock is an error then.
                raise error.__context__ from None
            from skate.exceptions import RaySystemError

            limit = "the limit of processes and threads (`ulimit -u`, or pids.max of the cgroup)"
            msg = f"{error}, for what workers write: {limit} is reached"
            raise RaySystemError(msg) from None
        self._is_started = True

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

    def finish(self, *, in_haste: bool = False) -> None:
        """Waits until everything has been shown, unless in haste; the session must be closed."""
        self._mailbox.close()
        try:
            if not self._run() and not in_haste:
                self._wait_for(self._reader["is"])
        finally:  # after a KeyboardInterrupt, too
            self._call_the_rest()

    def _wait_for(self, reader: threading.Thread) -> None:
        """Until it has ended, or has done nothing for as long as patience lasts."""
        if reader is threading.current_thread():
            return
        before = -1
        while reader.is_alive() and self._delivered != before:
            before = self._delivered
            reader.join(_PATIENCE_S)

    def is_read_by(self, thread: threading.Thread) -> bool:
        """Whether that is the one which calls back."""
        return self._reader.get("is") is thread

    def _run(self) -> bool:
        """Reads until the end; False if another thread does, or this one further up."""
        me = threading.current_thread()
        if "is" in self._reader or self._reader.setdefault("is", me) is not me:
            return False
        while not self._mailbox.is_over:
            self._deliver()  # nothing of it is kept while waiting, such as the last ref
        self._call_the_rest()  # if a KeyboardInterrupt kept `finish` from it
        self._show(self._display.close)
        return True

    def _deliver(self) -> None:
        """Waits for what comes next, or until repeated lines are due."""
        for token, what in self._mailbox.wait(self._display.patience_s()):
            self._delivered += 1
            if token < _FIRST_TOKEN:
                self._show(self._display.show, token, what)
            elif act := self._waiting.pop(token, None):
                self._call(act)
        self._show(self._display.tell_repeats)
        self._show(self._display.flush)

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
            _report()

    @staticmethod
    def _show(act: Callable[..., None], *what: Any) -> None:
        try:
            act(*what)
        except BaseException as error:
            is_main = threading.current_thread() is threading.main_thread()
            if is_main and isinstance(error, KeyboardInterrupt):
                raise  # Ctrl-C, while `finish` shows what is left
            _report()


def _report() -> None:
    """Tells of the exception that is being handled."""
    try:
        sys.excepthook(*sys.exc_info())
    except BaseException:  # it is the user's, too
        sys.__excepthook__(*sys.exc_info())


_helpers: dict[Client, Helper] = {}
"""By session: that of the current one, and of those that are being shut down."""


def of(client: Client) -> Helper:
    """The helper of the session; started when there is none."""
    helper = _helpers.get(client) or _helpers.setdefault(client, Helper(client))
    if client is _session.client:
        helper.start()
    elif not _session.is_ending(client):  # it has ended: nobody else takes it out again
        forget(client)
    return helper


def check_may_wait(what: str) -> None:
    """For whoever waits for results that are still to come, which the helper brings.

    Raises:
        RuntimeError: the calling thread is the one that brings them.
    """
    me = threading.current_thread()
    if any(helper.is_read_by(me) for helper in list(_helpers.values())):
        msg = (
            f"{what} would wait for ever: it was called from a callback, in the thread that brings "
            f"the results for which it waits"
        )
        raise RuntimeError(msg)


def finish(client: Client, *, in_haste: bool) -> None:
    """Ends the helper of a session that was closed, after it has shown everything."""
    if helper := _helpers.get(client):  # who was held up in `of` must find this one, too
        helper.finish(in_haste=in_haste)


def forget(client: Client) -> None:
    """Nobody will need the helper of this session, which has ended."""
    _helpers.pop(client, None)
