"""Sizes that break a store into holes: the room that is lost to them is bounded."""

import numpy as np
import pytest

MB = 1_000_000


@pytest.fixture
def bare(fresh):
    """A store of 100 MB and no disk, so that a hole that cannot be used shows as an error."""
    config = {"automatic_object_spilling_enabled": False}
    fresh.init(num_cpus=1, object_store_memory=100 * MB, _system_config=config)
    return fresh


def test_every_second_of_equal_values_makes_room_for_as_many_again(bare):
    refs = [bare.put(np.zeros(MB // 8)) for _ in range(90)]
    refs[::2] = [None] * 45
    again = [bare.put(np.ones(MB // 8)) for _ in range(45)]
    assert len(again) == 45
    assert bare.statistics().used_bytes <= 91 * MB


def test_holes_of_neighbours_become_one(bare):
    refs = [bare.put(np.zeros(MB // 8)) for _ in range(90)]
    keep = refs[:30]
    del refs
    large = bare.put(np.zeros(60 * MB // 8))
    assert bare.get(large).nbytes == 60 * MB
    assert len(keep) == 30


def test_random_sizes_in_and_out_use_seven_tenths_of_the_store(bare):
    """Ten thousand values of 70 KB to 3 MB, each in place of a random one."""
    dice = np.random.default_rng(7)
    sizes = np.exp(dice.uniform(np.log(70_000), np.log(3 * MB), 10_000)).astype(int)
    kept, bytes_kept, largest = [], 0, 0
    for size in sizes:
        while kept and bytes_kept + size > 70 * MB:
            place = int(dice.integers(len(kept)))
            kept[place], kept[-1] = kept[-1], kept[place]
            bytes_kept -= kept.pop()[1]
        kept.append((bare.put(np.empty(size, dtype=np.uint8)), int(size)))
        bytes_kept += int(size)
        largest = max(largest, bytes_kept)
    assert largest >= 69 * MB
    statistics = bare.statistics()
    assert statistics.used_bytes <= bytes_kept + len(kept) * 300 + (1 << 20)


def test_small_values_beside_long_lived_ones_cost_at_most_a_lease_each(bare):
    """One of 100 stays: the megabyte that it lies in stays with it, and no more."""
    stay = []
    for _ in range(20):
        refs = [bare.put(bytes(20_000)) for _ in range(100)]
        stay.append(refs[50])
        del refs
    used = bare.statistics().used_bytes
    assert used <= (len(stay) + 1) * (1 << 20)
