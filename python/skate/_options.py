"""The options of remote functions and of actors' methods: tables of name, types, check.

    {"num_cpus": 2, ...} ─ check ─▶ each value alone ─ resolve ─▶ Resolved: what the node is told

Invariant: an option is in the table only if it does what its name says, or if semantics.md calls it
"accepted". Anything else is an unknown keyword: nothing is ignored in silence. Wording is Ray's
where users' tests may match it.
"""

from __future__ import annotations

from skate import _checks
from skate._native import DYNAMIC, STREAMING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TypeAlias

    Types: TypeAlias = tuple[type, ...]
    Check: TypeAlias = Callable[[str, Any], None]

UNITS = 10_000
"""Parts of one unit of a resource: amounts are rounded to 0.0001."""
AMOUNT_MAX = 2**61 // UNITS
"""The largest amount: two of them still add up in the core."""

GROUP = "placement_group"
BUNDLE = "placement_group_bundle_index"
CAPTURE = "placement_group_capture_child_tasks"
_NOT_SAID = "default"
"""For `GROUP`: that of the calling code, if that captures. None is outside of any."""

WINDOW = "generator_backpressure_num_objects"
WINDOW_BYTES = "generator_backpressure_num_bytes"
ON_DROP = "generator_on_drop"
STRICT = "strict_num_returns"
_WINDOW_ALIAS = "_" + WINDOW
_NONE = type(None)
_WINDOW_MAX = 2**32 - 1
_BYTES_MAX = 2**63 - 1
_STRATEGIES = ("PlacementGroupSchedulingStrategy", "NodeAffinitySchedulingStrategy")
_RETURNS_MAX = 2**32 - 1


class Resolved:
    """Options as the node wants them; `of`, for errors, is the function.

    Attributes:
        resources: Name and amount in units of 1/10000, sorted, without zeros.
        returns: Number of static returns, `DYNAMIC` or `STREAMING`.
        max_retries: -1 for ever.
        retry_exceptions: All, none, or a pickled tuple of classes.
        window: Most unread items of a stream, or None.
        window_bytes: Most bytes of unread items, or None.
        closes_on_drop: Whether a generator that nobody holds is closed.
        max_calls: After so many calls the worker leaves; 0: never.
        is_strict: Whether a wrong number of yields is the error of the last return.
        name: Of the task, for people; None for the function's own.
        strategy: Where to run, if that is about nodes; None on any.
        selectors: Labels of a node on which it may run, those of any one; empty for any node.
        env: Its `runtime_env`, as `_runtime_env.plain` gives it.
    """

    __slots__ = (
        "closes_on_drop",
        "env",
        "is_strict",
        "max_calls",
        "max_retries",
        "name",
        "resources",
        "retry_exceptions",
        "returns",
        "selectors",
        "strategy",
        "window",
        "window_bytes",
    )

    def __init__(self, of: str, options: Mapping[str, Any], *, is_generator: bool) -> None:
        self.resources = resources_of(of, options, 1)
        self.returns = returns_of(options.get("num_returns"), is_generator=is_generator)
        retries = options.get("max_retries")
        self.max_retries: int = 3 if retries is None else min(retries, 2**31 - 1)
        self.retry_exceptions = retry_exceptions_of(options.get("retry_exceptions", False))
        self.window = window_of(WINDOW, options.get(WINDOW), self.returns)
        self.window_bytes = window_of(WINDOW_BYTES, options.get(WINDOW_BYTES), self.returns)
        self.closes_on_drop = closes_on_drop_of(options.get(ON_DROP), self.returns)
        self.is_strict = is_strict_of(options.get(STRICT), self.returns)
        self.name: str | None = options.get("name")
        self.max_calls: int = options.get("max_calls") or 0
        self.strategy = strategy_of(options)
        self.selectors = selectors_of(options)
        self.env = env_of(options)

    def key(self) -> tuple[object, ...]:
        """Equal for options that may share a template."""
        return (
            self.resources,
            self.returns,
            self.max_retries,
            self.retry_exceptions,
            self.window,
            self.window_bytes,
            self.closes_on_drop,
            self.is_strict,
            self.max_calls,
            strategy_key(self.strategy),
            repr(self.env) if self.env else "",
        )


def check_quantity(name: str, value: Any) -> None:
    """Checks an amount of a resource.

    Raises:
        TypeError: it is no number.
        ValueError: it is out of range, or so small that it would count as nothing.
    """
    what = f"The quantity of resource {name}"
    amount = _checks.number(what, value)
    if amount < 0:
        msg = f"{what} cannot be negative"
        raise ValueError(msg)
    _checks.within(what, amount, 0, AMOUNT_MAX)
    if 0 < amount < 1 / UNITS:
        msg = f"The precision of the fractional quantity of resource {name} cannot go beyond 0.0001"
        raise ValueError(msg)


def _quantity(name: str, value: float | None) -> None:
    if value is not None:
        check_quantity(name, value)


def check_gpus(value: float | None) -> None:
    """Raises ValueError for more than one GPU and a part of another."""
    if value is not None and value > 1 and value != int(value):
        msg = (
            "GPU resource quantities >1 must be whole numbers. "
            f"The specified quantity {value} is invalid."
        )
        raise ValueError(msg)


def _check_num_gpus(name: str, value: float | None) -> None:
    _quantity(name, value)
    check_gpus(value)


def check_resources(name: str, value: Mapping[Any, Any] | None) -> None:
    """Checks a dict of custom resources.

    Raises:
        TypeError: it is no dict, a name is no str, or a quantity no number.
        ValueError: it names what has a keyword of its own, or a quantity is out of range.
    """
    if value is None:
        return
    _checks.mapping(name, value)
    if "CPU" in value or "GPU" in value:
        msg = (
            "Use the 'num_cpus' and 'num_gpus' keyword instead of 'CPU' and 'GPU' in 'resources' "
            "keyword"
        )
        raise ValueError(msg)
    if reserved := {"memory", "object_store_memory"} & value.keys():
        msg = f"{name} must not contain {sorted(reserved)}: only others, and memory has a keyword"
        raise ValueError(msg)
    for resource, quantity in value.items():
        check_quantity(_checks.text(f"a name of {name}", resource), quantity)


def _check_num_returns(_name: str, value: object) -> None:
    is_count = isinstance(value, int) and 0 <= value <= _RETURNS_MAX
    is_mode = isinstance(value, str) and value in {"dynamic", "streaming"}
    if not (value is None or is_count or is_mode):
        msg = (
            "The keyword 'num_returns' only accepts None, a non-negative integer, 'streaming' (for "
            f"generators), or 'dynamic', but received {value!r}. None means 1 for a function and "
            "'streaming' for a generator function."
        )
        raise ValueError(msg)


def _check_max_calls(name: str, value: int | None) -> None:
    if value is not None and value < 0:
        msg = (
            f"The keyword '{name}' only accepts None, 0 (a worker never leaves for that) or a "
            f"positive integer, but received {value}"
        )
        raise ValueError(msg)


def check_max_retries(name: str, value: int | None) -> None:
    """Raises ValueError unless it is None, -1 (for ever) or a count."""
    if value is not None and value < -1:
        msg = (
            f"The keyword '{name}' only accepts None, 0, -1 or a positive integer, where -1 "
            "represents infinity."
        )
        raise ValueError(msg)


def _check_retry_exceptions(_name: str, value: object) -> None:
    if isinstance(value, list | tuple) and not all(
        isinstance(each, type) and issubclass(each, BaseException) for each in value
    ):
        msg = "retry_exceptions must be either a boolean or a list of exceptions"
        raise ValueError(msg)


def _check_window(name: str, value: int | None) -> None:
    if value == 0:
        msg = (
            f"{name}=0 is not allowed. Use a value > 0. If the value is equal to 1, the behavior "
            f"is "
            "identical to Python generator (generator 1 object whenever `next` is called). Use -1 "
            "to "
            "disable this feature. "
        )
        raise ValueError(msg)
    most = _BYTES_MAX if name == WINDOW_BYTES else _WINDOW_MAX
    if value is not None and not -1 <= value <= most:
        msg = f"{name} must be a positive integer, -1 or None, but received {value}"
        raise ValueError(msg)


def _check_on_drop(name: str, value: object) -> None:
    if value not in (None, "run", "close"):
        msg = (
            f"{name} must be 'run' (the generator runs to its end), 'close' (it gets GeneratorExit "
            f"at its next yield) or None, which means 'run', but received {value!r}"
        )
        raise ValueError(msg)


def check_runtime_env(_name: str, value: Mapping[str, Any] | None) -> None:
    if value:
        from skate._runtime_env import check as check_env

        check_env("runtime_env", value)


def _check_strategy(_name: str, value: object) -> None:
    is_word = isinstance(value, str) and value in {"DEFAULT", "SPREAD"}
    if not (value is None or is_word or type(value).__name__ in _STRATEGIES):
        msg = (
            f"scheduling_strategy must be None, 'DEFAULT', 'SPREAD' or one of {_STRATEGIES}, but "
            f"received {value!r}"
        )
        raise ValueError(msg)


def _check_placement_group(name: str, value: Any) -> None:
    if value is None or (isinstance(value, str) and value == _NOT_SAID):
        return
    from skate._group import check_group

    check_group(name, value)


def _check_selector(name: str, value: Mapping[Any, Any] | None) -> None:
    if value:
        from skate._placing import check_selector

        check_selector(name, value)


def _check_fallback(name: str, value: list[Any] | None) -> None:
    if value:
        from skate._placing import check_fallback

        check_fallback(name, value)


def _anything(_name: str, _value: object) -> None:
    pass


_NUMBER: Types = (float, int, _NONE)
_DICT: Types = (dict, _NONE)
_ANY: Types = (object,)

TABLE: dict[str, tuple[Types, Check]] = {
    # what it needs
    "num_cpus": (_NUMBER, _quantity),
    "num_gpus": (_NUMBER, _check_num_gpus),
    "memory": (_NUMBER, _quantity),
    "resources": (_DICT, check_resources),
    "accelerator_type": ((str, _NONE), _anything),
    "label_selector": (_DICT, _check_selector),
    "fallback_strategy": ((list, _NONE), _check_fallback),
    "scheduling_strategy": (_ANY, _check_strategy),
    GROUP: (_ANY, _check_placement_group),
    BUNDLE: ((int,), _anything),
    CAPTURE: ((bool, _NONE), _anything),
    "runtime_env": (_DICT, check_runtime_env),
    # what it gives
    "num_returns": (_ANY, _check_num_returns),
    WINDOW: ((int, _NONE), _check_window),
    _WINDOW_ALIAS: ((int, _NONE), _check_window),
    WINDOW_BYTES: ((int, _NONE), _check_window),
    ON_DROP: ((str, _NONE), _check_on_drop),
    STRICT: ((bool, _NONE), _anything),
    # when it fails
    "max_retries": ((int, _NONE), check_max_retries),
    "retry_exceptions": ((bool, list, tuple), _check_retry_exceptions),
    # where
    "max_calls": ((int, _NONE), _check_max_calls),
    # for people
    "name": ((str, _NONE), _anything),
    "enable_task_events": ((bool,), _anything),
    "_metadata": (_DICT, _anything),
    "_labels": (_DICT, _anything),
}


def _check_group(_name: str, value: str | None) -> None:
    if value == "":
        msg = "concurrency_group must not be empty"
        raise ValueError(msg)


METHOD_TABLE: dict[str, tuple[Types, Check]] = {
    "num_returns": TABLE["num_returns"],
    WINDOW: TABLE[WINDOW],
    _WINDOW_ALIAS: TABLE[WINDOW],
    WINDOW_BYTES: TABLE[WINDOW_BYTES],
    ON_DROP: TABLE[ON_DROP],
    STRICT: TABLE[STRICT],
    "max_task_retries": ((int, _NONE), check_max_retries),
    "retry_exceptions": TABLE["retry_exceptions"],
    "concurrency_group": ((str, _NONE), _check_group),
    "name": TABLE["name"],
    "enable_task_events": TABLE["enable_task_events"],
}
"""Options of a method: of `@method` and of `handle.method.options`."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'num_cpus'?`, or nothing."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, 1)
    return f" Did you mean '{close[0]}'?" if close else ""


def check(
    options: Mapping[str, Any],
    table: Mapping[str, tuple[Types, Check]] = TABLE,
    what: str = "remote functions",
) -> dict[str, Any]:
    """Checks each option by itself.

    Args:
        options: By name.
        table: The options that there are.
        what: Whose options, for the message.

    Returns:
        The same options under their public names.

    Raises:
        TypeError: a value has the wrong type.
        ValueError: an unknown option, or a value out of range. Both name the option.

    Rule: semantics.md 2.3 to 2.14; wording of Ray 2.60.
    """
    checked: dict[str, Any] = {}
    for name, value in options.items():
        row = table.get(name)
        if row is None:
            meant = did_you_mean(name, table)
            msg = f"Invalid option keyword {name} for {what}.{meant} Valid ones are {list(table)}."
            raise ValueError(msg)
        types, validate = row
        if not isinstance(value, types):
            expected = types if len(types) > 1 else types[0]
            msg = (
                f"The type of keyword '{name}' must be {expected}, but received type {type(value)}"
            )
            raise TypeError(msg)
        validate(name, value)
        if name == "runtime_env":  # relative paths mean the directory of now
            value = env_of({name: value})  # noqa: PLW2901
        checked[WINDOW if name == _WINDOW_ALIAS else name] = value
    return _group_as_strategy(checked)


def _group_as_strategy(checked: dict[str, Any]) -> dict[str, Any]:
    """Ray's older names for a group and a bundle become a strategy; all else stays."""
    group, bundle = checked.pop(GROUP, _NOT_SAID), checked.pop(BUNDLE, -1)
    strategy = checked.get("scheduling_strategy")
    is_group = group is not None and group != _NOT_SAID
    if is_group and strategy is not None:
        msg = (
            "Placement groups should be specified via the scheduling_strategy option. The "
            "placement_group option is deprecated."
        )
        raise ValueError(msg)
    if not is_group and bundle != -1:
        msg = f"{BUNDLE} is {bundle}, but there is no {GROUP} whose bundle it could be"
        raise ValueError(msg)
    if group != _NOT_SAID and strategy is None:
        from skate.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        checked["scheduling_strategy"] = PlacementGroupSchedulingStrategy(group, bundle)
    return checked


def units(value: float) -> int:
    """An amount of a resource in units of 1/10000."""
    return round(_checks.number("an amount", value) * UNITS)


def resources_of(of: str, options: Mapping[str, Any], cpus: float) -> tuple[tuple[str, int], ...]:
    """Name and amount, in units of 1/10000; `cpus` is the default."""
    num_cpus = options.get("num_cpus")
    amounts: dict[str, float] = {
        "CPU": cpus if num_cpus is None else num_cpus,
        "GPU": options.get("num_gpus") or 0,
        "memory": options.get("memory") or 0,
        **(options.get("resources") or {}),
    }
    if accelerator := options.get("accelerator_type"):
        amounts[f"accelerator_type:{accelerator}"] = 0.001
    asked = tuple((name, units(amount)) for name, amount in sorted(amounts.items()) if amount)
    strategy = options.get("scheduling_strategy")
    if not hasattr(strategy, "placement_group"):
        return asked
    from skate._group import in_group

    return in_group(of, asked, strategy, captures=bool(options.get(CAPTURE)))


def strategy_of(options: Mapping[str, Any]) -> Any:
    """A strategy that chooses among nodes; None for one that does not."""
    strategy = options.get("scheduling_strategy")
    return None if strategy == "DEFAULT" or hasattr(strategy, "placement_group") else strategy


def selectors_of(options: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """Labels of a node on which it may run, those of any one; empty for any node."""
    selector = options.get("label_selector")
    if not selector:
        return []
    others = [each["label_selector"] or {} for each in options.get("fallback_strategy") or ()]
    return [selector, *others]


def strategy_key(strategy: Any) -> object:
    """Equal for strategies that mean the same."""
    return strategy if strategy is None or isinstance(strategy, str) else repr(vars(strategy))


def place(template: object, strategy: Any) -> None:
    """Tells an engine of several nodes where to run; one machine has nothing to choose."""
    if strategy is not None and hasattr(template, "place"):
        template.place(strategy)


def env_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The `runtime_env`, with absolute paths; {} for none."""
    if not options.get("runtime_env"):
        return {}
    from skate._runtime_env import plain

    return plain(options["runtime_env"])


def returns_of(num_returns: int | str | None, *, is_generator: bool) -> int:
    """As the Rust side counts returns."""
    if num_returns is None:
        return STREAMING if is_generator else 1
    if isinstance(num_returns, int):
        return int(num_returns)
    if not is_generator:
        msg = (
            f"num_returns='{num_returns}' can only be used with generator functions (functions "
            f"that "
            "use 'yield'). The decorated function is not a generator function."
        )
        raise ValueError(msg)
    return DYNAMIC if num_returns == "dynamic" else STREAMING


def retry_exceptions_of(value: bool | list[type] | tuple[type, ...]) -> bool | bytes:
    """All, none, or a pickled tuple of classes."""
    if isinstance(value, bool):
        return value
    if not value:
        return False
    from cloudpickle import dumps

    classes: bytes = dumps(tuple(value), protocol=5)
    return classes


def window_of(name: str, value: int | None, returns: int) -> int | None:
    """Most unread items, or bytes of them, of a stream; or None."""
    if value is None or value == -1:
        return None
    if returns != STREAMING:
        msg = (
            f"{name}={value}: a window belongs to a streaming generator; with a static or dynamic "
            "num_returns, or on a function without 'yield', there is none"
        )
        raise ValueError(msg)
    return value


def closes_on_drop_of(value: str | None, returns: int) -> bool:
    """Whether a generator that nobody holds is closed."""
    if value != "close":
        return False
    if returns not in (STREAMING, DYNAMIC):
        msg = (
            f"{ON_DROP}='close': num_returns={returns} has no generator that could be dropped, "
            "only refs; it belongs to streaming and dynamic generators"
        )
        raise ValueError(msg)
    return True


def is_strict_of(value: bool | None, returns: int) -> bool:
    """Whether a wrong number of yields is the error of the last static return."""
    if not value:
        return False
    if returns < 1:
        msg = f"{STRICT}=True: there is no number of returns to be strict about; give num_returns=k"
        raise ValueError(msg)
    return True
