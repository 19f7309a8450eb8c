"""Ray's marks of how stable something is. Libraries around Ray put them on their own functions.

Invariant: a mark changes nothing but `_annotated` and `_annotated_type`, which Ray sets, too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")


class RayDeprecationWarning(DeprecationWarning):
    """Something will go away."""


def _mark(kind: str, args: tuple[Any, ...]) -> Any:
    def decorate(target: T) -> T:
        target._annotated = getattr(target, "__name__", None)  # type: ignore[attr-defined] # noqa: SLF001
        target._annotated_type = kind  # type: ignore[attr-defined] # noqa: SLF001
        return target

    return decorate(args[0]) if len(args) == 1 and callable(args[0]) else decorate


def PublicAPI(*args: Any, **_options: Any) -> Any:  # noqa: N802 - Ray's name
    """Marks something for users: `@PublicAPI`, `@PublicAPI(stability="beta")`."""
    return _mark("PublicAPI", args)


def DeveloperAPI(*args: Any, **_options: Any) -> Any:  # noqa: N802 - Ray's name
    """Marks something for authors of libraries."""
    return _mark("DeveloperAPI", args)


def Deprecated(*args: Any, message: str = "", warning: bool = False, **_options: Any) -> Any:  # noqa: N802 - Ray's name
    """Marks something that will go away; with `warning`, calls of it say so."""

    def decorate(target: Callable[..., Any]) -> Any:
        if not warning or isinstance(target, type):
            return _mark("Deprecated", (target,))
        from functools import wraps

        @wraps(target)
        def warn(*values: Any, **names: Any) -> Any:
            import warnings

            text = message or f"{target.__qualname__} is deprecated"
            warnings.warn(text, RayDeprecationWarning, stacklevel=2)
            return target(*values, **names)

        return _mark("Deprecated", (warn,))

    return decorate(args[0]) if len(args) == 1 and callable(args[0]) else decorate
