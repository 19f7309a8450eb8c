"""What `init` gives back: the session as a context manager and as a mapping.

Invariant: it names one session. Leaving it, or `disconnect`, ends that session and no later one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from skate import _session
from skate._ids import node_id
from skate._machine import IP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Self

    from skate._engine import Client


class Context(Mapping[str, "Any"]):
    """A session. `with init(): ...` ends it at the end of the block.

    Attributes:
        address_info: The mapping itself: `node_ip_address`, `address`, `node_id`, `session_dir` and
            Ray's other keys. There are no sockets and no directory, so most are None.
        dashboard_url: Empty: there is no dashboard.
        python_version: Of this interpreter.
        skate_version: Of this package; `ray_version` is the same.
    """

    def __init__(self, client: Client) -> None:
        from skate._version import __version__

        self._client = client
        self.dashboard_url = ""
        self.python_version = ".".join(map(str, sys.version_info[:3]))
        self.skate_version = self.ray_version = __version__
        self.address_info: dict[str, Any] = {
            "node_ip_address": IP,
            "redis_address": None,
            "object_store_address": None,
            "raylet_socket_name": None,
            "webui_url": "",
            "session_dir": None,
            "metrics_export_port": None,
            "gcs_address": None,
            "address": getattr(client, "address", "local"),
            "node_id": node_id(client),
        }

    def __getitem__(self, key: str) -> Any:
        return self.address_info[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.address_info)

    def __len__(self) -> int:
        return len(self.address_info)

    def disconnect(self) -> None:
        """Ends the session, if it has not ended yet."""
        _session.end(self._client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()

    def _repr_html_(self) -> str:
        from skate._notebook import session

        return session(self._client)

    def __repr__(self) -> str:
        return (
            f"Context(dashboard_url={self.dashboard_url!r}, "
            f"python_version={self.python_version!r}, "
            f"skate_version={self.skate_version!r})"
        )
