"""How values of a class are packed, and why one cannot be.

    register_serializer(C, serializer=s, deserializer=d)   value ─ s ─▶ what is pickled ─ d ─▶ value

Invariant: a serializer counts in the process that registered it, for what that process packs; the
deserializer travels with each value, so the process that unpacks needs to know nothing.
"""

from __future__ import annotations

import sys
from pickle import PickleBuffer
from types import CodeType, FunctionType

from skate import _culprit, _pickler
from skate._native import ObjectRef

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TextIO, TypeVar

    T = TypeVar("T")

# The Rust side packs these before any pickler sees them.
_PACKED_BY_SKATE = (
    type(None), bool, int, float, str, bytes, tuple, list, dict, memoryview, ObjectRef,
)  # fmt: skip
# A pickler takes these, and classes, before it looks for a serializer; code has one of skate's.
_PACKED_BY_PICKLE = (set, frozenset, bytearray, PickleBuffer, FunctionType, CodeType)


def register_serializer(
    cls: type[T], *, serializer: Callable[[T], Any], deserializer: Callable[[Any], T]
) -> None:
    """Has this process pack the values of a class in a way of its own.

    Args:
        cls: The class itself; subclasses are packed as before.
        serializer: Takes a value, gives something that can be pickled.
        deserializer: Takes that, gives the value. Pickled with each value.

    Raises:
        TypeError: `cls` is no class, or one of the functions cannot be called.
        ValueError: skate itself packs values of that class (None, numbers, strings, bytes, tuples,
            lists, dicts, sets, byte arrays, memory views, functions, classes, code, refs, NumPy's
            arrays).

    Rule: https://docs.ray.io/en/latest/ray-core/objects/serialization.html
    """
    _check_class("register_serializer", cls)
    given: dict[str, object] = {"serializer": serializer, "deserializer": deserializer}
    for name, function in given.items():
        if not callable(function):
            msg = f"register_serializer: {name} must be callable, but is {function!r}"
            raise TypeError(msg)
    numpy = sys.modules.get("numpy")
    if (
        cls in _PACKED_BY_SKATE
        or cls in _PACKED_BY_PICKLE
        or issubclass(cls, type)
        or (numpy is not None and cls is numpy.ndarray)
    ):
        msg = (
            f"register_serializer: skate packs values of {cls.__qualname__} itself; "
            "register a class of your own that holds one"
        )
        raise ValueError(msg)
    _pickler.registered[cls] = lambda value: (deserializer, (serializer(value),))


def deregister_serializer(cls: type) -> None:
    """Has values of a class packed as usual again. Without a serializer it does nothing.

    Raises:
        TypeError: `cls` is no class.
    """
    _check_class("deregister_serializer", cls)
    _pickler.registered.pop(cls, None)


def _check_class(function: str, cls: object) -> None:
    if not isinstance(cls, type):
        msg = f"{function}: expected a class, got {cls!r}"
        raise TypeError(msg)


class FailureTuple:
    """One thing that cannot be pickled.

    Attributes:
        obj: The thing.
        name: How it is reached.
        parent: What contains it; itself, if nothing does.
    """

    __slots__ = ("name", "obj", "parent")

    def __init__(self, obj: object, name: str, parent: object) -> None:
        self.obj = obj
        self.name = name
        self.parent = parent

    def __repr__(self) -> str:
        return f"FailureTuple(obj={self.obj!r}, name={self.name!r}, parent={self.parent!r})"


def inspect_serializability(
    base_obj: object,
    name: str | None = None,
    depth: int = 3,
    print_file: TextIO | None = None,
) -> tuple[bool, set[FailureTuple]]:
    """Says whether a value can be passed to a task, and if not, which part of it cannot.

    Args:
        base_obj: The value, function or class.
        name: How to call it in the report.
        depth: How many levels to look into, at least 1.
        print_file: Where the report goes; None is stdout.

    Returns:
        `(True, set())`, or False with the innermost parts that cannot be pickled.

    Raises:
        ValueError: `depth` is under 1.

    Rule: https://docs.ray.io/en/latest/ray-core/objects/serialization.html
    """
    if depth < 1:
        msg = f"inspect_serializability: depth must be at least 1, but is {depth}"
        raise ValueError(msg)
    label = str(name or getattr(base_obj, "__qualname__", None) or _culprit.short(base_obj))

    def look() -> tuple[str | None, list[FailureTuple]]:
        error = _culprit.failure(base_obj)
        if error is None:
            return None, []
        parts = [FailureTuple(*each) for each in _culprit.culprits(base_obj, label, depth)]
        return _culprit.explain(base_obj, label, error), parts

    reason, failures = _culprit.while_packing(look)
    lines = [f"Checking whether {label} can be serialized: {'yes' if reason is None else 'no'}"]
    lines += [
        f"  {each.name}: {_culprit.short(each.obj)} cannot be serialized" for each in failures
    ]
    if reason is not None:
        lines.append(f"  {reason}")
    print("\n".join(lines), file=print_file or sys.stdout)
    return reason is None, set(failures)
