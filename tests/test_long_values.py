"""Values of many megabytes: they choose their place in the store for the sake of the copy."""

import numpy as np
import pytest

MEGABYTE = 1 << 20


@pytest.fixture
def skate(fresh):
    fresh.init(num_cpus=1, object_store_memory=100 * MEGABYTE)
    return fresh


@pytest.mark.parametrize("shift", [0, 1, 16, 63, 64, 65, 2048, 4095])
def test_array_arrives_whole_and_aligned_wherever_it_came_from(skate, shift):
    memory = np.arange(20 * MEGABYTE + 4096, dtype=np.uint32).view(np.uint8)
    array = memory[shift : shift + 20 * MEGABYTE]
    found = skate.get(skate.put(array))
    assert found.ctypes.data % 64 == 0
    assert not found.flags.writeable
    assert np.array_equal(found, array)


def test_value_that_just_fits_needs_no_more_room(skate):
    array = np.ones(100 * MEGABYTE - 4096, np.uint8)
    for _ in range(3):
        ref = skate.put(array)
        assert skate.statistics().spilled_objects == 0
        assert skate.get(ref).sum() == array.size
        del ref


def test_room_that_a_long_value_chose_from_goes_back(skate):
    array = np.ones(20 * MEGABYTE, np.uint8)
    for _ in range(20):
        refs = [skate.put(array) for _ in range(4)]
        assert skate.statistics().spilled_objects == 0
        del refs
    while skate.statistics().used_bytes:
        pass
