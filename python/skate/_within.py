"""A function that runs inside of a context of its worker, and is unpickled there.

Invariant: what is pickled is the context's recipe and the function's own bytes, so nothing of the
function is imported before the context is entered.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager
    from typing import Any


def within(
    enter: Callable[[], AbstractContextManager[object]],
    function: Callable[..., Any],
    data: bytes,
    *,
    is_generator: bool,
) -> Callable[..., Any]:
    """The function, each call of which is made in a context.

    Args:
        enter: Makes the context, in the worker.
        function: The plain function, for its names.
        data: The same, pickled.
        is_generator: Whether its body has a `yield`; then the context lasts until it ends.
    """
    loaded: list[Callable[..., Any]] = []

    def load() -> Callable[..., Any]:
        if not loaded:
            import pickle

            loaded.append(pickle.loads(data))
        return loaded[0]

    def drive(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with enter():
            return (yield from load()(*args, **kwargs))

    def run(*args: Any, **kwargs: Any) -> Any:
        with enter():
            return load()(*args, **kwargs)

    call: Callable[..., Any] = drive if is_generator else run
    call.__name__, call.__qualname__ = function.__name__, function.__qualname__
    call.__module__ = function.__module__
    return call
