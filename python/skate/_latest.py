"""What a process keeps of a session by some key, of many only the latest.

For what is cheap to make again and is held by whoever uses it: templates by options, what callers
must know of actors. A program may come with other options in each call.

Invariant: all of it is of one session, the one that was asked for last.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Generic, TypeVar

    from skate._engine import Client

    V = TypeVar("V")

    class _Of(Generic[V]):
        """At run time a plain class: `typing` takes 10 ms to import."""

else:
    V = object

    class _Of:
        """Takes a type argument and ignores it."""

        __slots__ = ()

        def __class_getitem__(cls, _item: object) -> type:
            return cls


_MOST = 128  # more than a class has methods


class Latest(_Of[V]):
    """A table of values."""

    __slots__ = ("_client", "_values")

    def __init__(self) -> None:
        self._client: Client | None = None
        self._values: dict[Hashable, V] = {}

    def get(self, client: Client | None, key: Hashable) -> V | None:
        """The one with that key, if it is still there."""
        if self._client is not client:
            self._client, self._values = client, {}
        return self._values.get(key)

    def add(self, client: Client | None, key: Hashable, value: V) -> None:
        """Keeps one that was made just now."""
        if self._client is client:  # or another thread has begun another session
            self._values[key] = value
            for oldest in tuple(self._values)[:-_MOST]:
                self._values.pop(oldest, None)
