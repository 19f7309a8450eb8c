"""What notebooks show of a session: lines in the running cell, and refs, streams and the session.

Invariant: outside of a notebook it costs an attribute or a look into `sys.modules`, and imports
nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def into_running_cell(stream: Any) -> None:
    """Has a stream of ipykernel write to the cell that was started last.

    Else what the helper thread writes would go to the cell in which that thread was started.
    """
    running = getattr(stream, "_parent_header_global", None)
    if running is not None:
        stream._parent_header.set(running)  # noqa: SLF001 - a variable of this thread's context
