"""Values: small ones by the thousand, large ones by the gigabyte, as arguments and results."""

import mmap
import os
import pickle
import time

import numpy as np
from _pipes import Echo
from _workload import workload

SMALL = 10_000
ARRAY = 80_000


def shared_bytes(size):
    """Fresh shared memory without a name, as an array of bytes."""
    fd = os.memfd_create("bench")
    os.ftruncate(fd, size)
    mapped = mmap.mmap(fd, size)
    os.close(fd)
    return np.frombuffer(mapped, np.uint8)


def filled(size):
    """Private memory of that size, every page of it written."""
    return np.full(size, 7, np.uint8)


def let_host_back(size):
    """Has the host of a virtual machine give it so much memory.

    What is free goes back to the host within seconds. To get it again takes ten times as long as
    the faults of the guest, and whoever happens to come first would pay.
    """
    filled(size)


def seconds(function, *args):
    """What one call takes."""
    start = time.perf_counter()
    kept = function(*args)
    end = time.perf_counter()
    del kept
    return end - start


@workload(
    unit="values/s",
    question="put, then get, of 10,000 small integers, one at a time?",
    rows=("put", "get"),
    goal=(500_000, 1_000_000),
)
def small(ray):
    def measure():
        start = time.perf_counter()
        refs = [ray.put(value) for value in range(SMALL)]
        middle = time.perf_counter()
        for ref in refs:
            ray.get(ref)
        end = time.perf_counter()
        return SMALL / (middle - start), SMALL / (end - middle)

    measure()
    return measure


@small.floor("pickle into a dict, unpickle out of it")
def _():
    def measure():
        store = {}
        start = time.perf_counter()
        for value in range(SMALL):
            store[value] = pickle.dumps(value, 5)
        middle = time.perf_counter()
        for value in range(SMALL):
            pickle.loads(store[value])
        end = time.perf_counter()
        return SMALL / (middle - start), SMALL / (end - middle)

    return measure


def _put(ray, size, times):
    """GB/s of `put` when the value before it has just been dropped."""
    array = filled(size)
    # The session is warm, and the memory is that of the value before.
    ref = ray.put(array)
    del ref

    def measure():
        spent = 0.0
        for _ in range(times):
            spent += seconds(ray.put, array)
        return size * times / spent / 1e9

    measure()
    return measure


def _copy(size, times):
    """GB/s of memcpy into warm shared memory."""
    array, target = filled(size), shared_bytes(size)
    target[:] = array

    def measure():
        spent = 0.0
        for _ in range(times):
            spent += seconds(np.copyto, target, array)
        return size * times / spent / 1e9

    return measure


@workload(
    unit="GB/s",
    question="put of a 1 MB array, again and again, each dropped at once?",
    goal_of_floor=0.9,
)
def put_1mb(ray):
    return _put(ray, 1 << 20, 200)


@put_1mb.floor("memcpy into warm shared memory")
def _():
    return _copy(1 << 20, 200)


@workload(
    unit="GB/s",
    question="put of a 100 MB array, again?",
    goal_of_floor=0.9,
)
def put_100mb(ray):
    return _put(ray, 100_000_000, 3)


@put_100mb.floor("memcpy into warm shared memory")
def _():
    return _copy(100_000_000, 3)


@workload(
    unit="GB/s",
    question="put of a 1 GB array, again?",
    goal_of_floor=0.9,
    quick=False,
)
def put_1gb(ray):
    return _put(ray, 1_000_000_000, 1)


@put_1gb.floor("memcpy into warm shared memory")
def _():
    return _copy(1_000_000_000, 1)


@workload(
    unit="GB/s",
    question="put of a 1 GB array, the first in its process?",
    goal_of_floor=0.9,
    fresh=True,
    quick=False,
    repeat=3,
)
def put_1gb_first(ray):
    array = filled(1_000_000_000)
    let_host_back(1_000_000_000)
    return lambda: array.size / seconds(ray.put, array) / 1e9


@put_1gb_first.floor("memcpy into fresh shared memory")
def _():
    array, target = filled(1_000_000_000), shared_bytes(1_000_000_000)
    let_host_back(1_000_000_000)
    return lambda: array.size / seconds(np.copyto, target, array) / 1e9


@workload(
    unit="µs",
    question="get of a 1 GB array (aligned to 64 bytes, read-only, no copy)?",
    goal=10,
)
def get_1gb(ray):
    ref = ray.put(filled(1_000_000_000))
    found = ray.get(ref)
    if found.flags.writeable or found.ctypes.data % 64:
        msg = "the array is writeable or not aligned to 64 bytes"
        raise AssertionError(msg)
    del found

    def measure():
        ranked = sorted(seconds(ray.get, ref) for _ in range(100))
        return 1e6 * ranked[50]

    return measure


@get_1gb.floor("numpy.frombuffer of mapped memory")
def _():
    memory = shared_bytes(1_000_000_000)

    def measure():
        ranked = sorted(seconds(np.frombuffer, memory, np.uint8) for _ in range(100))
        return 1e6 * ranked[50]

    return measure


@workload(
    unit="µs",
    question="A task with a 100 MB array as argument, by ref; its first element back?",
    goal=100,
)
def argument_100mb(ray):
    @ray.remote
    def first(array):
        return int(array[0])

    ref = ray.put(filled(100_000_000))

    def measure():
        ranked = sorted(seconds(lambda: ray.get(first.remote(ref))) for _ in range(51))
        return 1e6 * ranked[25]

    measure()
    return measure


@argument_100mb.floor("one byte through two pipes, there and back")
def _():
    echo = Echo()
    return lambda: 1e6 * sorted(echo.once() for _ in range(51))[25]


@workload(
    unit="GB/s",
    question="A task returns a 100 MB array that it has ready, and it is got?",
    goal_of_floor=0.85,
)
def return_100mb(ray):
    @ray.remote
    def give():
        import builtins

        import numpy as np

        if not hasattr(builtins, "ready"):  # once per worker
            builtins.ready = np.full(100_000_000, 7, np.uint8)
        return builtins.ready

    def measure():
        return 0.1 / seconds(lambda: ray.get(give.remote()))

    for _ in range(4):
        measure()
    return measure


@return_100mb.floor("memcpy into warm shared memory")
def _():
    return _copy(100_000_000, 1)


@workload(
    unit="s",
    question="10,000 puts of 80 KB arrays: first, again after a drop; get of all?",
    rows=("first", "again", "get"),
    goal=(None, 0.3, 0.05),
    goal_of_floor=0.9,
    fresh=True,
    repeat=3,
    quick=False,
)
def puts_80kb(ray):
    array = filled(ARRAY)

    def put_all():
        return [ray.put(array) for _ in range(SMALL)]

    def measure():
        let_host_back(SMALL * ARRAY)
        first = seconds(put_all)
        start = time.perf_counter()
        refs = put_all()
        again = time.perf_counter() - start
        return first, again, seconds(ray.get, refs)

    return measure


@puts_80kb.floor("memcpy into fresh, then into warm shared memory; frombuffer of each")
def _():
    array = filled(ARRAY)

    def measure():
        memory = shared_bytes(ARRAY * SMALL)
        let_host_back(SMALL * ARRAY)
        parts = memory.reshape(SMALL, ARRAY)

        def copy_all():
            for part in parts:
                np.copyto(part, array)

        def get_all():
            return [np.frombuffer(memory, np.uint8, ARRAY, at * ARRAY) for at in range(SMALL)]

        return seconds(copy_all), seconds(copy_all), seconds(get_all)

    return measure
