"""cloudpickle's pickler, but code keeps the name of its file.

cloudpickle calls every file `<dynamic-code>`. Then a remote traceback shows no source lines, and no
debugger or profiler finds the function. Functions travel within one machine, where the file is.
"""

from __future__ import annotations

from collections import ChainMap
from types import CodeType

import cloudpickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar

_reduce_nameless: Callable[[CodeType], tuple[Callable[..., CodeType], tuple[Any, ...]]] = (
    cloudpickle.Pickler.dispatch_table[CodeType]
)


def restore_code(make: Callable[..., CodeType], args: tuple[Any, ...], filename: str) -> CodeType:
    """Code as it was before it was pickled. Part of the format: pickles name it."""
    return make(*args).replace(co_filename=filename)


def _reduce_code(code: CodeType) -> tuple[Callable[..., CodeType], tuple[Any, ...]]:
    make, args = _reduce_nameless(code)
    return restore_code, (make, args, code.co_filename)


registered: dict[type, Callable[[Any], tuple[Any, ...]]] = {CodeType: _reduce_code}
"""Reducers by class, before those of cloudpickle; `util.register_serializer` adds to them."""


class Pickler(cloudpickle.Pickler):  # type: ignore[misc] # it carries no types
    """Pickles by value what other processes cannot import."""

    dispatch_table: ClassVar[Any] = ChainMap(registered, cloudpickle.Pickler.dispatch_table)
