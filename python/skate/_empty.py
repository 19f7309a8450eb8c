"""Arrays and buffers that are written where they stay: in the store.

    empty ─ write ─▶ yield, return or put exactly this array ─▶ an object, nothing was copied
                  └▶ a slice or another view of it ─▶ an ordinary value: copied, the array is yours

Invariant: what was yielded never changes. The array itself is read-only afterwards; a write through
a view that was made *before* cannot reach the object either: it ends the process (SIGSEGV).
"""

from __future__ import annotations

from math import prod

from skate import _checks, _session
from skate._frames import HIDDEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import DTypeLike, NDArray

_FORMATS = {"F": "Zf", "D": "Zd", "G": "Zg"}
_NUMBERS = "?bBhHiIlLqQefdg"
_BYTES_MAX = 2**63 - 1


def empty(shape: int | tuple[int, ...], dtype: DTypeLike = float) -> NDArray[Any]:
    """An array of the store to be written and then yielded, returned or put without a copy.

    Dropped without that, its room comes back. It counts as one item under construction, besides
    any window. As long as it lives, its room is not used again.

    Args:
        shape: Extents, at least 0.
        dtype: Of native numbers or bool.

    Returns:
        A writable C-contiguous array with any contents. Read-only once it was yielded, returned or
        put; a second time it is copied like any other.

    Raises:
        TypeError: the dtype is not one of native numbers, or an extent no whole number.
        ValueError: an extent is negative, or it would be more bytes than can be counted.
        ObjectStoreFullError: there is no room, and none can come free.
    """
    import numpy as np

    kind = np.dtype(dtype)
    if not kind.isnative or kind.char not in _NUMBERS + "".join(_FORMATS):
        msg = f"skate.empty: dtype must be of native numbers or bool, but received {kind!r}"
        raise TypeError(msg)
    with HIDDEN:
        extents = tuple(
            _checks.whole("skate.empty: an extent of shape", each, 0, _BYTES_MAX)
            for each in (shape if hasattr(shape, "__iter__") else (shape,))
        )
        size = kind.itemsize * prod(extents)
        _checks.within(f"skate.empty: the size in bytes of shape {shape!r}", size, 0, _BYTES_MAX)
    client = _session.client or _session.connect()
    fresh = client.empty(_FORMATS.get(kind.char, kind.char), extents, size)
    return np.ndarray(extents, kind, buffer=fresh)


def empty_buffer(nbytes: int) -> memoryview:
    """The same as bytes: a writable memoryview, which arrives as a read-only one.

    It is released when it has been yielded, returned or put: using it again raises ValueError.

    Args:
        nbytes: At least 0.

    Raises:
        TypeError: `nbytes` is no whole number.
        ValueError: it is negative, or more than can be counted.
        ObjectStoreFullError: there is no room, and none can come free.
    """
    with HIDDEN:
        nbytes = _checks.whole("skate.empty_buffer: nbytes", nbytes, 0, _BYTES_MAX)
    return memoryview((_session.client or _session.connect()).empty(None, (), nbytes))
