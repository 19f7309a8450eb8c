"""Whether this machine is where a task or actor must run: its labels, its id.

    label_selector, fallback_strategy ─ check_selector, check_fallback ─▶ as texts, when given
                                      ─ check ─▶ against the node, at the first call in a session

Invariant: there is one node, so what it does not satisfy now it never will: that is an error of the
call. On a cluster strategies are Ray's.
"""

from __future__ import annotations

from skate import _checks, _ids, _session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from skate._actor_options import ActorOptions
    from skate._engine import Client
    from skate._options import Resolved
    from skate.exceptions import RayError

_NODE_ID = "ray.io/node-id"
_PUNCTUATION = dict.fromkeys(map(ord, "-_."))


def check_selector(name: str, selector: Mapping[Any, Any] | None) -> None:
    """Checks `{"zone": "a", "kind": "!in(b, c)"}`.

    Raises:
        TypeError: it is no dict of texts.
        ValueError: a text is no value, no list of values, and nothing negated.
    """
    if selector is None:
        return
    for key, condition in _checks.mapping(name, selector).items():
        what = f"{name}[{_checks.text(f'a key of {name}', key)!r}]"
        _, values = _parsed(_checks.text(what, condition))
        if not all(value.translate(_PUNCTUATION).isalnum() for value in values if value):
            expected = "'a value', '!a value', 'in(a, b)' or '!in(a, b)'"
            raise ValueError(_checks.refusal(what, condition, expected))


def check_fallback(name: str, fallbacks: list[Any] | None) -> None:
    """Checks a list of what may be selected instead: `[{"label_selector": {...}}]`."""
    for number, each in enumerate(fallbacks or ()):
        what = f"{name}[{number}]"
        if list(_checks.mapping(what, each)) != ["label_selector"]:
            raise ValueError(_checks.refusal(what, each, "{'label_selector': {...}}"))
        check_selector(f"{what}['label_selector']", each["label_selector"])


def _parsed(condition: str) -> tuple[bool, list[str]]:
    """Whether it is negated, and the values."""
    rest = condition.removeprefix("!")
    values = [rest]
    if rest.startswith("in(") and rest.endswith(")"):
        values = [value.strip() for value in rest[3:-1].split(",")]
    return rest != condition, values


def labels(client: Client) -> dict[str, str]:
    """Of this node: what `init(labels=...)` said, and its id. Of a cluster's none are known."""
    if hasattr(client, "nodes"):
        return {}
    said = _session.machine.labels if _session.machine else _session.labels
    return {**said, _NODE_ID: _ids.node_id(client)}


def check(
    client: Client,
    name: str,
    resolved: Resolved | ActorOptions,
    unschedulable: type[RayError],
) -> None:
    """Checks that this machine is where it must run.

    Raises:
        RayError: a strategy names another node, and no other will do: of the given class.
        ValueError: the labels of the node are not those that are selected.
    """
    strategy, selectors = resolved.strategy, resolved.selectors
    if hasattr(client, "nodes"):  # an engine with nodes of its own
        if selectors:
            msg = f"{name}: label_selector={selectors[0]!r} does not reach a cluster: leave it out"
            raise ValueError(msg)
        return
    if hasattr(strategy, "node_id") and not strategy.soft:
        here = _ids.node_id(client)
        if _ids.text(strategy.node_id) != here:
            msg = (
                f"{name} cannot run: its strategy allows only the node {strategy.node_id!r}, but "
                f"there is one node, {here!r}. With soft=True it would run here."
            )
            raise unschedulable(msg)
    if selectors:
        there = labels(client)
        if not any(_selects(selector, there) for selector in selectors):
            msg = (
                f"{name} cannot run: label_selector={selectors[0]!r}, but the labels of the one "
                f"node are {there!r}"
            )
            raise ValueError(msg)


def _selects(selector: Mapping[str, str], there: Mapping[str, str]) -> bool:
    for key, condition in selector.items():
        is_negated, values = _parsed(condition)
        if (there.get(key) in values) == is_negated:
            return False
    return True
