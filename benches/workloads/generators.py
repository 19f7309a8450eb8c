"""Generators: small items by the thousand, the first item, large items, a pipeline."""

import os
import struct
import time

import numpy as np
from _pipes import Echo, Messages, fork
from _workload import workload

from workloads.objects import shared_bytes
from workloads.tasks import quantiles

ITEMS = 10_000
LARGE, LARGE_ITEMS = 20_000_000, 50
STEP_S, STEPS = 0.005, 100


def _numbers(ray, returns):
    @ray.remote(num_returns=returns)
    def numbers(count):
        # Ray sends to what is delegated to, and cannot send to a range: no `yield from`.
        for number in range(count):  # noqa: UP028
            yield number

    return numbers


@workload(
    unit="items/s",
    question="A streaming generator of 10,000 integers, each ref got as it comes?",
    goal=300_000,
)
def stream(ray):
    numbers = _numbers(ray, "streaming")

    def measure():
        start = time.perf_counter()
        for ref in numbers.remote(ITEMS):
            ray.get(ref)
        return ITEMS / (time.perf_counter() - start)

    measure()
    return measure


@stream.floor("pickled integers through a pipe, batched")
def _():
    def produce(read, write):
        os.close(read)
        out = Messages(write)
        for number in range(ITEMS):
            out.send(number)
        out.flush()

    def measure():
        read, write = os.pipe()
        start = time.perf_counter()
        pid = fork(produce, read, write)
        os.close(write)
        messages = Messages(read)
        for _ in range(ITEMS):
            messages.receive()
        spent = time.perf_counter() - start
        os.close(read)
        os.waitpid(pid, 0)
        return ITEMS / spent

    return measure


@workload(
    unit="items/s",
    question='num_returns="dynamic": 10,000 integers, all got?',
    goal=300_000,
)
def dynamic(ray):
    numbers = _numbers(ray, "dynamic")

    def measure():
        start = time.perf_counter()
        for ref in ray.get(numbers.remote(ITEMS)):
            ray.get(ref)
        return ITEMS / (time.perf_counter() - start)

    measure()
    return measure


@workload(
    unit="items/s",
    question="A generator with num_returns=3000 of integers, all got at once?",
    goal=300_000,
)
def static(ray):
    numbers = _numbers(ray, 3_000)

    def measure():
        start = time.perf_counter()
        ray.get(numbers.remote(3_000))
        return 3_000 / (time.perf_counter() - start)

    measure()
    return measure


@workload(
    unit="µs",
    question="From submit to the first item in hand; from a yield to its consumer (p50)?",
    rows=("first", "yield"),
    goal=(150, 20),
)
def item_latency(ray):
    @ray.remote(num_returns="streaming")
    def moments(count, pause_s):
        for _ in range(count):
            if pause_s:
                time.sleep(pause_s)
            yield time.perf_counter()

    def first():
        start = time.perf_counter()
        items = moments.remote(1, 0)
        ray.get(next(items))
        return time.perf_counter() - start

    def measure():
        firsts = [first() for _ in range(50)]
        delays = []
        for ref in moments.remote(50, 0.002):
            yielded = ray.get(ref)
            delays.append(time.perf_counter() - yielded)
        return quantiles(firsts)[0], quantiles(delays)[0]

    measure()
    return measure


@item_latency.floor("one byte through two pipes; a time stamp through one")
def _():
    stamp = struct.Struct("d")
    echo = Echo()

    def produce(read, write):
        os.close(read)
        for _ in range(50):
            time.sleep(0.002)
            os.write(write, stamp.pack(time.perf_counter()))

    def measure():
        read, write = os.pipe()
        pid = fork(produce, read, write)
        os.close(write)
        delays = []
        while data := os.read(read, stamp.size):
            delays.append(time.perf_counter() - stamp.unpack(data)[0])
        os.close(read)
        os.waitpid(pid, 0)
        return quantiles([echo.once() for _ in range(50)])[0], quantiles(delays)[0]

    return measure


@workload(
    unit="GB/s",
    question="A streaming generator of 50 arrays of 20 MB that it has ready, each got and dropped?",
    goal_of_floor=0.8,
)
def stream_20mb(ray):
    @ray.remote(num_returns="streaming", _generator_backpressure_num_objects=2)
    def arrays(size, count):
        import numpy as np

        array = np.full(size, 7, np.uint8)
        for _ in range(count):
            yield array

    def measure():
        items = iter(arrays.remote(LARGE, LARGE_ITEMS))
        array = ray.get(next(items))
        start = time.perf_counter()
        for ref in items:
            array = ray.get(ref)
            if array[-1] != 7:
                raise AssertionError(array)
        return LARGE * (LARGE_ITEMS - 1) / (time.perf_counter() - start) / 1e9

    measure()
    return measure


@stream_20mb.floor("memcpy into warm shared memory")
def _():
    array = np.full(LARGE, 7, np.uint8)
    target = shared_bytes(LARGE)
    target[:] = array

    def measure():
        start = time.perf_counter()
        for _ in range(LARGE_ITEMS - 1):
            np.copyto(target, array)
        return LARGE * (LARGE_ITEMS - 1) / (time.perf_counter() - start) / 1e9

    return measure


@workload(
    unit="share",
    question="Producer of 5 ms an item, a task of 5 ms for each of 100: ideal time / real time?",
    goal=0.97,
)
def pipeline(ray):
    @ray.remote(num_returns="streaming")
    def produce(count, step_s):
        for number in range(count):
            time.sleep(step_s)
            yield number

    @ray.remote
    def consume(number, step_s):
        time.sleep(step_s)
        return number

    def measure():
        start = time.perf_counter()
        refs = [consume.remote(ref, STEP_S) for ref in produce.remote(STEPS, STEP_S)]
        ray.get(refs)
        return STEP_S * (STEPS + 1) / (time.perf_counter() - start)

    measure()
    return measure


@pipeline.floor("two processes and a pipe")
def _():
    def produce(read, write):
        os.close(read)
        for _ in range(STEPS):
            time.sleep(STEP_S)
            os.write(write, b"x")

    def measure():
        read, write = os.pipe()
        start = time.perf_counter()
        pid = fork(produce, read, write)
        os.close(write)
        while os.read(read, 1):
            time.sleep(STEP_S)
        spent = time.perf_counter() - start
        os.close(read)
        os.waitpid(pid, 0)
        return STEP_S * (STEPS + 1) / spent

    return measure
