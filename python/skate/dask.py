"""`get`: a scheduler for dask. `dask.config.set(scheduler=skate.dask.get)`.

    dask's graph ─ in dask's order ─▶ one task for each key, with the refs of its keys as arguments

Invariant: values of the graph travel by reference: between tasks they never pass through this
program. The ref of a key is dropped when the last task that needs it has been submitted. A second
return of each task, of nothing, stays: whatever ends the call early, cancels by it.
"""

from __future__ import annotations

import contextlib

import skate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def _run(node: Any, names: list[Any], *values: Any) -> tuple[Any, None]:
    return node(dict(zip(names, values, strict=True))), None


def get(dsk: Mapping[Any, Any], keys: Any, **options: Any) -> Any:
    """Computes keys of a graph of dask's.

    Args:
        dsk: The graph.
        keys: One key, or lists of keys, nested to any depth.
        options: Those of dask's own schedulers (`num_workers`, `pool`, ...) have no effect;
            `ray_remote_args` are options of the tasks.

    Returns:
        The values, in lists that are nested as the keys were.

    Raises:
        Exception: what a key raised; the tasks that have not ended are cancelled, as by Ctrl-C.
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
    run = skate.remote(_run).options(**{**options.get("ray_remote_args", {}), "num_returns": 2})
    priorities = order(graph)
    refs: dict[Any, skate.ObjectRef[Any]] = {}
    marks: list[skate.ObjectRef[None]] = []
    order_of_keys = list(wanted)
    try:
        for key in sorted(graph, key=lambda each: priorities[each]):
            node = graph[key]
            if isinstance(node, DataNode):
                refs[key] = skate.put(node.value)
            else:
                names = list(node.dependencies)
                arguments = [refs[name] for name in names]
                refs[key], mark = run.options(name=_label(key)).remote(node, names, *arguments)
                marks.append(mark)
            for name in node.dependencies:
                users[name] -= 1
                if not users[name] and name not in wanted:
                    del refs[name]
        found = skate.get([refs[key] for key in order_of_keys])
    except BaseException:  # the first error, or Ctrl-C: nobody asks for the rest
        with contextlib.suppress(skate.exceptions.RayError):  # the session has ended, too
            for mark in reversed(marks):
                skate.cancel(mark)
        raise
    values = dict(zip(order_of_keys, found, strict=True))
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
