"""Using the items of a generator while it still runs.

A generator task produces; its items are ordinary references the moment they are yielded. They are
read here one by one, passed to other tasks without being fetched first, and awaited in an event
loop. That the producer still runs is shown, not assumed: it cannot end before it has been told to.

    python examples/stream_items.py
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import skate as ray

if TYPE_CHECKING:
    from collections.abc import Iterator

ITEMS = 5


@ray.remote
def produce(go_on: Path) -> Iterator[int]:
    """Yield 0 to `ITEMS - 1`, but the last one only when the file `go_on` exists."""
    yield from range(ITEMS - 1)
    while not go_on.exists():
        time.sleep(0.001)
    yield ITEMS - 1


@ray.remote
def square(number: int) -> int:
    """Work on one item."""
    return number * number


def items_in_order(go_on: Path) -> None:
    """Read all but the last item while the producer waits for us."""
    stream = produce.remote(go_on)
    early = [ray.get(next(stream)) for _ in range(ITEMS - 1)]
    print("read while the producer runs: ", early)
    go_on.touch()
    late = [ray.get(ref) for ref in stream]
    print("read after it may end:        ", late)
    assert (early, late) == ([0, 1, 2, 3], [4])


def items_as_arguments(go_on: Path) -> None:
    """Pass each item on as it appears; its bytes never come through this process."""
    stream = produce.remote(go_on)
    early = [square.remote(next(stream)) for _ in range(ITEMS - 1)]
    print("squared while it runs:        ", ray.get(early))
    assert ray.get(early) == [0, 1, 4, 9]
    go_on.touch()
    assert ray.get([square.remote(ref) for ref in stream]) == [16]


async def items_awaited(go_on: Path) -> None:
    """Two streams at once in one event loop."""

    async def total(stream: ray.ObjectRefGenerator) -> int:
        return sum([await ref async for ref in stream])

    go_on.touch()
    totals = await asyncio.gather(total(produce.remote(go_on)), total(produce.remote(go_on)))
    print("two streams, awaited:         ", totals)
    assert totals == [10, 10]


def main() -> None:
    """Run the three parts, each with a file of its own to say go on."""
    ray.init(num_cpus=2)
    with tempfile.TemporaryDirectory() as folder:
        items_in_order(Path(folder, "in_order"))
        items_as_arguments(Path(folder, "as_arguments"))
        asyncio.run(items_awaited(Path(folder, "awaited")))
    ray.shutdown()


if __name__ == "__main__":
    main()
