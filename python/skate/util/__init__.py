"""Ray's `util`: what is written on the public API. Each part is imported when it is first used."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from skate.actor import list_named_actors as list_named_actors
    from skate.util.actor_pool import ActorPool as ActorPool

_WHERE = {
    "ActorPool": "skate.util.actor_pool",
    "list_named_actors": "skate.actor",
}

__all__ = ["ActorPool", "list_named_actors"]


def __getattr__(name: str) -> object:
    where = _WHERE.get(name)
    if where is None:
        msg = f"module 'skate.util' has no attribute '{name}'"
        raise AttributeError(msg)
    from importlib import import_module

    value: object = getattr(import_module(where), name)
    globals()[name] = value
    return value
