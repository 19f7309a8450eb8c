"""Ray's `util`: what is written on the public API. Each part is imported when it is first used."""

# No `annotations` of `__future__`: one of Ray's modules here has that name.

TYPE_CHECKING = False
if TYPE_CHECKING:
    from skate._report import report as report
    from skate.actor import list_named_actors as list_named_actors
    from skate.util._progress import progress as progress
    from skate.util.actor_pool import ActorPool as ActorPool
    from skate.util.helpers import as_completed as as_completed
    from skate.util.helpers import disable_log_once_globally as disable_log_once_globally
    from skate.util.helpers import enable_periodic_logging as enable_periodic_logging
    from skate.util.helpers import get_node_ip_address as get_node_ip_address
    from skate.util.helpers import log_once as log_once
    from skate.util.helpers import map_unordered as map_unordered
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
    "as_completed": "skate.util.helpers",
    "deregister_serializer": "skate.util.serializers",
    "disable_log_once_globally": "skate.util.helpers",
    "enable_periodic_logging": "skate.util.helpers",
    "get_current_placement_group": "skate.util.placement_group",
    "get_node_ip_address": "skate.util.helpers",
    "get_placement_group": "skate.util.placement_group",
    "inspect_serializability": "skate.util.serializers",
    "list_named_actors": "skate.actor",
    "log_once": "skate.util.helpers",
    "map_unordered": "skate.util.helpers",
    "placement_group": "skate.util.placement_group",
    "placement_group_table": "skate.util.placement_group",
    "progress": "skate.util._progress",
    "register_serializer": "skate.util.serializers",
    "remove_placement_group": "skate.util.placement_group",
    "report": "skate._report",
}

_OWN_MODULES = {"serializers": "skate.util.serializers"}

__all__ = [
    "ActorPool",
    "as_completed",
    "deregister_serializer",
    "disable_log_once_globally",
    "enable_periodic_logging",
    "get_current_placement_group",
    "get_node_ip_address",
    "get_placement_group",
    "inspect_serializability",
    "list_named_actors",
    "log_once",
    "map_unordered",
    "placement_group",
    "placement_group_table",
    "progress",
    "register_serializer",
    "remove_placement_group",
    "report",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    where = _WHERE.get(name)
    if where is not None:
        value: object = getattr(import_module(where), name)
    else:
        # Ray's users write `ray.util.queue.Queue` after `import ray` alone.
        from skate._ray_names import MODULES, missing

        module = MODULES.get(f"ray.util.{name}", _OWN_MODULES.get(name))
        if module is None:
            raise missing("skate.util", name)
        value = import_module(module)
    globals()[name] = value
    return value
