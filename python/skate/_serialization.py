"""Values and functions to bytes and back, for what the Rust side does not pack by itself.

    value ─ cloudpickle, protocol 5 ─▶ (data, [buffer, ...])     buffers go to shared memory unread
    function ─ cloudpickle ─▶ bytes                              once per definition and session

Invariant: every contiguous buffer goes out of band, however small, because only then do all arrays
come back as read-only views (semantics.md 3.14). Refs and generators inside a value report
themselves to the Rust side while they are pickled; nothing here knows of them.
"""

from __future__ import annotations

import pickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

FUNCTION_BYTES_MAX = 100 * 1000 * 1000
"""A larger function is refused: it carries data that belongs in `put`."""

FUNCTION_BYTES_WARN = 10 * 1000 * 1000
"""A larger function gets a warning."""

_dump: Callable[[object, Callable[[pickle.PickleBuffer], bool]], bytes] | None = None


def _bind() -> Callable[[object, Callable[[pickle.PickleBuffer], bool]], bytes]:
    """Imports cloudpickle with the first value that needs it."""
    global _dump  # noqa: PLW0603 - a cached import
    from io import BytesIO

    from skate._pickler import Pickler

    def dump(value: object, keep: Callable[[pickle.PickleBuffer], bool]) -> bytes:
        file = BytesIO()
        Pickler(file, 5, buffer_callback=keep).dump(value)
        return file.getvalue()

    _dump = dump
    return dump


def dumps(value: object) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """Pickles a value.

    Returns:
        The pickle and its out-of-band buffers, in the order in which `loads` wants them.

    Raises:
        TypeError: it cannot be pickled; the text names the innermost culprit and the way to it.
        MemoryError: there is no room for its pickle.
    """
    buffers: list[pickle.PickleBuffer] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        try:
            size = buffer.raw().nbytes
        except BufferError:  # not contiguous: only its own pickler knows its order
            return True
        if size == 0:
            return True
        buffers.append(buffer)
        return False

    try:
        return (_dump or _bind())(value, keep), buffers
    except MemoryError:
        raise
    except Exception as error:
        from skate._culprit import explain
        from skate._frames import users_cause

        raise TypeError(explain(value, "value", error)) from users_cause(error)


def _in_band(_buffer: pickle.PickleBuffer) -> bool:
    return True


def loads(data: bytes, buffers: Sequence[Any] = ()) -> object:
    """The value that `dumps` pickled; its arrays are views of `buffers`."""
    return pickle.loads(data, buffers=buffers)


def dumps_function(function: object, name: str) -> bytes:
    """Pickles a remote function by value, with what it captures.

    Args:
        function: The plain function, or a class.
        name: For the messages, as `module.name`.

    Raises:
        TypeError: something it captures cannot be pickled; the text names it.
        MemoryError: there is no room for its pickle.
        ValueError: it is larger than `FUNCTION_BYTES_MAX`.
    """
    try:
        data = (_dump or _bind())(function, _in_band)
    except MemoryError:
        raise
    except Exception as error:
        from skate._culprit import explain
        from skate._frames import users_cause

        text = f"Could not serialize the function {name}: {explain(function, name, error)}"
        raise TypeError(text) from users_cause(error)
    if len(data) > FUNCTION_BYTES_WARN:
        size = f"({len(data) / 1e6:.0f} MB; the limit is {FUNCTION_BYTES_MAX / 1e6:.0f} MB)"
        advice = "It carries a large object from its surroundings: put() that and pass the ref."
        if len(data) > FUNCTION_BYTES_MAX:
            msg = f"The remote function {name} is too large {size}. {advice}"
            raise ValueError(msg)
        import warnings

        warnings.warn(f"The remote function {name} is very large {size}. {advice}", stacklevel=4)
    return data
