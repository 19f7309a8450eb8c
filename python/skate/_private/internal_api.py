"""`free`, which older programs of Ray call to be rid of values."""

from __future__ import annotations

from skate._native import ObjectRef

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["free"]


def free(object_refs: ObjectRef[Any] | list[ObjectRef[Any]], local_only: bool = False) -> None:  # noqa: ARG001 - Ray's signature
    """Accepted, without effect: a value is freed at once with the last ref to it.

    Args:
        object_refs: One ref or a list of refs.
        local_only: Accepted; one machine has one store.

    Raises:
        TypeError: there is something else than a ref.
    """
    refs: list[Any] = object_refs if isinstance(object_refs, list) else [object_refs]
    for ref in refs:
        if not isinstance(ref, ObjectRef):
            msg = f"Attempting to call `free` on the value {ref!r}, which is not an ray.ObjectRef."
            raise TypeError(msg)
