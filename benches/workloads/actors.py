"""Actors: one call at a time, many at once, async ones, generators, and making them."""

import time

from _pipes import Worker
from _workload import workload

from workloads.tasks import CALLS, quantiles


def _counter(ray):
    @ray.remote
    class Counter:
        def __init__(self):
            self.count = 0

        def add(self):
            self.count += 1
            return self.count

        def numbers(self, count):
            for number in range(count):  # noqa: UP028 - Ray cannot send to a range
                yield number

    return Counter


@workload(
    unit="µs",
    question="One call of an actor, got, then the next: 1,000 times?",
    rows=("p50", "p99"),
    goal=(20, None),
    needs="get_actor",
)
def actor_roundtrip(ray):
    counter = _counter(ray).remote()

    def once():
        start = time.perf_counter()
        ray.get(counter.add.remote())
        return time.perf_counter() - start

    for _ in range(100):
        once()
    return lambda: quantiles([once() for _ in range(1_000)])


@workload(
    unit="calls/s",
    question="10,000 calls of one actor, then all got?",
    goal=250_000,
    needs="get_actor",
)
def actor_calls(ray):
    counter = _counter(ray).remote()

    def measure():
        start = time.perf_counter()
        ray.get([counter.add.remote() for _ in range(CALLS)])
        return CALLS / (time.perf_counter() - start)

    ray.get(counter.add.remote())
    return measure


@actor_calls.floor("the same calls pickled, through two pipes, batched")
def _():
    worker = Worker({"add": lambda number: number + 1})

    def measure():
        start = time.perf_counter()
        worker.map("add", range(CALLS))
        return CALLS / (time.perf_counter() - start)

    return measure


@workload(
    unit="calls/s",
    question="10,000 calls of an async method, then all got?",
    goal=60_000,
    needs="get_actor",
)
def actor_async(ray):
    @ray.remote
    class Async:
        async def nothing(self):
            return None

    actor = Async.remote()

    def measure():
        start = time.perf_counter()
        ray.get([actor.nothing.remote() for _ in range(CALLS)])
        return CALLS / (time.perf_counter() - start)

    ray.get(actor.nothing.remote())
    return measure


@workload(
    unit="items/s",
    question="A streaming method of an actor: 10,000 integers, each got as it comes?",
    goal=300_000,
    needs="get_actor",
)
def actor_stream(ray):
    counter = _counter(ray).remote()
    numbers = counter.numbers.options(num_returns="streaming")

    def measure():
        start = time.perf_counter()
        for ref in numbers.remote(CALLS):
            ray.get(ref)
        return CALLS / (time.perf_counter() - start)

    measure()
    return measure


@workload(
    unit="actors/s",
    question="Actors made, called once and dropped, 20 in turn?",
    goal=200,
    needs="get_actor",
)
def actor_start(ray):
    counter = _counter(ray)

    def measure():
        start = time.perf_counter()
        for _ in range(20):
            ray.get(counter.options(num_cpus=0).remote().add.remote())
        return 20 / (time.perf_counter() - start)

    return measure
