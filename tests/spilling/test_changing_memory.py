"""A value that goes straight to disk while another thread writes to its memory.

The checksum was taken of the user's memory, which was then written: what had changed in between
made the value unreadable (`ObjectCorruptedError`).
"""

import threading

import numpy as np
import pytest

MB = 1 << 20


@pytest.fixture
def small(fresh):
    fresh.init(num_cpus=1, object_store_memory=80 * MB)
    return fresh


def test_what_is_read_back_is_what_was_written(small):
    array = np.zeros(120 * MB, dtype="u1")
    stop = threading.Event()

    def write():
        count = 0
        while not stop.is_set():
            count = (count + 1) % 256
            array[::65536] = count

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            assert len(small.get(small.put(array))) == len(array)
    finally:
        stop.set()
        writer.join()


def test_an_error_of_the_disk_is_told_as_it_is(small):
    """Every error was "disk full", with 0 bytes spilled."""
    import resource

    array = np.zeros(120 * MB, dtype="u1")
    small.put(array)  # what is spilled is not 0 bytes
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MB, before[1]))
    try:
        with pytest.raises(small.exceptions.OutOfDiskError, match="writing failed") as caught:
            small.put(array)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "File too large" in str(caught.value)
    assert "spilled" not in str(caught.value)
    assert "is full:" not in str(caught.value)
