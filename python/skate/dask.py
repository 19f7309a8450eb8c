"""`get`: a scheduler for dask. `dask.config.set(scheduler=skate.dask.get)`.

    dask's graph ─ in dask's order ─▶ one task for each key, with the refs of its keys as arguments

Invariant: values of the graph travel by reference: between tasks they never pass through this
program. The ref of a key is dropped when the last task that needs it has been submitted.
"""

from __future__ import annotations

import skate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def _run(node: Any, names: list[Any], *values: Any) -> Any:
    return node(dict(zip(names, values, strict=True)))


def get(dsk: Mapping[Any, Any], keys: Any, **options: Any) -> Any:
    """Computes keys of a graph of dask's.

    Args:
        dsk: The graph.
        keys: One key, or lists of keys, nested to any depth.
        options: Those of dask's own schedulers (`num_workers`, `pool`, ...) have no effect;
            `ray_remote_args` are options of the tasks.

    Returns:
        The values, in lists that are nested as the keys were.
    """
    from dask._task_spec import DataNode, convert_legacy_graph
    from dask.order import order
    from dask.utils import ensure_dict

    if hasattr(dsk, "__dask_graph__"):  # a collection's expression
        dsk = dsk.__dask_graph__()
    wanted = set(_flat(keys))
    graph = _needed(convert_legacy_graph(ensure_dict(dsk)), wanted)
    users = dict.fromkeys(graph, 0)
    for node in graph.values():
        for name in node.dependencies:
            users[name] += 1
    run = skate.remote(_run).options(**options.get("ray_remote_args", {}))
    priorities = order(graph)
    refs: dict[Any, skate.ObjectRef[Any]] = {}
    for key in sorted(graph, key=lambda each: priorities[each]):
        node = graph[key]
        if isinstance(node, DataNode):
            refs[key] = skate.put(node.value)
        else:
            names = list(node.dependencies)
            arguments = [refs[name] for name in names]
            refs[key] = run.options(name=_label(key)).remote(node, names, *arguments)
        for name in node.dependencies:
            users[name] -= 1
            if not users[name] and name not in wanted:
                del refs[name]
    order_of_keys = list(wanted)
    values = dict(zip(order_of_keys, skate.get([refs[key] for key in order_of_keys]), strict=True))
    return _nested(keys, values)


ray_dask_get = get
"""Ray's name for it, in `ray.util.dask`."""


def _needed(graph: dict[Any, Any], wanted: set[Any]) -> dict[Any, Any]:
    """What the wanted keys need, themselves included."""
    needed: dict[Any, Any] = {}
    left = list(wanted)
    while left:
        key = left.pop()
        if key not in needed:
            needed[key] = graph[key]
            left.extend(graph[key].dependencies)
    return needed


def _flat(keys: Any) -> list[Any]:
    return [each for key in keys for each in _flat(key)] if isinstance(keys, list) else [keys]


def _nested(keys: Any, values: dict[Any, Any]) -> Any:
    if isinstance(keys, list):
        return tuple(_nested(key, values) for key in keys)
    return values[keys]


def _label(key: Any) -> str:
    """The part of a key that people know: `sum-aggregate` of `('sum-aggregate-8f…', 0)`."""
    text = str(key[0] if isinstance(key, tuple) else key)
    head, dash, _ = text.rpartition("-")
    return head if dash and head else text
