"""Many at once: refs to wait for, arguments, results, queued tasks; and that cost stays flat."""

import contextlib
import os
import tempfile
import time
from pathlib import Path

from _workload import workload

from workloads.tasks import quantiles

REFS = 1_000
QUEUED = 100_000
MILLION = 1_000_000


@contextlib.contextmanager
def gate(ray):
    """Keeps both CPUs busy until left; gives a ref that is ready afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "gate")
        os.mkfifo(path)

        @ray.remote(num_cpus=2)
        def hold(path):
            path.read_bytes()

        ref = hold.remote(path)
        with path.open("wb"):  # opens when the task has come to read
            yield
        ray.get(ref)


@workload(
    unit="s",
    question="wait for one of 1,000 refs until none is left: just submitted; all ready?",
    rows=("submitted", "ready"),
    goal=(0.02, 0.01),
)
def wait_1000(ray):
    @ray.remote
    def nothing():
        return None

    def loop(refs):
        start = time.perf_counter()
        while refs:
            _, refs = ray.wait(refs)
        return time.perf_counter() - start

    def measure():
        refs = [nothing.remote() for _ in range(REFS)]
        return loop(refs), loop(list(refs))

    measure()
    return measure


@workload(unit="s", question="One task with 10,000 refs as arguments?", goal=0.05)
def arguments_10000(ray):
    @ray.remote
    def count(*values):
        return len(values)

    refs = [ray.put(number) for number in range(10_000)]

    def measure():
        start = time.perf_counter()
        ray.get(count.remote(*refs))
        return time.perf_counter() - start

    return measure


@workload(unit="s", question="One task with num_returns=3000, all got?", goal=0.05)
def returns_3000(ray):
    @ray.remote(num_returns=3_000)
    def numbers():
        return list(range(3_000))

    def measure():
        start = time.perf_counter()
        ray.get(numbers.remote())
        return time.perf_counter() - start

    measure()
    return measure


@workload(
    unit="tasks/s",
    question="100,000 tasks queued behind one: how fast in, and, once it ends, out?",
    rows=("in", "out"),
    goal=(400_000, 250_000),
    repeat=3,
)
def queue_100k(ray):
    @ray.remote
    def nothing():
        return None

    def measure():
        with gate(ray):
            start = time.perf_counter()
            refs = [nothing.remote() for _ in range(QUEUED)]
            submitted = time.perf_counter() - start
        start = time.perf_counter()
        ray.get(refs)
        return QUEUED / submitted, QUEUED / (time.perf_counter() - start)

    return measure


@workload(
    unit="times",
    question="What a task costs among 1,000,000 queued, as multiple of that among 1,000?",
    goal=1.2,
    repeat=3,
    quick=False,
    ray=False,
)
def flat_tasks(ray):
    @ray.remote
    def nothing():
        return None

    def seconds_each(count):
        start = time.perf_counter()
        ray.get([nothing.remote() for _ in range(count)])
        return (time.perf_counter() - start) / count

    def measure():
        few = sum(seconds_each(1_000) for _ in range(100)) / 100
        return seconds_each(MILLION) / few

    seconds_each(1_000)
    return measure


@workload(
    unit="times",
    question="A no-op round trip beside 500 idle actors, as multiple of that beside none?",
    goal=2,
    repeat=3,
    quick=False,
    needs="get_actor",
    ray=False,
)
def flat_actors(ray):
    @ray.remote
    def nothing():
        return None

    @ray.remote(num_cpus=0)
    class Idle:
        def is_there(self):
            return True

    def seconds_each():
        trips = []
        for _ in range(2_000):
            start = time.perf_counter()
            ray.get(nothing.remote())
            trips.append(time.perf_counter() - start)
        return quantiles(trips)[0]

    def measure():
        alone = seconds_each()
        crowd = [Idle.remote() for _ in range(500)]
        ray.get([idle.is_there.remote() for idle in crowd])
        return seconds_each() / alone

    seconds_each()
    return measure


@workload(
    unit="times",
    question="What an item costs in a stream of 1,000,000, as multiple of that in one of 1,000?",
    goal=1.2,
    repeat=3,
    quick=False,
    ray=False,
)
def flat_stream(ray):
    @ray.remote(num_returns="streaming")
    def numbers(count):
        yield from range(count)

    def seconds_each(count):
        start = time.perf_counter()
        for ref in numbers.remote(count):
            ray.get(ref)
        return (time.perf_counter() - start) / count

    def measure():
        few = sum(seconds_each(1_000) for _ in range(100)) / 100
        return seconds_each(MILLION) / few

    seconds_each(1_000)
    return measure
