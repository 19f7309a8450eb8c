"""The engine of `init(local_mode=True)`: everything in this process, for debuggers and coverage.

    plain task, sync actor call      in the calling thread, inside of `.remote()`
    static or dynamic generator      likewise, to its end
    streaming generator              one step at a time, in the thread that asks for an item
    async actor                      on one loop thread, `skate-local-loop`

It stands behind the same seam as the node (`_engine`), so the Python layer does not know it. What
needs processes does not exist here: parallelism, retries after a crash, killing a call that runs.

Reading order: `codec` (values are copied all the same), `objects` (what a ref stands for),
`streams` (items and their readers), `sink` (what becomes of yields, returns and errors), `run` and
`calls` (one task), `actors`, `loop`, `state` (what they share), `client` (the seam), `restore`.

Invariant: Python's own reference counts do the counting. Who can still read a value holds its
`Cell`; the client's tables are weak. A value goes with its last reader, at once.
"""

from skate._local.client import Client

__all__ = ["Client"]
