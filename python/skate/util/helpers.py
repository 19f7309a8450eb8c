"""Small helpers of Ray's `util`, on the public API."""

from __future__ import annotations

import skate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_logged: set[str] = set()
_is_silent = False
_period_s: float | None = None
_periodic: dict[str, float] = {}


def as_completed(
    refs: list[skate.ObjectRef[Any]], chunk_size: int = 10, yield_obj_refs: bool = False
) -> Iterator[Any]:
    """Gives the values of refs as they come, whatever the order of the list.

    Args:
        refs: n distinct refs.
        chunk_size: At most so many are taken at once.
        yield_obj_refs: Whether to give the refs themselves.

    Raises:
        ValueError: `chunk_size` is below 1.
        RayError: of a ref, when it is its turn.
    """
    if chunk_size < 1:
        msg = "`chunk_size` must be >= 1"
        raise ValueError(msg)
    pending = list(refs)
    while pending:
        # Waiting for one and taking all that are there gives the first as early as can be.
        ready, pending = skate.wait(pending, num_returns=1)
        if pending and chunk_size > 1:
            more, pending = skate.wait(
                pending, num_returns=min(len(pending), chunk_size - 1), timeout=0
            )
            ready += more
        for ref in ready:
            yield ref if yield_obj_refs else skate.get(ref)


def map_unordered(
    fn: skate.remote_function.RemoteFunction[Any, Any],
    items: Iterable[Any],
    backpressure_size: int | None = 100,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
) -> Iterator[Any]:
    """Calls a remote function for each item, and gives the values as they come.

    Args:
        fn: Of one argument.
        items: Any number.
        backpressure_size: Calls under way at once; None for any number.
        chunk_size: At most so many results are taken at once.
        yield_obj_refs: Whether to give refs instead of values.

    Raises:
        ValueError: `chunk_size` or `backpressure_size` is below 1.
    """
    if chunk_size < 1:
        msg = "`chunk_size` must be >= 1"
        raise ValueError(msg)
    if backpressure_size is not None and backpressure_size < 1:
        msg = "`backpressure_size` must be >= 1"
        raise ValueError(msg)
    pending: list[skate.ObjectRef[Any]] = []
    for item in items:
        while backpressure_size is not None and len(pending) >= backpressure_size:
            ready, pending = skate.wait(pending, num_returns=min(chunk_size, len(pending)))
            yield from ready if yield_obj_refs else skate.get(ready)
        pending.append(fn.remote(item))
    yield from as_completed(pending, chunk_size, yield_obj_refs)


def log_once(key: str) -> bool:
    """Whether the caller should log: True for the first call with a key, and then once a period."""
    import time

    if _is_silent:
        return False
    if key not in _logged:
        _logged.add(key)
        _periodic[key] = time.monotonic()
        return True
    if _period_s is not None and time.monotonic() - _periodic[key] > _period_s:
        _periodic[key] = time.monotonic()
        return True
    return False


def disable_log_once_globally() -> None:
    """Has `log_once` say False from now on."""
    global _is_silent  # noqa: PLW0603 - a switch of the process
    _is_silent = True


def enable_periodic_logging() -> None:
    """Has `log_once` say True for a key once a minute."""
    global _period_s  # noqa: PLW0603 - a switch of the process
    _period_s = 60.0


def get_node_ip_address() -> str:
    """The address of this machine, as `skate.nodes()` shows it."""
    from skate._machine import IP

    return IP
