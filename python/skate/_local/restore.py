"""How what was pickled in local mode becomes handles again. Part of the format: pickles name these.

Invariant: whatever a value contains is alive while the value is; see `codec`.
"""

from __future__ import annotations

from skate import _session
from skate._local.actors import ActorRef
from skate._local.state import State, stale
from skate._local.streams import Dynamic, Streaming
from skate.exceptions import RaySystemError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from skate._native import ObjectRef


def _client() -> State:
    """The current session, for what is unpickled."""
    client: object = _session.client
    if not isinstance(client, State):
        msg = "Ray has not been started yet. You can start Ray with 'ray.init()'."
        raise RaySystemError(msg)
    return client


def restore_ref(key: bytes) -> ObjectRef[Any]:
    """The ref that `Handle.reduce` wrote."""
    client = _client()
    cell = client.cells.get(key)
    if cell is None:
        raise stale(f"ObjectRef({key.hex()})")
    return client.ref(cell)


def restore_streaming(task: bytes) -> Streaming:
    """The generator that `Streaming.__reduce__` wrote."""
    client = _client()
    cursor = client.cursors.get(task)
    if cursor is None:
        raise stale("the generator")
    return Streaming(client, cursor, is_passed_on=True)


def restore_dynamic(place: int) -> Dynamic:
    """The same of `Dynamic`."""
    client = _client()
    cursor = client.places.get(place)
    if cursor is None:
        raise stale("the generator")
    return Dynamic(client, cursor.copy())


def restore_actor(actor: bytes) -> ActorRef:
    """The handle that `ActorRef.__reduce__` wrote."""
    client = _client()
    found = client.actors.get(actor)
    if found is None:
        raise stale(f"Actor({actor.hex()})")
    return ActorRef(found, is_weak=False)
