"""`max_calls`: a worker leaves when it has run a function so often.

    call ─▶ one more ─▶ the function ─▶ was it the last? ─▶ `Client.retire` ─▶ result ─▶ leave

For what leaves something behind in its process: memory that a library never gives back, a device.
The result of the last call is told before the process goes; tasks sent ahead run elsewhere.

Invariant: a process begins at most `max_calls` calls of the function, retries included.
"""

from __future__ import annotations

_calls: dict[str, int] = {}
"""Calls that this process has begun, by function."""


class Counted:
    """One call of a function, as a context.

    Args:
        key: Names the function.
        most: Calls after which the process leaves.
    """

    def __init__(self, key: str, most: int) -> None:
        self._key = key
        self._most = most

    def __enter__(self) -> None:
        _calls[self._key] = _calls.get(self._key, 0) + 1

    # A cancel that comes here is late: see `_worker`.
    def __exit__(self, *_: object) -> None:
        if _calls[self._key] >= self._most:
            from skate import _session

            _session.connect().retire()
