"""Refs and generators in asyncio: all of them, or one by one as they come.

    values = await skate.aio.gather(refs)
    async for value in skate.aio.as_completed(refs): ...

Invariant: nothing blocks the event loop. A cancelled call has taken nothing.
"""

from __future__ import annotations

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from typing import Any

    from skate._native import ObjectRef


async def gather(refs: Iterable[ObjectRef[Any]], *, return_exceptions: bool = False) -> list[Any]:
    """The values of refs, in their order.

    Args:
        refs: Any number.
        return_exceptions: Whether errors stand in the list, as values; otherwise the first is
            raised, without waiting for the rest.
    """
    return await asyncio.gather(*map(_value, refs), return_exceptions=return_exceptions)


async def _value(ref: ObjectRef[Any]) -> Any:
    return await ref


async def as_completed(
    refs: Iterable[ObjectRef[Any]], *, with_refs: bool = False
) -> AsyncIterator[Any]:
    """Gives the values of refs as they come.

    Args:
        refs: Any number.
        with_refs: Whether to give `(ref, value)`.

    Raises:
        RayError: of a ref, when it is its turn.
    """
    tasks = {asyncio.ensure_future(_value(ref)): ref for ref in refs}
    try:
        while tasks:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                ref = tasks.pop(task)
                value = task.result()
                yield (ref, value) if with_refs else value
    finally:
        for task in tasks:
            task.cancel()
