"""`client`: the older way to say `init`, in steps.

    client(address) ─▶ ClientBuilder ─ namespace, env ─▶ itself ─ connect ─▶ init(...)

Invariant: nothing happens before `connect`, which is `init` with what was said.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from skate._context import Context

_OF_INIT = (None, "local", "auto")
"""Addresses that `init` takes as they are; any other is that of a Ray Client."""


class ClientBuilder:
    """What is to be said to `init`."""

    def __init__(self, address: str | None) -> None:
        is_plain = address in _OF_INIT or "://" in str(address)
        self._said: dict[str, Any] = {"address": address if is_plain else f"ray://{address}"}

    def namespace(self, namespace: str) -> Self:
        """For names of actors."""
        self._said["namespace"] = namespace
        return self

    def env(self, env: dict[str, Any]) -> Self:
        """The `runtime_env` of the session."""
        self._said["runtime_env"] = env
        return self

    def connect(self) -> Context:
        """Starts the session, as `init` does."""
        from skate._session import init

        return init(**self._said)


def client(address: str | None = None) -> ClientBuilder:
    """Begins to say what `init` is to do.

    Args:
        address: As that of `init`; `"host:port"` is that of a Ray Client (`"ray://host:port"`).
    """
    return ClientBuilder(address)
