"""What a worker makes of an exception of user code: a `RayTaskError` that can travel.

    ray::load() (pid=4711, ip=127.0.0.1)        which task, and where it ran
      with path='a.csv'                         its arguments, when it raised
      File "prog.py", line 6, in load           frames of the user alone
    ValueError: ...

Invariant: neither form raises. What it gives can be pickled here and unpickled in any process of
the session; that of `task_error` could be, when it was tried. An error that came out of a nested
`get` keeps its first cause, so that the caller's `except` sees the class that was raised at the
bottom; the text shows the whole chain.
"""

from __future__ import annotations

import os
import traceback

from skate import _frames, _session
from skate.exceptions import RayTaskError, UnserializableException

_HEADING = "Traceback (most recent call last):\n"


def task_error(exc: BaseException, task_name: str) -> RayTaskError:
    """Wraps what a task raised.

    Args:
        exc: The exception, with its traceback.
        task_name: For the heading `ray::name() (pid=…, ip=…)`.

    Returns:
        The plain form; `as_instanceof_cause` makes the dual one where it is raised.
    """
    text = _text(exc, task_name)
    return RayTaskError(task_name, text, portable(_cause(exc), text))


def task_error_as_text(exc: BaseException, task_name: str) -> RayTaskError:
    """The same of an exception that cannot travel, although it could a moment ago."""
    text = _text(exc, task_name)
    return RayTaskError(task_name, text, UnserializableException(text))


def _cause(exc: BaseException) -> BaseException:
    return exc.cause if isinstance(exc, RayTaskError) else exc


def _text(exc: BaseException, task_name: str) -> str:
    heading = f"ray::{task_name}() (pid={os.getpid()}, ip=127.0.0.1)\n"
    try:
        arguments = _frames.arguments(exc)
        where = f"  with {arguments}\n" if arguments else ""
        return heading + where + remote_traceback(exc)
    except BaseException:  # user code: of the exception and of the arguments
        return f"{heading}{type(exc).__module__}.{type(exc).__qualname__}: <text not available>"


def remote_traceback(exc: BaseException) -> str:
    """The traceback as text, without skate's own frames and without the first heading."""
    report = traceback.TracebackException.from_exception(exc)
    if not _frames.is_full():
        _hide_own_frames(report)
    return "".join(report.format()).removeprefix(_HEADING).rstrip("\n")


def _hide_own_frames(report: traceback.TracebackException) -> None:
    reports = [report]
    while reports:
        one = reports.pop()
        users = [frame for frame in one.stack if not _frames.is_own(frame.filename)]
        one.stack[:] = users
        linked = [one.__cause__, one.__context__, *(one.exceptions or ())]
        reports.extend(each for each in linked if each is not None)


def portable(cause: BaseException, text: str) -> BaseException:
    """The cause itself if it survives a round trip, else a stand-in that keeps the text."""
    try:
        client = _session.client
        if client is None or isinstance(client.round_trip(cause), BaseException):
            return cause
    except BaseException:  # noqa: S110 - user code; the stand-in below says what there is to say
        pass
    return UnserializableException(text)
