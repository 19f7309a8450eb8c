"""What notebooks show of a session: lines in the running cell; refs, streams, the session as HTML.

Invariant: outside of a notebook it costs an attribute or a look into `sys.modules`, and imports
nothing. What is shown never waits and never fetches a value.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from skate._engine import Client

_known: set[int] = set()  # shells that know how to show refs


def into_running_cell(stream: Any) -> None:
    """Has a stream of ipykernel write to the cell that was started last.

    Else what the helper thread writes would go to the cell in which that thread was started.
    """
    running = getattr(stream, "_parent_header_global", None)
    if running is not None:
        stream._parent_header.set(running)  # noqa: SLF001 - a variable of this thread's context


def register() -> None:
    """Teaches the running IPython to show refs and streams, once. Called by `init`."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or id(shell) in _known:
        return
    _known.add(id(shell))
    from skate._generator import ObjectRefGenerator
    from skate._native import ObjectRef

    html = shell.display_formatter.formatters["text/html"]
    html.for_type(ObjectRef, _ref)
    html.for_type(ObjectRefGenerator, _stream)


def session(client: Client) -> str:
    """The session as a table."""
    from skate import _session

    if _session.client is not client:
        return _table("skate: a session that has ended", [])
    resources = client.resources()
    store = resources.pop("object_store_memory", None)
    shown = [
        (name, f"{free:g} of {total:g} free")
        for name, (total, free) in sorted(resources.items())
        if name != "memory" and ":" not in name  # not the node's own rows
    ]
    if store is not None:
        shown.append(("object store", f"{store[0] / 1e9:.2f} GB"))
    return _table("skate", shown)


def _ref(ref: Any) -> str:
    from skate import _session

    state = "of a session that has ended"
    if _session.client is not None:
        try:
            ready, _ = _session.client.wait([ref], 1, 0) or ([], [])
            state = "ready" if ready else "pending"
        except Exception as error:
            state = str(error)
    return f"<code>{_escaped(repr(ref))}</code> {_escaped(state)}"


def _stream(stream: Any) -> str:
    try:
        if stream.is_finished():
            state = "read to its end"
        else:
            state = "the next item is there" if stream.next_ready() else "waiting for the next item"
    except Exception as error:
        state = str(error)
    return f"<code>{_escaped(repr(stream))}</code> {_escaped(state)}"


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    body = "".join(
        f"<tr><th style='text-align:left'>{_escaped(name)}</th>"
        f"<td style='text-align:left'>{_escaped(text)}</td></tr>"
        for name, text in rows
    )
    return f"<table><caption>{_escaped(title)}</caption>{body}</table>"


def _escaped(text: str) -> str:
    from html import escape

    return escape(text)
