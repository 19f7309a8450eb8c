"""Checks of arguments. One sentence says whose argument it is, what came and what was expected.

    init: num_cpus is 'two', but must be a number
    └ function: argument ┘ └ what came      └ expected

Invariant: a check gives back what came as Python's own kind, so nothing behind it meets NumPy's
numbers. A number of another kind (NumPy's, a fraction) is one; a text never is.
"""

from __future__ import annotations

import os
from _collections_abc import Mapping  # `collections.abc` takes 2 ms to import
from operator import index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_LONGEST_S = 1e300
"""For ever: a whole number may be too large for a float."""


def refusal(what: str, value: object, expected: str) -> str:
    """The sentence."""
    return f"{what} is {value!r}, but must be {expected}"


def text(what: str, value: Any) -> str:
    """Raises TypeError unless it is a str."""
    if not isinstance(value, str):
        raise TypeError(refusal(what, value, "a str"))
    return value


def path(what: str, value: Any) -> str:
    """Raises TypeError unless it is a path."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(refusal(what, value, "a path"))
    return os.fspath(value)


def mapping(what: str, value: Any) -> Mapping[Any, Any]:
    """Raises TypeError unless it is a dict."""
    if not isinstance(value, Mapping):
        raise TypeError(refusal(what, value, "a dict"))
    return value


def flag(what: str, value: Any) -> bool:
    """Raises TypeError unless it is a bool, 0 or 1."""
    if value is True or value is False:
        return value
    # NumPy's bool shares no class with Python's, only the name.
    if type(value).__name__ in {"bool", "bool_"} or (isinstance(value, int) and value in {0, 1}):
        return bool(value)
    raise TypeError(refusal(what, value, "True or False"))


def number(what: str, value: Any, expected: str = "a number") -> int | float:
    """Raises TypeError unless it is a number. Whole ones stay exact."""
    if isinstance(value, int | float):
        return value
    try:
        return index(value)
    except TypeError:
        pass
    if hasattr(value, "__float__"):  # `float` by itself would read a text
        try:
            return float(value)
        except (TypeError, ValueError):  # an array of several
            pass
    raise TypeError(refusal(what, value, expected))


def seconds(what: str, value: Any) -> float:
    """Raises TypeError unless it is a number; the range is checked where it is waited."""
    if type(value) is float:
        return value
    return min(number(what, value, "a number of seconds or None"), _LONGEST_S)


def whole(what: str, value: Any, least: int, most: int) -> int:
    """Raises TypeError unless it is a whole number, ValueError if it is out of range."""
    try:
        count = index(value)
    except TypeError:
        raise TypeError(refusal(what, value, "a whole number")) from None
    within(what, count, least, most)
    return count


def within(what: str, value: float, least: float, most: float) -> None:
    """Raises ValueError if a number is out of range; NaN always is."""
    if not least <= value <= most:
        raise ValueError(refusal(what, value, f"from {least} to {most}"))
