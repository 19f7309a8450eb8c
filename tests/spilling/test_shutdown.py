"""The session ends while values are on disk, or on their way to it."""

import os

import numpy as np
import pytest

MB = 1_000_000


@pytest.mark.parametrize("count", range(12))
def test_while_values_are_being_written_and_read(fresh, directory, count):
    # `shutdown` waited for the thread of the disk, and held what that thread needed for what
    # followed from its last job: both slept for ever.
    fresh.init(num_cpus=1, object_store_memory=80 * MB, object_spilling_directory=str(directory))
    refs = [fresh.put(np.zeros(8 * MB, np.uint8)) for _ in range(12 + count)]

    @fresh.remote
    def look(array):
        return len(array)

    looks = [look.remote(ref) for ref in refs]
    fresh.wait(looks, num_returns=1 + count // 2)
    fresh.shutdown()
    assert os.listdir(directory) == []


def test_disk_is_given_back_though_a_function_of_the_session_lives_on(fresh, directory, spill_file):
    # A remote function keeps what it was exported to, and that kept the file with all its blocks.
    fresh.init(num_cpus=1, object_store_memory=80 * MB, object_spilling_directory=str(directory))

    @fresh.remote
    def look(array):
        return len(array)

    refs = [fresh.put(np.zeros(8 * MB, np.uint8)) for _ in range(20)]
    assert fresh.get([look.remote(ref) for ref in refs]) == [8 * MB] * 20
    with spill_file(directory) as file:
        assert os.fstat(file.fileno()).st_blocks * 512 >= 80 * MB
        fresh.shutdown()
        assert os.fstat(file.fileno()).st_blocks == 0
