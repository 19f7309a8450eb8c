"""What notebooks show of a session: lines in their cell; refs, streams, the session as HTML.

Invariant: outside of a notebook it costs an attribute or a look into `sys.modules`, and imports
nothing. What is shown never waits and never fetches a value.
"""

from __future__ import annotations

import sys

from skate import _native
from skate._cells import LAST, Cells

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from skate._engine import Client

_known: set[int] = set()  # shells that know how to show refs
cells: Cells | None = None  # of the current session, in a notebook


def shell() -> Any:
    """The running IPython, or None."""
    # Another thread may be importing it, so that it has not everything yet.
    get = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return None if get is None else get()


def is_notebook() -> bool:
    """Whether what is written belongs to cells."""
    return hasattr(shell(), "kernel")


def into_cell(stream: Any, cell: int) -> None:
    """Has a stream of ipykernel write to a cell; else it would go where this thread was started."""
    if not hasattr(stream, "_parent_header_global"):
        return
    # Nothing public says which cell runs, or has this thread write to another one.
    header = stream._parent_header_global  # noqa: SLF001
    current = cells  # read once: another thread may begin a session
    if current is not None and cell != LAST:
        header = current.header(cell)
    stream._parent_header.set(header)  # noqa: SLF001


def register(client: Client) -> None:
    """Teaches the running IPython to show refs and streams, and of cells. Called by `init`."""
    global cells  # noqa: PLW0603 - belongs to the one current session
    cells = None
    if (ipython := shell()) is None:
        return
    if id(ipython) not in _known:
        _known.add(id(ipython))
        from skate._generator import ObjectRefGenerator
        from skate._native import ObjectRef

        html = ipython.display_formatter.formatters["text/html"]
        html.for_type(ObjectRef, _ref)
        html.for_type(ObjectRefGenerator, _stream)
        ipython.events.register("pre_run_cell", _begin_cell)
    if is_notebook() and isinstance(client, _native.Client):
        cells = Cells(client)
        _begin_cell()


def _begin_cell(_info: object = None) -> None:
    from skate import _session

    header = getattr(sys.stdout, "parent_header", None)
    current = cells
    if current is not None and current.client is _session.client and header:
        current.begin(header)


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
    client = _session.client  # read once: another thread may end it
    if client is not None:
        try:
            ready, _ = client.wait([ref], 1, 0) or ([], [])
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
