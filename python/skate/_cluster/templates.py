"""Functions and methods with their options, as Ray has them.

Invariant: a template translates its options once; a call only translates arguments and results.
"""

from __future__ import annotations

import pickle
import warnings
from contextlib import contextmanager

from skate._cluster.errors import translated
from skate._cluster.groups import split, strategy_of
from skate._cluster.notes import without
from skate._cluster.refs import ref_of, sent, sent_by_name
from skate._cluster.streams import Streaming
from skate._native import DYNAMIC, STREAMING
from skate._options import UNITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from skate._engine import Amounts

_OPTION_OF = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}


def resources_of(amounts: Amounts) -> dict[str, Any]:
    """Ray's options for resources, and for the placement group that they are of."""
    amounts, strategy = split(amounts)
    options: dict[str, Any] = {} if strategy is None else {"scheduling_strategy": strategy}
    others: dict[str, float] = {}
    for name, units in amounts:
        amount = units // UNITS if units % UNITS == 0 else units / UNITS
        if name in _OPTION_OF:
            options[_OPTION_OF[name]] = amount
        else:
            others[name] = amount
    if others:
        options["resources"] = others
    return options


def returns_of(returns: int) -> int | str:
    """Ray's `num_returns`."""
    return {STREAMING: "streaming", DYNAMIC: "dynamic"}.get(returns, returns)


@contextmanager
def not_deprecated() -> Iterator[None]:
    """Without Ray's warning of `num_returns="dynamic"`, which skate keeps."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="num_returns='dynamic' is deprecated")
        yield


class Template:
    """A function or method of a user's, with its options."""

    def __init__(  # noqa: PLR0917 - the parts of `_engine.Client.template`
        self,
        returns: int,
        retry_exceptions: bool | bytes,
        window: int | None,
        window_bytes: int | None,
        closes_on_drop: bool,
        is_strict: bool,
    ) -> None:
        self.returns = returns
        self.options: dict[str, Any] = {
            "num_returns": returns_of(returns),
            "retry_exceptions": (
                list(pickle.loads(retry_exceptions))
                if isinstance(retry_exceptions, bytes)
                else retry_exceptions
            ),
        }
        if window is not None:
            self.options["_generator_backpressure_num_objects"] = window
        if window_bytes is not None:
            without("generator_backpressure_num_bytes", "use generator_backpressure_num_objects")
        if closes_on_drop:
            without("generator_on_drop='close'", "a dropped generator runs to its end")
        if is_strict:
            without("strict_num_returns", "one yield too many is only logged")

    def result(self, theirs: Any) -> Any:
        """What `.remote()` gives."""
        if self.returns == STREAMING:
            return Streaming(theirs)
        if isinstance(theirs, list):
            return [ref_of(each) for each in theirs]
        return None if theirs is None else ref_of(theirs)


class FunctionTemplate(Template):
    """A remote function."""

    def __init__(
        self, task: Callable[..., Any], resources: Amounts, max_retries: int, *rest: Any
    ) -> None:
        import ray

        super().__init__(*rest)
        options = {"num_cpus": 0, **resources_of(resources), "max_retries": max_retries}
        with not_deprecated():
            self._remote = ray.remote(**options, **self.options)(task)
        self._named: dict[str, Any] = {}

    def place(self, strategy: Any) -> None:
        """Runs it where a strategy says that is about nodes."""
        with not_deprecated():
            self._remote = self._remote.options(scheduling_strategy=strategy_of(strategy))

    def submit(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], name: str | None = None, /
    ) -> Any:
        remote = self._remote
        if name is not None:
            remote = self._named.get(name)
            if remote is None:
                with not_deprecated():
                    remote = self._named[name] = self._remote.options(name=name)
        with translated():
            return self.result(remote.remote(*sent(args), **sent_by_name(kwargs)))


class MethodTemplate(Template):
    """A method of actors.

    Attributes:
        name: Of the method.
        lane: Place of its concurrency group; 0 for none.
    """

    def __init__(self, name: str, lane: int, max_retries: int, *rest: Any) -> None:
        super().__init__(*rest)
        self.name = name
        self.lane = lane
        self.options["max_task_retries"] = max_retries


class ConstructorTemplate:
    """A class.

    Attributes:
        cls: What Ray makes instances of.
        exported: The user's class.
        options: Ray's.
    """

    def __init__(
        self, cls: type, exported: Any, resources: Amounts, serves: str, window: int | None
    ) -> None:
        self.cls = cls
        self.exported = exported
        self.resources = resources_of(resources)
        self.serves = serves
        self.window = window

    def place(self, strategy: Any) -> None:
        """Runs it where a strategy says that is about nodes."""
        self.resources["scheduling_strategy"] = strategy_of(strategy)
