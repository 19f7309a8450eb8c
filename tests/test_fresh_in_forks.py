"""Memory made by `empty` is not mapped in a forked child, where something else may be at its place.

The child unmapped that when it dropped the array, and crashed.
"""

import ctypes
import gc
import mmap
import os
import sys

import pytest

SIZE = 4 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="asks for a place by mmap")
def test_child_that_drops_an_array_keeps_what_is_at_its_place(fresh):
    fresh.init(num_cpus=1)
    array = fresh.empty((SIZE,), dtype="u1")
    place = array.ctypes.data & ~(mmap.PAGESIZE - 1)
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        here = libc.mmap(place, 1 << 20, mmap.PROT_READ | mmap.PROT_WRITE, private, -1, 0)
        ctypes.memset(here, 1, 16)
        del array
        gc.collect()
        is_there = ctypes.string_at(here, 4) == b"\1" * 4
        os._exit(0 if here == place and is_there else 3)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
