"""A task that returns a list of large arrays becomes a generator that needs far less memory.

Both tasks hand the caller the same `ITEMS` references. The one that builds a list must hold every
array at once before it can return; the one that yields gives each array away before it makes the
next. Each worker measures itself: the figure is its growth in anonymous (not shared) memory.

    python examples/static_generator.py
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import skate as ray

if TYPE_CHECKING:
    from collections.abc import Iterator

ITEMS = 10
ITEM_BYTES = 50_000_000


def own_memory_bytes() -> int:
    """What this process holds that nobody shares with it, now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon"))
    return int(kib) * 1024


def make_array(index: int) -> np.ndarray:
    """One item: `ITEM_BYTES` bytes, all of them written."""
    return np.full(ITEM_BYTES // 8, index, dtype=np.int64)


@ray.remote
def as_list() -> list[object]:
    """Make all the arrays, then return them together with the growth that took."""
    before = own_memory_bytes()
    arrays = [make_array(index) for index in range(ITEMS)]
    return [*arrays, own_memory_bytes() - before]


@ray.remote
def as_generator() -> Iterator[object]:
    """Yield the arrays one at a time, then the largest growth seen while doing so."""
    before = own_memory_bytes()
    largest = 0
    for index in range(ITEMS):
        array = make_array(index)
        largest = max(largest, own_memory_bytes() - before)
        yield array
        del array
    yield largest


def measure(task: ray.remote_function.RemoteFunction) -> int:
    """Run the task, check every array it gave, and return its growth in bytes."""
    *arrays, growth = task.options(num_returns=ITEMS + 1).remote()
    for index, ref in enumerate(arrays):
        array = ray.get(ref)
        assert array.nbytes == ITEM_BYTES
        assert array[0] == array[-1] == index
    return ray.get(growth)


def main() -> None:
    """Measure both and compare."""
    ray.init(num_cpus=1)
    by_list = measure(as_list)
    by_generator = measure(as_generator)
    ray.shutdown()

    print(f"{ITEMS} arrays of {ITEM_BYTES / 1e6:.0f} MB; growth of the worker's own memory:")
    print(f"  returned as a list         {by_list / 1e6:6.0f} MB")
    print(f"  yielded by a generator     {by_generator / 1e6:6.0f} MB")
    assert by_list >= 0.9 * ITEMS * ITEM_BYTES
    assert by_generator <= by_list / 2


if __name__ == "__main__":
    main()
