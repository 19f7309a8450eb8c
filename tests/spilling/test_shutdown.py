"""The session ends while values are on their way to disk.

`shutdown` waited for the thread of the disk, and held what that thread needed for what followed
from its last job: both slept for ever.
"""

import os

import numpy as np
import pytest

MB = 1_000_000


@pytest.mark.parametrize("count", range(12))
def test_while_values_are_being_written_and_read(fresh, directory, count):
    fresh.init(num_cpus=1, object_store_memory=80 * MB, object_spilling_directory=str(directory))
    refs = [fresh.put(np.zeros(8 * MB, np.uint8)) for _ in range(12 + count)]

    @fresh.remote
    def look(array):
        return len(array)

    looks = [look.remote(ref) for ref in refs]
    fresh.wait(looks, num_returns=1 + count // 2)
    fresh.shutdown()
    assert os.listdir(directory) == []
