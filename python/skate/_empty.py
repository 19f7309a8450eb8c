"""Arrays and buffers that are written where they stay: in the store.

    empty ─ write ─▶ yield, return or put exactly this array ─▶ an object, nothing was copied
                  └▶ a slice or another view of it ─▶ an ordinary value: copied, the array is yours

Invariant: what was yielded never changes. The array itself is read-only afterwards; a write through
a view that was made *before* cannot reach the object either: it ends the process (SIGSEGV).
"""

from __future__ import annotations

from skate import _session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import DTypeLike, NDArray

_FORMATS = {"F": "Zf", "D": "Zd", "G": "Zg"}
_NUMBERS = "?bBhHiIlLqQefdg"


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
        TypeError: the dtype is not one of native numbers.
        ValueError: an extent is negative.
        ObjectStoreFullError: there is no room, and none can come free.
    """
    import numpy as np

    kind = np.dtype(dtype)
    if not kind.isnative or kind.char not in _NUMBERS + "".join(_FORMATS):
        msg = f"skate.empty: dtype must be of native numbers or bool, but received {kind!r}"
        raise TypeError(msg)
    extents = (shape,) if isinstance(shape, int) else tuple(shape)
    size = kind.itemsize
    for extent in extents:
        if extent < 0:
            msg = f"skate.empty: extents must be at least 0, but shape is {shape}"
            raise ValueError(msg)
        size *= int(extent)
    client = _session.client or _session.connect()
    fresh = client.empty(_FORMATS.get(kind.char, kind.char), extents, size)
    return np.ndarray(extents, kind, buffer=fresh)


def empty_buffer(nbytes: int) -> memoryview:
    """The same as bytes: a writable memoryview, which arrives as a read-only one.

    It is released when it has been yielded, returned or put: using it again raises ValueError.

    Args:
        nbytes: At least 0.

    Raises:
        ValueError: `nbytes` is negative.
        ObjectStoreFullError: there is no room, and none can come free.
    """
    if nbytes < 0:
        msg = f"skate.empty_buffer: nbytes must be at least 0, but is {nbytes}"
        raise ValueError(msg)
    return memoryview((_session.client or _session.connect()).empty(None, (), nbytes))
