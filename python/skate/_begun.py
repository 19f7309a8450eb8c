"""Asyncio tasks that end with a word, however early they are cancelled.

    coroutine ─ begin ─▶ stands at `await entered()` ─ the task's first step ─▶ goes on
                                     └─ cancelled before that: CancelledError is raised there

asyncio throws a cancel that comes before a task's first step into its coroutine. One that has not
begun ends by that without a line of it being run.

Invariant: the coroutine of such a task stands within its own `try` from the start, so what it does
at its end is done.
"""

from __future__ import annotations

import asyncio
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator
    from contextvars import Context
    from typing import Any


@types.coroutine
def entered() -> Generator[None]:
    """What the coroutine awaits first, within its `try`."""
    yield


def begin(
    coroutine: Coroutine[Any, Any, None],
    loop: asyncio.AbstractEventLoop,
    name: str | None = None,
    context: Context | None = None,
) -> asyncio.Task[None]:
    """Makes a task of it.

    Not by the loop's factory: one that an actor set may take no context, wrap the coroutine, or go
    on with the task at once, as `asyncio.eager_task_factory` does.
    """
    coroutine.send(None)
    return asyncio.Task(coroutine, loop=loop, name=name, context=context)
