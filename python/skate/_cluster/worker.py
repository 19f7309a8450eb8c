"""What Ray runs in its workers: exported functions and instances of exported classes.

    Ray's worker ─ Exported.load() ─▶ the user's function, once a process ─ call ─▶ value, items

Invariant: before any code of the user's is unpickled this process has a session of this engine, in
which it is no driver, so `skate.get`, `.remote()` and handles work in it.
"""

from __future__ import annotations

import pickle
from contextlib import contextmanager
from types import GeneratorType

from skate._cluster.client import enter_worker
from skate._cluster.streams import arrived
from skate._native import DYNAMIC, STREAMING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any


_own_body: bytes | None = None


def own_body() -> bytes:
    """What callers must know of the actor whose process this is."""
    assert _own_body is not None  # noqa: S101 - who asks is in an actor of skate's
    return _own_body


class Exported:
    """A function or class as bytes, unpickled when it is first used."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._loaded: Any = None

    def load(self) -> Any:
        """The function or class."""
        if self._loaded is None:
            enter_worker()
            self._loaded = pickle.loads(self._data)
        return self._loaded

    def __reduce__(self) -> tuple[Any, ...]:
        return Exported, (self._data,)


def task_of(exported: Exported, name: str, returns: int) -> Callable[..., Any]:
    """What Ray is given as the function; `returns` as in `_native`."""

    def drive(*args: Any, **kwargs: Any) -> Iterator[Any]:
        args, kwargs = came(args, kwargs)
        yield from items_of(exported.load()(*args, **kwargs))

    def run(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = came(args, kwargs)
        result = exported.load()(*args, **kwargs)
        return result if returns else used_up(result)

    task: Callable[..., Any] = drive if returns in {STREAMING, DYNAMIC} else run
    task.__name__ = task.__qualname__ = name
    return task


def used_up(result: Any) -> None:
    """Runs a generator of which nobody wants anything; Ray would not begin it."""
    if isinstance(result, GeneratorType):
        for _ in result:
            pass


def items_of(items: Iterator[Any]) -> Iterator[Any]:
    """The items of a user's generator, of which none is held while the next is made.

    Ray resumes what it drives with `send`, which only generators have: a user's body that yields
    from a range would fail if it were resumed so.
    """
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        yield item
        del item


def came(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments as the user's code wants them."""
    return tuple(map(arrived, args)), {name: arrived(each) for name, each in kwargs.items()}


class Turns:
    """An actor whose calls run in turn, or in threads."""

    def __init__(self, skate_class: Exported, skate_body: bytes, *args: Any, **kwargs: Any) -> None:
        args, kwargs = came(args, kwargs)
        global _own_body  # noqa: PLW0603 - there is one actor in a process
        self._body = _own_body = skate_body
        self._instance = skate_class.load()(*args, **kwargs)

    def skate_body(self) -> bytes:
        """What callers must know of it."""
        return self._body

    def skate_call(self, skate_name: str, *args: Any, **kwargs: Any) -> Any:
        """Calls a method."""
        with rays_exit():
            return self._result(skate_name, args, kwargs)

    def skate_stream(self, skate_name: str, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Calls a method with `yield`."""
        with rays_exit():
            yield from items_of(self._result(skate_name, args, kwargs))

    def skate_act(self, skate_name: str, *args: Any, **kwargs: Any) -> None:
        """Calls a method of which nobody wants anything."""
        with rays_exit():
            used_up(self._result(skate_name, args, kwargs))

    def _result(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = came(args, kwargs)
        if name == "__ray_ready__":
            return True
        if name == "__ray_call__":
            return args[0](self._instance, *args[1:], **kwargs)
        return getattr(self._instance, name)(*args, **kwargs)


class Loop(Turns):
    """An actor with an event loop."""

    async def skate_body(self) -> bytes:  # type: ignore[override] # Ray wants all of one kind
        """What callers must know of it."""
        return self._body

    async def skate_call(self, skate_name: str, *args: Any, **kwargs: Any) -> Any:
        """Calls a method."""
        with rays_exit():
            result = self._result(skate_name, args, kwargs)
            return await result if hasattr(result, "__await__") else result

    async def skate_act(  # type: ignore[override] # the same
        self, skate_name: str, *args: Any, **kwargs: Any
    ) -> None:
        """Calls a method of which nobody wants anything."""
        with rays_exit():
            result = self._result(skate_name, args, kwargs)
            if hasattr(result, "__aiter__"):
                async for _ in result:
                    pass
            elif hasattr(result, "__await__"):
                await result
            else:
                used_up(result)

    async def skate_stream(  # type: ignore[override] # the same
        self, skate_name: str, *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Calls a method with `yield`."""
        with rays_exit():
            items = self._result(skate_name, args, kwargs)
            if hasattr(items, "__aiter__"):
                async for item in items:
                    yield item
            else:
                for item in items:
                    yield item


@contextmanager
def rays_exit() -> Iterator[None]:
    """Ends the actor as Ray does where the user's code ends it as skate does."""
    from skate._actor_worker import ActorExit
    from skate.exceptions import AsyncioActorExit

    try:
        yield
    except (ActorExit, AsyncioActorExit):
        from ray.actor import exit_actor

        exit_actor()
