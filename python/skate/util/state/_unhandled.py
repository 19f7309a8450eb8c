"""Errors that nobody fetched, as rows."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from skate import _checks, _session
from skate.util.state.common import Row


@dataclass(frozen=True)
class UnhandledError(Row):
    """An error that nobody fetched, or that no ref could carry.

    Attributes:
        task_id: Hex id of the task.
        name: Of the task.
        error: The exception that `get` would have raised.
        traceback: The error as text, with the remote traceback.
        time: Seconds since 1970.
        num_returns: The number of static returns, if all were made before the error; else None.
    """

    task_id: str
    name: str
    error: BaseException
    traceback: str
    time: float
    num_returns: int | None


def list_unhandled_errors(limit: int = 100) -> list[UnhandledError]:
    """The errors that nobody fetched, oldest first.

    An error is one row, however many refs held it: when the last of them was dropped unread, or at
    once if there was none. Each was printed on stderr once, too, unless
    `RAY_IGNORE_UNHANDLED_ERRORS=1` or `SKATE_IGNORE_UNHANDLED_ERRORS=1` silences that.

    Args:
        limit: At most so many, the latest.

    Raises:
        RaySystemError: in a worker: only the driver has them.
        TypeError: the limit is no whole number.
        ValueError: it is below 1.

    Rule: semantics.md A12.
    """
    limit = _checks.whole("list_unhandled_errors: limit", limit, 1, sys.maxsize)
    from skate.exceptions import RayTaskError

    rows = []
    for task_id, name, returns, error, time in _session.connect().unhandled_errors()[-limit:]:
        text = str(error) or repr(error)
        shown = error.as_instanceof_cause() if isinstance(error, RayTaskError) else error
        rows.append(UnhandledError(task_id, name, shown, text, time, returns))
    return rows
