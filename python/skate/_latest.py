"""What a process keeps of a session by some key, of many only what was made last.

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

    from skate._untyped import Untyped as _Of


MOST = 128  # more than a class has methods, with few options each


class Latest(_Of[V]):
    """A table of values."""

    __slots__ = ("_table",)

    def __init__(self) -> None:
        # One attribute: another thread may begin another session at any time.
        self._table: tuple[Client | None, dict[Hashable, V]] = (None, {})

    def get(self, client: Client | None, key: Hashable) -> V | None:
        """The one with that key, if it is still there."""
        return self._values(client).get(key)

    def add(self, client: Client | None, key: Hashable, value: V) -> None:
        """Keeps one that was made just now."""
        values = self._values(client)
        values[key] = value
        for oldest in tuple(values)[:-MOST]:
            values.pop(oldest, None)

    def _values(self, client: Client | None) -> dict[Hashable, V]:
        known, values = self._table
        if known is not client:
            values = {}
            self._table = client, values
        return values
