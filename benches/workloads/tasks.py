"""Tasks: one at a time, many at once, with something to carry, from within a task."""

import statistics
import time
from concurrent.futures import ProcessPoolExecutor

from _pipes import Echo, Worker
from _workload import workload

CALLS = 10_000


def quantiles(seconds):
    """Median and 99th percentile, in microseconds."""
    ranked = sorted(seconds)
    return 1e6 * statistics.median(ranked), 1e6 * ranked[len(ranked) * 99 // 100]


@workload(
    unit="µs",
    question="One no-op task, submitted and got, then the next: 1,000 times?",
    rows=("p50", "p99"),
    goal=(20, 150),
)
def roundtrip(ray):
    @ray.remote
    def nothing():
        return None

    def once():
        start = time.perf_counter()
        ray.get(nothing.remote())
        return time.perf_counter() - start

    for _ in range(100):
        once()
    return lambda: quantiles([once() for _ in range(1_000)])


@roundtrip.floor("one byte through two pipes, there and back")
def _():
    echo = Echo()
    return lambda: quantiles([echo.once() for _ in range(1_000)])


@roundtrip.peer()
def _():
    pool = ProcessPoolExecutor(2)
    pool.submit(int).result()

    def once():
        start = time.perf_counter()
        pool.submit(int).result()
        return time.perf_counter() - start

    return lambda: quantiles([once() for _ in range(300)])


@workload(
    unit="tasks/s",
    question="10,000 no-op tasks submitted, then all got at once?",
    goal=250_000,
)
def tasks(ray):
    @ray.remote
    def nothing():
        return None

    def measure():
        start = time.perf_counter()
        ray.get([nothing.remote() for _ in range(CALLS)])
        return CALLS / (time.perf_counter() - start)

    ray.get([nothing.remote() for _ in range(100)])
    return measure


@tasks.floor("the same calls pickled, through two pipes, batched, one worker")
def _():
    worker = Worker({"nothing": lambda _: None})

    def measure():
        start = time.perf_counter()
        worker.map("nothing", range(CALLS))
        return CALLS / (time.perf_counter() - start)

    return measure


@tasks.peer()
def _():
    pool = ProcessPoolExecutor(2)

    def measure():
        start = time.perf_counter()
        for future in [pool.submit(int) for _ in range(CALLS)]:
            future.result()
        return CALLS / (time.perf_counter() - start)

    measure()
    return measure


@workload(
    unit="tasks/s",
    question="10,000 tasks that each take and give 10 KB of bytes?",
    goal=80_000,
)
def tasks_10kb(ray):
    @ray.remote
    def echo(data):
        return data

    payload = bytes(10_000)

    def measure():
        start = time.perf_counter()
        ray.get([echo.remote(payload) for _ in range(CALLS)])
        return CALLS / (time.perf_counter() - start)

    ray.get([echo.remote(payload) for _ in range(100)])
    return measure


@tasks_10kb.floor("the same calls pickled, through two pipes, one worker")
def _():
    worker = Worker({"echo": lambda data: data})
    payload = bytes(10_000)

    def measure():
        start = time.perf_counter()
        worker.map("echo", [payload] * CALLS, window=4)
        return CALLS / (time.perf_counter() - start)

    return measure


@tasks_10kb.peer()
def _():
    pool = ProcessPoolExecutor(2)
    payload = bytes(10_000)

    def measure():
        start = time.perf_counter()
        for future in [pool.submit(bytes, payload) for _ in range(CALLS)]:
            future.result()
        return CALLS / (time.perf_counter() - start)

    return measure


@workload(
    unit="ms",
    question="A task that submits 100 tasks and gets them?",
    goal=5,
)
def nested(ray):
    @ray.remote
    def nothing():
        return None

    @ray.remote
    def parent():
        return len(ray.get([nothing.remote() for _ in range(100)]))

    def measure():
        start = time.perf_counter()
        ray.get(parent.remote())
        return 1e3 * (time.perf_counter() - start)

    measure()
    return measure
