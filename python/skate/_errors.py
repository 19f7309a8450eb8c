"""What a worker makes of an exception of user code: a `RayTaskError` that can travel.

    ray::load() (pid=4711, ip=127.0.0.1)        which task, and where it ran
      with path='a.csv'                         its arguments, when it raised
      File "prog.py", line 6, in load           frames of the user alone
    ValueError: ...

Invariant: `task_error` never raises, and what it gives can be pickled here and unpickled in any
process of the session. An error that came out of a nested `get` keeps its first cause, so that the
caller's `except` sees the class that was raised at the bottom; the text shows the whole chain.
"""

from __future__ import annotations

import os
import traceback

from skate import _frames, _serialization
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
    cause = exc.cause if isinstance(exc, RayTaskError) else exc
    heading = f"ray::{task_name}() (pid={os.getpid()}, ip=127.0.0.1)\n"
    try:
        arguments = _frames.arguments(exc)
        where = f"  with {arguments}\n" if arguments else ""
        text = heading + where + remote_traceback(exc)
    except Exception:
        text = f"{heading}{type(exc).__module__}.{type(exc).__qualname__}: <text not available>"
    return RayTaskError(task_name, text, portable(cause, text))


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
        data, buffers = _serialization.dumps(cause)
        again = _serialization.loads(data, buffers)
        if isinstance(again, BaseException):
            return cause
    except Exception:  # noqa: S110 - the stand-in below says what there is to say
        pass
    return UnserializableException(text)
