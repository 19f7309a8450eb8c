"""`max_calls`: a worker leaves when it has run a function so often.

    call ─▶ one more ─▶ the function ─▶ was it the last? ─▶ `Client.retire` ─▶ result ─▶ leave

For what leaves something behind in its process: memory that a library never gives back, a device.
The result of the last call is told before the process goes; tasks sent ahead run elsewhere.

Invariant: a process begins at most `max_calls` calls of the function, retries included.
"""

from __future__ import annotations

from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_calls: dict[str, int] = {}
"""Calls that this process has begun, by function."""


@contextmanager
def counted(key: str, most: int) -> Iterator[None]:
    """One call of a function.

    Args:
        key: Names the function.
        most: Calls after which the process leaves.
    """
    _calls[key] = _calls.get(key, 0) + 1
    try:
        yield
    finally:
        if _calls[key] >= most:
            from skate import _session

            _session.connect().retire()
