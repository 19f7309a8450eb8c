"""Many threads at once, in the driver and in tasks: exact results, and each item exactly once."""

import asyncio
import concurrent.futures
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from programs import at_rest, wait_until

THREADS = 16


@pytest.fixture(scope="module")
def skate():
    import skate as module

    module.init(num_cpus=2)
    yield module
    try:
        wait_until(lambda: at_rest(module), module.statistics)
    finally:
        module.shutdown()


def in_threads(work, count=THREADS):
    """Runs `work(k)` in so many threads, started together; their results."""
    barrier = threading.Barrier(count)

    def begin(k):
        barrier.wait()
        return work(k)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def test_calls_and_gets(skate):
    @skate.remote
    def double(x):
        return 2 * x

    def work(k):
        for round_ in range(25):
            numbers = [1000 * k + 10 * round_ + j for j in range(10)]
            refs = [double.remote(x) for x in numbers]
            assert [skate.get(ref) for ref in refs] == [2 * x for x in numbers]
        return True

    assert all(in_threads(work))


def test_puts_waits_and_lists(skate):
    @skate.remote
    def same(x):
        return x

    def work(k):
        import numpy as np

        for _ in range(20):
            mine = skate.put(np.full(5000, k))
            refs = [same.remote(mine) for _ in range(5)]
            ready, rest = skate.wait(refs, num_returns=3)
            assert len(ready) == 3
            assert len(rest) == 2
            for array in skate.get(refs):
                assert array[0] == array[-1] == k
            assert skate.wait(refs, num_returns=5, timeout=0) == (refs, [])
        return True

    assert all(in_threads(work))


def test_one_ref_is_got_by_all(skate, gate):
    @skate.remote
    def wait(gate):
        return gate.read_bytes()

    ref = wait.remote(gate)
    threads = [threading.Thread(target=lambda: results.append(skate.get(ref))) for _ in range(8)]
    results = []
    for thread in threads:
        thread.start()
    gate.write_bytes(b"text")
    for thread in threads:
        thread.join()
    assert results == [b"text"] * 8


@pytest.mark.parametrize("window", [-1, 3])
def test_items_of_one_stream_come_exactly_once(skate, window):
    @skate.remote(_generator_backpressure_num_objects=window)
    def items():
        yield from range(4000)

    stream = items.remote()

    def read(_k):
        return [skate.get(ref) for ref in stream]

    parts = in_threads(read)
    for part in parts:
        assert part == sorted(part)
    assert Counter(x for part in parts for x in part) == Counter(range(4000))


def test_items_come_exactly_once_although_readers_give_up(skate):
    @skate.remote(_generator_backpressure_num_objects=2)
    def items():
        yield from range(1000)

    stream = items.remote()

    def read(k):
        mine = []
        while True:
            try:
                mine.append(skate.get(stream.next(timeout=0 if k % 2 else 0.0005)))
            except skate.exceptions.GetTimeoutError:
                continue
            except StopIteration:
                return mine

    parts = in_threads(read, 8)
    assert Counter(x for part in parts for x in part) == Counter(range(1000))


def test_threads_in_a_task_use_skate(skate):
    @skate.remote
    def double(x):
        return 2 * x

    @skate.remote
    def items(n):
        yield from range(n)

    # Only a task's main thread gives its CPU back while it waits, so this one has none.
    @skate.remote(num_cpus=0)
    def task():
        def work(k):
            ref = skate.put([k])
            values = skate.get([double.remote(k + j) for j in range(10)])
            assert values == [2 * (k + j) for j in range(10)]
            assert [skate.get(item) for item in items.remote(5)] == list(range(5))
            skate.wait([ref])
            return skate.get(ref)[0]

        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(work, range(16)))

    assert skate.get([task.remote() for _ in range(3)]) == [list(range(16))] * 3


def test_an_event_loop_in_each_thread(skate):
    @skate.remote
    def double(x):
        return 2 * x

    @skate.remote
    def items():
        yield from range(20)

    async def work(k):
        values = await asyncio.gather(*[double.remote(k + j) for j in range(30)])
        assert values == [2 * (k + j) for j in range(30)]
        return [await ref async for ref in items.remote()]

    results = in_threads(lambda k: [asyncio.run(work(k)) for _ in range(3)], 6)
    assert results == [[list(range(20))] * 3] * 6


def test_loops_one_after_the_other_leave_nothing(skate):
    import os

    @skate.remote
    def double(x):
        return 2 * x

    async def work():
        return await double.remote(2)

    assert asyncio.run(work()) == 4
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(30):
        assert asyncio.run(work()) == 4
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_futures_and_callbacks_with_cancels(skate):
    @skate.remote
    def double(x):
        return 2 * x

    counts = Counter()
    done = threading.Semaphore(0)

    def callback(value):
        counts[value] += 1
        done.release()

    def work(k):
        for round_ in range(20):
            ref = double.remote(k)
            ref._on_completed(callback)
            future = ref.future()
            other = ref.future()
            was_cancelled = other.cancel() if round_ % 2 else False
            assert future.result(timeout=30) == 2 * k
            assert other.cancelled() if was_cancelled else other.result(timeout=30) == 2 * k
        return True

    assert all(in_threads(work, 8))
    for _ in range(160):
        assert done.acquire(timeout=30)
    assert counts == {2 * k: 20 for k in range(8)}


def test_future_lets_go_of_its_ref(skate):
    # The closure of one that was cancelled stayed with the helper, as did the last one that it ran.
    ref = skate.remote(lambda: 1).remote()
    ref.future().cancel()
    assert ref.future().result(timeout=30) == 1
    del ref
    wait_until(lambda: at_rest(skate), skate.statistics)


def test_cancelled_future_is_done_for_who_waits_for_it(skate, gate):
    # It never was: `wait` and `as_completed` slept until their timeouts, for ever without one.
    ref = skate.remote(lambda: gate.read_bytes()).remote()
    future = ref.future()
    was_cancelled = future.cancel()
    done, _ = concurrent.futures.wait([future], timeout=0)
    gate.write_bytes(b"")
    skate.get(ref)
    assert was_cancelled
    assert done == {future}


def test_awaits_that_are_cancelled_at_random(skate):
    import random

    @skate.remote
    def double(x):
        return 2 * x

    @skate.remote(_generator_backpressure_num_objects=4)
    def items():
        yield from range(300)

    seed = random.Random(7)

    async def impatient(coroutine):
        task = asyncio.ensure_future(coroutine)
        for _ in range(seed.randrange(4)):
            await asyncio.sleep(0)
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return None

    async def work():
        refs = [double.remote(k) for k in range(200)]

        async def get(ref):
            return await ref

        await asyncio.gather(*[impatient(get(ref)) for ref in refs])
        assert await asyncio.gather(*refs) == [2 * k for k in range(200)]
        stream, seen = items.remote(), []
        while True:
            try:
                ref = await impatient(anext(stream))
                ref = ref or await anext(stream)
            except StopAsyncIteration:
                return seen
            seen.append(await ref)

    assert asyncio.run(work()) == list(range(300))


def test_sessions_come_and_go_while_threads_use_them(run):
    run(
        """
        stop = threading.Event()
        double = skate.remote(lambda x: 2 * x)

        def work():
            while not stop.is_set():
                try:
                    assert skate.get(double.remote(2)) == 4
                except (skate.exceptions.RayError, ValueError, TypeError):
                    pass  # the session has ended under it

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(10):
            skate.init(num_cpus=1, ignore_reinit_error=True)
            skate.shutdown()
        stop.set()
        for thread in threads:
            thread.join()
        skate.shutdown()
        assert skate.get(double.remote(3)) == 6
        """
    )
