"""A task that does not know beforehand how many values it will give.

`split` cuts an array whose length only the task knows into blocks. With `num_returns="dynamic"` the
caller holds one reference; what it stands for is a generator of the references of the blocks. That
one reference, or the generator, can be passed on to other tasks.

    python examples/dynamic_split.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import skate as ray

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 10_000


@ray.remote
def random_array(seed: int) -> np.ndarray:
    """An array of somewhere between five and fifteen blocks."""
    generator = np.random.default_rng(seed)
    return generator.random(generator.integers(5 * BLOCK, 15 * BLOCK))


@ray.remote(num_returns="dynamic")
def split(array: np.ndarray, block: int) -> Iterator[np.ndarray]:
    """Yield the array in pieces of `block` elements, the last one shorter."""
    for start in range(0, len(array), block):
        yield array[start : start + block]


@ray.remote
def get_size(blocks: ray.ObjectRefGenerator) -> int:
    """Count the elements of all blocks; what arrives here is a generator of references."""
    return sum(len(ray.get(ref)) for ref in blocks)


def main() -> None:
    """Split, read the blocks here, then let tasks read them."""
    ray.init(num_cpus=2)
    whole_ref = random_array.remote(seed=7)
    whole = ray.get(whole_ref)
    blocks_ref = split.remote(whole_ref, BLOCK)
    print(
        f"{len(whole)} numbers, split by a task into blocks of {BLOCK}; the caller holds one ref:"
    )
    print(f"  {blocks_ref}")

    lengths = []
    for ref in ray.get(blocks_ref):
        block = ray.get(ref)
        assert np.array_equal(block, whole[sum(lengths) : sum(lengths) + len(block)])
        lengths.append(len(block))
    print(f"  {len(lengths)} blocks: {lengths}")
    assert sum(lengths) == len(whole)
    assert len(lengths) == -(-len(whole) // BLOCK)

    by_ref = ray.get(get_size.remote(blocks_ref))
    by_generator = ray.get(get_size.remote(ray.get(blocks_ref)))
    print(f"  get_size given the ref: {by_ref}; given the generator: {by_generator}")
    assert by_ref == by_generator == len(whole)
    ray.shutdown()


if __name__ == "__main__":
    main()
