"""Refs: skate's class, which keeps Ray's.

Invariant: Ray's ref lives exactly as long as skate's, and travels inside of skate's when that is
pickled, so Ray counts holders as if skate were not there.
"""

from __future__ import annotations

from skate import _native
from skate._native import ObjectRef

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Kept:
    """What a ref of this engine keeps.

    Attributes:
        theirs: Ray's ref.
    """

    __slots__ = ("theirs",)

    def __init__(self, theirs: Any) -> None:
        self.theirs = theirs

    def reduce(self) -> tuple[Any, ...]:
        """How the ref is pickled: `ObjectRef.__reduce__` asks."""
        return restore, (travelling(self.theirs),)


class Sealed:
    """What Ray must pickle itself, pickled: functions are pickled by skate, with what they hold.

    Ray then keeps it for as long as the process lives that pickled it.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> tuple[Any, ...]:
        import ray.cloudpickle

        return ray.cloudpickle.loads, (self._data,)


def travelling(theirs: Any) -> Any:
    """A ref or handle of Ray's as it may be pickled here: by Ray, or sealed for another pickler."""
    import ray
    from ray._private.worker import global_worker  # nothing public says who is pickling

    if global_worker.get_serialization_context().is_in_band_serialization():
        return theirs
    return Sealed(ray.cloudpickle.dumps(theirs))


def ref_of(theirs: Any) -> ObjectRef[Any]:
    """Skate's ref of one of Ray's."""
    return _native.ref_of(theirs.binary(), Kept(theirs))


def restore(theirs: Any) -> ObjectRef[Any]:
    """The ref that `Kept.reduce` wrote, in any process of the cluster."""
    from skate._cluster.client import enter_worker

    enter_worker()
    return ref_of(theirs)


def theirs_of(ref: ObjectRef[Any]) -> Any:
    """Ray's ref of one of skate's.

    Raises:
        ObjectLostError: the ref names nothing.
        RaySystemError: it is of another session.
    """
    kept = ref.kept
    if isinstance(kept, Kept):
        return kept.theirs
    from skate.exceptions import ObjectLostError, RaySystemError

    if ref.is_nil():
        raise ObjectLostError(ref.hex())
    msg = f"{ref!r} belongs to another session"
    raise RaySystemError(msg)


def sent(values: tuple[Any, ...]) -> list[Any]:
    """Arguments as Ray wants them: refs that stand by themselves are Ray's."""
    return [theirs_of(each) if type(each) is ObjectRef else each for each in values]


def sent_by_name(values: dict[str, Any]) -> dict[str, Any]:
    """The same for keywords."""
    return {
        name: theirs_of(each) if type(each) is ObjectRef else each for name, each in values.items()
    }
