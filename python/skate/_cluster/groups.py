"""Placement groups and strategies: Ray's own, found by the names that skate's rows have.

    CPU_group_1_<key>, CPU_group_<key>, bundle_group_<key>  ─▶  num_cpus and Ray's strategy for
    (as `_group.in_group` writes them)                          bundle 1 of the group <key>

Invariant: a group's key is Ray's id in hex, so whoever has a handle finds the group anywhere.
"""

from __future__ import annotations

from skate._cluster.errors import translated
from skate._cluster.refs import ref_of
from skate._group import CAPTURE_UNITS, ENTRY, ENTRY_UNITS, plain_amounts
from skate._options import UNITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from skate._engine import Amounts, GroupRow
    from skate._native import ObjectRef


def split(amounts: Amounts) -> tuple[Amounts, Any]:
    """What is asked for by its plain names, and Ray's strategy if that is in a group."""
    rows = dict(amounts)
    entry = next((name for name in rows if name.startswith(ENTRY)), None)
    if entry is None:
        return amounts, None
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    key = entry.removeprefix(ENTRY)
    index = -1
    for name in rows:
        _, _, number = name.removesuffix(f"_{key}").rpartition("_group_")
        index = int(number) if number.isdigit() else index
    captures = rows[entry] >= CAPTURE_UNITS
    strategy = PlacementGroupSchedulingStrategy(_group(key), index, captures)
    return tuple(plain_amounts(amounts)), strategy


def strategy_of(strategy: Any) -> Any:
    """Ray's strategy for one of skate's that is about nodes."""
    if isinstance(strategy, str):
        return strategy
    from ray.util import scheduling_strategies as theirs

    return getattr(theirs, type(strategy).__name__)(**vars(strategy))


def reserve(name: str, strategy: str, bundles: Sequence[Amounts]) -> tuple[str, ObjectRef[None]]:
    """Makes a group: its key, and a ref that is ready when the resources are."""
    from ray.util import placement_group

    amounts = [{each: amount / UNITS for each, amount in bundle} for bundle in bundles]
    with translated():
        made = placement_group(amounts, strategy=strategy, name=name)
        return made.id.hex(), ref_of(made.ready())


def remove(key: str) -> None:
    """Gives the resources of a group back."""
    from ray.util import remove_placement_group

    with translated():
        remove_placement_group(_group(key))


def rows() -> list[GroupRow]:
    """Key, name, strategy, state and bundles of each."""
    from ray.util import placement_group_table

    return [
        (
            key,
            row["name"],
            row["strategy"],
            row["state"],
            [
                [(name, round(amount * UNITS)) for name, amount in sorted(bundle.items())]
                for _, bundle in sorted(row["bundles"].items())
            ],
        )
        for key, row in placement_group_table().items()
    ]


def current() -> list[tuple[str, int]]:
    """The pass of the group that the calling task or actor is in, if it is in one."""
    import ray
    from ray.util import get_current_placement_group

    group = get_current_placement_group()
    if group is None:
        return []
    context = ray.get_runtime_context()
    captures = context.should_capture_child_tasks_in_placement_group
    return [(f"{ENTRY}{group.id.hex()}", CAPTURE_UNITS if captures else ENTRY_UNITS)]


def _group(key: str) -> Any:
    from ray import PlacementGroupID
    from ray.util.placement_group import PlacementGroup

    return PlacementGroup(PlacementGroupID(bytes.fromhex(key)))
