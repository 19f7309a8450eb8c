"""`profile`: names a stretch of code in the timeline, as Ray's `ray.profiling` does.

    with skate.profiling.profile("load"):
        ...

Invariant: outside of a session it does nothing; what the block raises goes on.
"""

from __future__ import annotations

import json
import time

from skate import _session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self


class profile:  # noqa: N801 - Ray's name
    """A context manager: from its beginning to its end is a slice of `skate.timeline`.

    Args:
        event_type: The name of the slice.
        extra_data: Shown with it: a dict, or anything that JSON takes. NaN and infinities are
            shown as texts.

    Raises:
        TypeError: JSON does not take `extra_data`.

    Rule: Ray API reference, `ray.profiling.profile`.
    """

    def __init__(self, event_type: str, extra_data: Any = None) -> None:
        # The node's texts are UTF-8: a lone surrogate must not be an error at the block's end.
        self._name = str(event_type).encode(errors="backslashreplace").decode()
        self._extra = json.dumps(extra_data)
        self._began_ns = 0

    def __enter__(self) -> Self:
        self._began_ns = time.monotonic_ns()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        client = _session.client
        if client is not None:
            client.note_span(self._name, self._extra, self._began_ns)
