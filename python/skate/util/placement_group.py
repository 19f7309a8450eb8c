"""Placement groups: resources set aside, bundle by bundle, for those who are told to use them.

    placement_group([{"CPU": 1}, {"CPU": 2}]) ─ reserved as soon as it fits ─▶ ready
    f.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, 1)) ─▶ runs in bundle 1

Invariant: a group lives until `remove_placement_group`, or the end of the session. On one machine
all strategies are the same: everything is close together, and nothing can be spread. On a cluster
groups and strategies are Ray's.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from types import ModuleType

import skate
from skate import _checks, _session
from skate._group import bundle_rows, check_group, current_key
from skate._ids import JOB_ID, PlacementGroupID
from skate._options import UNITS
from skate.util.scheduling_strategies import PlacementGroupSchedulingStrategy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


class PlacementGroup:
    """A handle on a placement group. It can be passed on; dropping it does not remove the group."""

    def __init__(
        self, key: str, bundles: list[dict[str, float]], placed: skate.ObjectRef[None] | None
    ) -> None:
        self.id = PlacementGroupID.from_hex(key)
        self.bundle_specs = bundles
        self._placed = placed

    @property
    def bundle_count(self) -> int:
        """Number of bundles."""
        return len(self.bundle_specs)

    @property
    def is_empty(self) -> bool:
        """Whether it stands for no group: `placement_group` makes none that does."""
        return self.id.is_nil()

    def ready(self) -> skate.ObjectRef[PlacementGroup]:
        """A ref that is ready when the resources are; its value is the group.

        If the group is removed, it raises `TaskPlacementGroupRemoved`.

        Raises:
            RaySystemError: the session of the group has ended, and there is no other.
        """
        _session.of(self)
        within = PlacementGroupSchedulingStrategy(self)
        same = _same.options(name="placement_group.ready", scheduling_strategy=within)
        # Whoever asks what it waits for hears of the group rather than of a task in it.
        return same.remote(self, self._placed)

    def wait(self, timeout_seconds: float = 30) -> bool:
        """Whether the resources are there within that time.

        Raises:
            ValueError: the group was removed.
        """
        if (
            self._placed is None
        ):  # it was found, or passed on: asked once, however often it is looked at
            within = PlacementGroupSchedulingStrategy(self)
            here = _nothing.options(name="placement_group.wait", scheduling_strategy=within)
            self._placed = here.remote()
        if not skate.wait([self._placed], timeout=timeout_seconds)[0]:
            return False
        key = self.id.hex()
        rows = _session.connect().groups()
        if not any(row[0] == key and row[3] != "REMOVED" for row in rows):
            msg = f"Placement group {key} does not exist: it was removed."
            raise ValueError(msg)
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"PlacementGroup({self.id.hex()}, {self.bundle_specs})"


@skate.remote(num_cpus=0)
def _nothing() -> None: ...


@skate.remote(num_cpus=0)
def _same(group: PlacementGroup, _placed: None) -> PlacementGroup:
    return group


def placement_group(
    bundles: list[dict[str, float]],
    strategy: str = "PACK",
    name: str = "",
    lifetime: str | None = None,
    **_others: Any,
) -> PlacementGroup:
    """Sets resources aside.

    Args:
        bundles: Amounts by name for each bundle: `"CPU"`, `"GPU"`, `"memory"` or a custom resource.
        strategy: Accepted: `"PACK"`, `"SPREAD"`, `"STRICT_PACK"` or `"STRICT_SPREAD"`.
        name: For people.
        lifetime: None or `"detached"`; every group lives as long as the session.

    Returns:
        A handle at once; `ready` and `wait` tell when the resources are there.

    Raises:
        TypeError: the name is no str, or an amount is no number.
        ValueError: an argument is out of range.

    Rule: semantics.md 5.12; wording of Ray 2.60.
    """
    given: object = bundles
    if not isinstance(given, list) or not given:
        msg = f"The type of bundles must be a nonempty list, got {bundles!r}"
        raise ValueError(msg)
    if strategy not in _STRATEGIES:
        msg = (
            f"Invalid placement group strategy {strategy}. Supported strategies are: {_STRATEGIES}."
        )
        raise ValueError(msg)
    if lifetime not in (None, "detached"):
        msg = "placement group `lifetime` argument must be either `None` or 'detached'"
        raise ValueError(msg)
    _checks.text("placement_group: name", name)
    rows = [bundle_rows(bundle) for bundle in bundles]
    client = _session.connect()
    key = os.urandom(14).hex() + JOB_ID
    try:
        placed = client.reserve(key, name, strategy, rows)
        if isinstance(placed, tuple):  # a cluster names its groups itself
            key, placed = placed
        return PlacementGroup(key, [dict(bundle) for bundle in bundles], placed)
    except BaseException:  # a KeyboardInterrupt may come at any line; nobody else has the key
        with suppress(Exception):  # perhaps there is no such group yet, or no session any more
            client.remove_group(key)
        raise


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Gives the resources back. Tasks and actors in the group end with an error.

    Nothing happens to one of an earlier session, whose resources went with that.

    Raises:
        TypeError: it is no group.
    """
    check_group("remove_placement_group: placement_group", placement_group)
    if (client := _session.client) is not None:
        client.remove_group(placement_group.id.hex())


def placement_group_table(placement_group: PlacementGroup | None = None) -> dict[str, Any]:
    """What is known of a group, or (None) of each by its id.

    Nothing, `{}`, of one of an earlier session, or that was removed long ago.

    Raises:
        TypeError: it is no group.
    """
    if placement_group is not None:
        check_group("placement_group_table: placement_group", placement_group)
    client = _session.connect() if placement_group is None else _session.client
    rows = {
        key: {
            "placement_group_id": key,
            "name": name,
            "bundles": {
                index: {each: amount / UNITS for each, amount in bundle}
                for index, bundle in enumerate(bundles)
            },
            "strategy": strategy,
            "state": state,
        }
        for key, name, strategy, state, bundles in (client.groups() if client else ())
    }
    return rows if placement_group is None else rows.get(placement_group.id.hex(), {})


def get_placement_group(placement_group_name: str) -> PlacementGroup:
    """The group of that name.

    Raises:
        TypeError: the name is no str.
        ValueError: there is none.
    """
    _checks.text("get_placement_group: placement_group_name", placement_group_name)
    for key, name, _, state, bundles in _session.connect().groups():
        if name == placement_group_name and name and state != "REMOVED":
            return _found(key, bundles)
    msg = f"Failed to look up placement group with name: {placement_group_name}"
    raise ValueError(msg)


def get_current_placement_group() -> PlacementGroup | None:
    """The group in which the calling task or actor runs; None outside of groups."""
    client = _session.connect()
    key = current_key(client)
    for other, _, _, _, bundles in client.groups() if key else ():
        if other == key:
            return _found(other, bundles)
    return None


def _found(key: str, bundles: list[list[tuple[str, int]]]) -> PlacementGroup:
    amounts = [{name: amount / UNITS for name, amount in bundle} for bundle in bundles]
    return PlacementGroup(key, amounts, None)


class _Module(ModuleType):
    """This module has the name of its own function, as in Ray: importing one hides the other."""

    def __call__(self, *args: Any, **kwargs: Any) -> PlacementGroup:
        return placement_group(*args, **kwargs)


sys.modules[__name__].__class__ = _Module
