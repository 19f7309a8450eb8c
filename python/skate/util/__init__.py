"""Ray's `util`: what is written on the public API. Each part is imported when it is first used."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from skate.actor import list_named_actors as list_named_actors
    from skate.util.actor_pool import ActorPool as ActorPool
    from skate.util.placement_group import (
        get_current_placement_group as get_current_placement_group,
    )
    from skate.util.placement_group import get_placement_group as get_placement_group
    from skate.util.placement_group import placement_group as placement_group
    from skate.util.placement_group import placement_group_table as placement_group_table
    from skate.util.placement_group import remove_placement_group as remove_placement_group
    from skate.util.serializers import deregister_serializer as deregister_serializer
    from skate.util.serializers import inspect_serializability as inspect_serializability
    from skate.util.serializers import register_serializer as register_serializer

_WHERE = {
    "ActorPool": "skate.util.actor_pool",
    "deregister_serializer": "skate.util.serializers",
    "get_current_placement_group": "skate.util.placement_group",
    "get_placement_group": "skate.util.placement_group",
    "inspect_serializability": "skate.util.serializers",
    "list_named_actors": "skate.actor",
    "placement_group": "skate.util.placement_group",
    "placement_group_table": "skate.util.placement_group",
    "register_serializer": "skate.util.serializers",
    "remove_placement_group": "skate.util.placement_group",
}

__all__ = [
    "ActorPool",
    "deregister_serializer",
    "get_current_placement_group",
    "get_placement_group",
    "inspect_serializability",
    "list_named_actors",
    "placement_group",
    "placement_group_table",
    "register_serializer",
    "remove_placement_group",
]


def __getattr__(name: str) -> object:
    where = _WHERE.get(name)
    if where is None:
        msg = f"module 'skate.util' has no attribute '{name}'"
        raise AttributeError(msg)
    from importlib import import_module

    value: object = getattr(import_module(where), name)
    globals()[name] = value
    return value
