"""Ids: Ray's classes for them, and the ids of the things that a session has one of.

    BaseID ─┬─ ActorID (16 bytes), JobID (4), TaskID (24), PlacementGroupID (18)
            └─ UniqueID (28) ── NodeID, WorkerID, ActorClassID, ClusterID, FunctionID

Invariant: an id is its bytes and nothing else: equal to those of its class alone, and of a fixed
length. Where Ray's API documents hex strings, such as `get_runtime_context`, it is one here; those
of the node, the job and the worker are equal in all processes of a session, and different between
sessions (but for the job's).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Self

    from skate._engine import Client


class BaseID:
    """What all ids have: they are bytes of a fixed length.

    Args:
        binary: So many bytes as `size` says.

    Raises:
        TypeError: these are no bytes.
        ValueError: these are more or fewer.
    """

    __slots__ = ("_bytes",)

    _SIZE: ClassVar[int]

    def __init__(self, binary: bytes) -> None:
        given: object = binary
        if not isinstance(given, bytes):
            msg = f"Unsupported type: {type(given)}, expected bytes"
            raise TypeError(msg)
        if len(binary) != self._SIZE:
            msg = f"ID string needs to have length {self._SIZE}, got {len(binary)}"
            raise ValueError(msg)
        self._bytes = binary

    @classmethod
    def size(cls) -> int:
        """Number of bytes."""
        return cls._SIZE

    @classmethod
    def nil(cls) -> Self:
        """The id of nothing."""
        return cls(b"\xff" * cls._SIZE)

    @classmethod
    def from_binary(cls, binary: bytes) -> Self:
        """The id of these bytes."""
        return cls(binary)

    @classmethod
    def from_hex(cls, hex_id: str) -> Self:
        """The id that `hex` wrote.

        Raises:
            ValueError: these are no hex digits, or more or fewer than there must be.
        """
        return cls(bytes.fromhex(hex_id))

    @classmethod
    def from_random(cls) -> Self:
        """An id of nothing that differs from all others."""
        return cls(os.urandom(cls._SIZE))

    def hex(self) -> str:
        """Two hex digits for each byte."""
        return self._bytes.hex()

    def binary(self) -> bytes:
        """The bytes."""
        return self._bytes

    def is_nil(self) -> bool:
        """Whether it is the id of nothing."""
        return self == type(self).nil()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()})"

    def __reduce__(self) -> tuple[type[Self], tuple[bytes]]:
        return type(self), (self._bytes,)


class UniqueID(BaseID):
    """Of anything."""

    __slots__ = ()
    _SIZE = 28


class NodeID(UniqueID):
    """Of a machine."""

    __slots__ = ()


class WorkerID(UniqueID):
    """Of a process."""

    __slots__ = ()


class ActorClassID(UniqueID):
    """Of the class of an actor."""

    __slots__ = ()


class ClusterID(UniqueID):
    """Of a cluster."""

    __slots__ = ()


class FunctionID(UniqueID):
    """Of a remote function."""

    __slots__ = ()


class JobID(BaseID):
    """Of a driver."""

    __slots__ = ()
    _SIZE = 4

    @classmethod
    def from_int(cls, number: int) -> JobID:
        """The job of that number."""
        return cls(number.to_bytes(cls._SIZE, "little"))

    def int(self) -> int:
        """Its number."""
        return int.from_bytes(self._bytes, "little")


class ActorID(BaseID):
    """Of an actor."""

    __slots__ = ()
    _SIZE = 16


class TaskID(BaseID):
    """Of a task."""

    __slots__ = ()
    _SIZE = 24

    def job_id(self) -> JobID:
        """The job that it is of."""
        return JobID(self._bytes[-JobID.size() :])


class PlacementGroupID(BaseID):
    """Of a placement group."""

    __slots__ = ()
    _SIZE = 18


NAMES = (
    "ActorClassID",
    "ActorID",
    "ClusterID",
    "FunctionID",
    "JobID",
    "NodeID",
    "PlacementGroupID",
    "TaskID",
    "UniqueID",
    "WorkerID",
)
"""Those that Ray exports."""


def text(value: object) -> object:
    """An id as hex digits; anything else as it is."""
    return value.hex() if isinstance(value, BaseID) else value


JOB_ID = "01000000"
"""There is one job in a session: its driver. A cluster has others; see `job_id`."""


def job_id(client: Client) -> str:
    """8 hex digits."""
    return getattr(client, "job_id", None) or JOB_ID  # a cluster has ids of its own


def node_id(client: Client) -> str:
    """56 hex digits."""
    return getattr(client, "node_id", None) or client.session.ljust(56, "0")


def worker_id(client: Client) -> str:
    """56 hex digits; that of the driver ends in zeros."""
    there: str | None = getattr(client, "worker_id", None)
    return there or f"{client.session}{client.client_id:08x}".ljust(56, "f")
