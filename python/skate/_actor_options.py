"""The options of actors: one table, beside that of remote functions.

    {"max_restarts": 2, ...} ─ check ─▶ each value alone ─ ActorOptions ─▶ what the node is told

Invariant: as for functions (`_options`): an option that is not in the table is an error. Wording is
Ray's where users' tests may match it.
"""

from __future__ import annotations

from skate import _checks, _options
from skate._options import UNITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from skate._options import Check, Types

WINDOW = "actor_generator_backpressure_num_objects"
_NONE = type(None)
_ASYNC_CONCURRENCY = 1000
_CONCURRENCY_MAX = 60_000
"""Calls at once of one process, all groups together: each has a slot in shared memory."""
_WINDOW_MAX = 2**32
_RESTARTS_MAX = 2**31 - 1


def _check_lifetime(_name: str, value: str | None) -> None:
    if value not in (None, "detached", "non_detached"):
        msg = "actor `lifetime` argument must be one of 'detached', 'non_detached' and 'None'."
        raise ValueError(msg)


def _check_name(name: str, value: str | None) -> None:
    if value == "":
        msg = f"Actor {name} cannot be an empty string."
        raise ValueError(msg)


def _check_concurrency(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        msg = f"The keyword '{name}' only accepts None or an integer from 1, but received {value}"
        raise ValueError(msg)


def _check_pending(name: str, value: int | None) -> None:
    if value is not None and value < -1:
        msg = (
            f"The keyword '{name}' only accepts None, 0, -1 or a positive integer, where -1 and 0 "
            f"mean that there is no limit."
        )
        raise ValueError(msg)


def _check_window(name: str, value: int | None) -> None:
    if value is not None and not 0 < value < _WINDOW_MAX and value != -1:
        msg = (
            f"{name} must be > 0 to cap the actor's total unconsumed generator objects, or -1 to "
            f"disable. Got {value}."
        )
        raise ValueError(msg)


def _check_groups(name: str, value: Mapping[Any, Any] | list[Any] | None) -> None:
    if isinstance(value, list):
        for each in value:
            _checks.mapping(f"an item of '{name}'", each)
        names = [each.get("name") for each in value]
        for each in names:
            if names.count(each) > 1:
                msg = f"'{name}' has two groups of the name {each!r}"
                raise ValueError(msg)
        value = {each.get("name"): each.get("max_concurrency") for each in value}
    for group, limit in (value or {}).items():
        is_name = isinstance(group, str) and group != ""
        if not is_name or not isinstance(limit, int) or limit < 1:
            msg = f"'{name}' maps names to positive integers, but has {group!r}: {limit!r}"
            raise ValueError(msg)


def _anything(_name: str, _value: object) -> None:
    pass


_INT: Types = (int, _NONE)
_SHARED = (
    "num_cpus", "num_gpus", "memory", "resources", "accelerator_type", "label_selector",
    "fallback_strategy", "scheduling_strategy", _options.GROUP, _options.BUNDLE, _options.CAPTURE,
    "runtime_env", "enable_task_events", "_metadata", "_labels", "retry_exceptions",
)  # fmt: skip

TABLE: dict[str, tuple[Types, Check]] = {
    **{name: _options.TABLE[name] for name in _SHARED},
    # how long it lives
    "lifetime": ((str, _NONE), _check_lifetime),
    "max_restarts": (_INT, _options.check_max_retries),
    # how it is found
    "name": ((str, _NONE), _check_name),
    "namespace": ((str, _NONE), _check_name),
    "get_if_exists": ((bool,), _anything),
    # how its calls run
    "max_concurrency": (_INT, _check_concurrency),
    "concurrency_groups": ((dict, list, _NONE), _check_groups),
    "allow_out_of_order_execution": ((bool, _NONE), _anything),
    "max_pending_calls": (_INT, _check_pending),
    "max_task_retries": (_INT, _options.check_max_retries),
    WINDOW: (_INT, _check_window),
    f"_{WINDOW}": (_INT, _check_window),
}


def check(options: Mapping[str, Any]) -> dict[str, Any]:
    """Checks each option by itself; see `_options.check`."""
    return _options.check(options, TABLE, "actors")


class ActorOptions:
    """Options as the node wants them; `of`, for errors, is the class.

    Attributes:
        resources: What it holds while it lives; in units of 1/10000.
        placing: What the machine must have, in all, for it to be placed.
        groups: Names of the concurrency groups, the default one ("") first.
        lanes: Calls at once in each.
        serves: `"turns"`, `"threads"` or `"loop"`.
        strategy: Where to run, if that is about nodes; None on any.
        selectors: Labels of a node on which it may run, those of any one; empty for any node.
        in_order: Whether one caller's calls start in the order of their submission.
        max_restarts: -1 for ever.
        max_task_retries: Default of its methods; -1 for ever.
        retry_exceptions: Default of its methods.
        max_pending_calls: 0 for no limit.
        window: Unread items in all streams of its methods together; None for no limit.
        name, namespace: None if it has none.
        get_if_exists, is_detached: As their options say.
        env: Its `runtime_env`, as `_runtime_env.plain` gives it.
    """

    __slots__ = (
        "env",
        "get_if_exists",
        "groups",
        "in_order",
        "is_detached",
        "lanes",
        "max_pending_calls",
        "max_restarts",
        "max_task_retries",
        "name",
        "namespace",
        "placing",
        "resources",
        "retry_exceptions",
        "selectors",
        "serves",
        "strategy",
        "window",
    )

    def __init__(self, of: str, options: Mapping[str, Any], *, is_async: bool) -> None:
        self.resources = _options.resources_of(of, options, 0)
        self.strategy = _options.strategy_of(options)
        self.selectors = _options.selectors_of(options)
        asked = options.get("scheduling_strategy")
        is_given = options.get("num_cpus") is not None or hasattr(asked, "placement_group")
        self.placing: tuple[tuple[str, int], ...] = () if is_given else (("CPU", UNITS),)
        concurrency = options.get("max_concurrency") or (_ASYNC_CONCURRENCY if is_async else 1)
        groups = options.get("concurrency_groups") or {}
        if isinstance(groups, list):
            groups = {each["name"]: each["max_concurrency"] for each in groups}
        self.groups = ["", *groups]
        self.lanes = [concurrency, *groups.values()]
        if sum(self.lanes) > _CONCURRENCY_MAX:
            msg = (
                f"max_concurrency and concurrency_groups allow {sum(self.lanes)} calls at once, "
                f"but one actor can run {_CONCURRENCY_MAX} at most"
            )
            raise ValueError(msg)
        takes_turns = self.lanes == [1]
        self.serves = "loop" if is_async else "turns" if takes_turns else "threads"
        self.in_order = (
            takes_turns and not is_async and not options.get("allow_out_of_order_execution")
        )
        window = options.get(WINDOW, options.get(f"_{WINDOW}"))
        self.window: int | None = None if window == -1 else window
        self.max_restarts: int = min(options.get("max_restarts") or 0, _RESTARTS_MAX)
        self.max_task_retries: int = min(options.get("max_task_retries") or 0, _RESTARTS_MAX)
        self.retry_exceptions = options.get("retry_exceptions", False)
        self.max_pending_calls: int = max(options.get("max_pending_calls") or 0, 0)
        self.name: str | None = options.get("name")
        self.namespace: str | None = options.get("namespace")
        self.get_if_exists: bool = options.get("get_if_exists", False)
        self.env = _options.env_of(options)
        self.is_detached = options.get("lifetime") == "detached"
        if self.get_if_exists and self.name is None:
            msg = "The actor name must be specified to use `get_if_exists`."
            raise ValueError(msg)
