"""Ids of the things that a session has one of, as Ray shows them: hex strings of fixed length.

Invariant: equal in all processes of a session, different between sessions (but for the job's).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from skate._engine import Client

JOB_ID = "01000000"
"""There is one job in a session: its driver."""


def node_id(client: Client) -> str:
    """56 hex digits."""
    return client.session.ljust(56, "0")


def worker_id(client: Client) -> str:
    """56 hex digits; that of the driver ends in zeros."""
    return f"{client.session}{client.client_id:08x}".ljust(56, "f")
