"""How a task or actor asks for resources of a placement group: by the names of the group's rows.

    {"CPU": 1} in bundle 0 of group k ─▶ CPU_group_0_k, CPU_group_k, bundle_group_k (a pass)

Invariant: the pass is asked for by everybody in a group, so who asks for nothing else waits for the
group, too, and a worker sees in its resources in which group it runs.
"""

from __future__ import annotations

from skate import _checks
from skate._options import CAPTURE, UNITS, check_gpus, check_quantity, units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from skate._engine import Client

    Amounts = tuple[tuple[str, int], ...]

ENTRY = "bundle_group_"
CAPTURE_UNITS = 2
ENTRY_UNITS = 1


def bundle_rows(bundle: Mapping[str, float]) -> list[tuple[str, int]]:
    """Name and amount in units of 1/10000, checked."""
    where = "placement_group: bundles"
    if isinstance(bundle, dict):
        for name, amount in bundle.items():
            check_quantity(f"{_checks.text(f'a name of {where}', name)} ({where})", amount)
    if not isinstance(bundle, dict) or not any(bundle.values()):
        msg = f"Bundles must be a non-empty list of resource dictionaries, got {bundle!r}"
        raise ValueError(msg)
    check_gpus(bundle.get("GPU"))
    return [(name, units(amount)) for name, amount in sorted(bundle.items()) if amount]


def check_group(what: str, group: Any) -> None:
    """Raises TypeError unless it is a placement group."""
    from skate.util.placement_group import PlacementGroup

    if not isinstance(group, PlacementGroup):
        raise TypeError(_checks.refusal(what, group, "a PlacementGroup"))


def in_group(of: str, amounts: Amounts, strategy: Any, *, captures: bool) -> Amounts:
    """What is to be asked for in place of `amounts`.

    Args:
        of: Who asks, for errors.
        amounts: What is asked for.
        strategy: The group, the bundle, and whether children are captured.
        captures: Whether they are if the strategy does not say.

    Raises:
        TypeError: the strategy has something else than a group and a number.
        ValueError: there is no such bundle, or it is too small for ever.
    """
    group = strategy.placement_group
    if group is None:
        return amounts
    check_group("PlacementGroupSchedulingStrategy: placement_group", group)
    index = strategy.placement_group_bundle_index
    _checks.whole("placement_group_bundle_index", index, -(2**31), 2**31 - 1)
    bundles = [dict(bundle_rows(bundle)) for bundle in group.bundle_specs]
    if not -1 <= index < len(bundles):
        msg = (
            f"placement group bundle index {index} is invalid. Valid placement group indexes: "
            f"0-{len(bundles) - 1}"
        )
        raise ValueError(msg)
    candidates = bundles if index == -1 else [bundles[index]]
    if not any(all(b.get(name, 0) >= n for name, n in amounts) for b in candidates):
        asked = {name: n // UNITS if n % UNITS == 0 else n / UNITS for name, n in amounts}
        msg = (
            f"Cannot schedule {of} with the placement group because the resource request "
            f"{asked} cannot fit into any bundles for the placement group, "
            f"{group.bundle_specs}."
        )
        raise ValueError(msg)
    key = group.id.hex()
    if strategy.placement_group_capture_child_tasks is not None:
        captures = strategy.placement_group_capture_child_tasks
    rows = [(f"{ENTRY}{key}", CAPTURE_UNITS if captures else ENTRY_UNITS)]
    for name, amount in amounts:
        rows.append((f"{name}_group_{key}", amount))
        if index >= 0:
            rows.append((f"{name}_group_{index}_{key}", amount))
    return tuple(sorted(rows))


def plain_amounts(amounts: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """The same by the names that the machine has for them, without passes."""
    rows = dict(amounts)
    key = next((name.removeprefix(ENTRY) for name in rows if name.startswith(ENTRY)), None)
    for name, amount in rows.items():
        if key is None:
            yield name, amount
        elif name.endswith(f"_group_{key}") and not name.startswith(ENTRY):
            yield name.removesuffix(f"_group_{key}"), amount


def current_key(client: Client, *, captured: bool = False) -> str | None:
    """Key of the group in which the calling code runs; with `captured`, if that captures."""
    for name, amount in client.current_resources():
        if name.startswith(ENTRY) and (not captured or amount >= CAPTURE_UNITS):
            return name.removeprefix(ENTRY)
    return None


def capturing(client: Client, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, with the group of the calling code if that, or the call, captures."""
    captures = options.get(CAPTURE)
    is_said = options.get("scheduling_strategy") is not None or captures is False
    if client.is_driver or is_said or current_key(client, captured=captures is None) is None:
        return dict(options)
    from skate.util.placement_group import get_current_placement_group
    from skate.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    strategy = PlacementGroupSchedulingStrategy(get_current_placement_group(), -1, True)  # noqa: FBT003
    return {**options, "scheduling_strategy": strategy}
