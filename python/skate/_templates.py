"""The node's handles on one function, class or actor, by the options that they were made with.

Invariant: they are of one session, the latest that was asked for. A program may give other
options in each call, so of many only the latest are kept; what holds one still goes on with it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from skate._engine import Client, Template

_MOST = 128  # more than a class has methods


class Templates:
    """What `client.template`, `constructor` or `method` gave."""

    __slots__ = ("_client", "_known")

    def __init__(self) -> None:
        self._client: Client | None = None
        self._known: dict[tuple[object, ...], Template] = {}

    def get(self, client: Client, key: tuple[object, ...]) -> Template | None:
        """The one that was made with these options, if it is still known."""
        if self._client is not client:
            self._client, self._known = client, {}
        return self._known.get(key)

    def add(self, client: Client, key: tuple[object, ...], template: Template) -> None:
        """Keeps one that was made just now."""
        if self._client is client:  # or another thread has begun another session
            self._known[key] = template
            for oldest in tuple(self._known)[:-_MOST]:
                self._known.pop(oldest, None)
