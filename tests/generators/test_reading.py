"""A7, A8: return values, timeouts, batches, threads, and reads that end without an item."""

import asyncio
import itertools
import random
import signal
import threading
import time

import pytest


def make_count(skate):
    @skate.remote
    def count(stop, result=None):
        for k in range(stop):
            yield k
        return result

    return count


@pytest.mark.parametrize("result", [None, 7, "x" * 100_000, [1, {2: 3}]])
def test_return_value_comes_with_the_end(skate, result):
    stream = make_count(skate).remote(2, result)
    list_of_refs = [next(stream), next(stream)]
    for _ in range(2):
        with pytest.raises(StopIteration) as end:
            next(stream)
        assert end.value.value == result
    assert skate.get(stream.completed()) == result
    assert skate.get(list_of_refs) == [0, 1]


def test_yield_from_in_a_driver_generator_gets_the_return_value(skate):
    def delegates():
        return (yield from make_count(skate).remote(3, "done"))

    generator = delegates()
    with pytest.raises(StopIteration) as end:
        while True:
            next(generator)
    assert end.value.value == "done"


def test_return_value_arrives_in_a_worker(skate):
    @skate.remote
    def read(stream):
        while True:
            try:
                next(stream)
            except StopIteration as end:
                return end.value

    assert skate.get(read.remote(make_count(skate).remote(3, 5))) == 5


def test_async_end_has_no_value_but_completed_has(skate):
    async def read():
        stream = make_count(skate).remote(2, "value")
        with pytest.raises(StopAsyncIteration) as end:
            while True:
                await anext(stream)
        assert end.value.args == ()
        return await stream.completed()

    assert asyncio.run(read()) == "value"


def test_next_with_a_timeout_takes_nothing_when_it_ends(skate, gate):
    @skate.remote
    def items():
        gate.read_bytes()
        yield 1

    stream = items.remote()
    for timeout in (0, 0.01):
        with pytest.raises(skate.exceptions.GetTimeoutError):
            stream.next(timeout=timeout)
    gate.write_bytes(b"")
    assert skate.get(stream.next(timeout=None)) == 1
    with pytest.raises(StopIteration):
        stream.next()


def test_next_refuses_a_negative_timeout(skate):
    stream = make_count(skate).remote(1)
    with pytest.raises(ValueError, match="must be at least 0"):
        stream.next(timeout=-1)
    list(stream)


@pytest.mark.parametrize("mode", ["streaming", "dynamic"])
def test_batch_is_what_is_there(skate, mode):
    result = make_count(skate).options(num_returns=mode).remote(5)
    if mode == "dynamic":
        result = skate.get(result)
        len(result)
    else:
        skate.get(result.completed())
    assert skate.get(result.next_batch(2)) == [0, 1]
    assert skate.get(result.next_batch(100)) == [2, 3, 4]
    with pytest.raises(StopIteration):
        result.next_batch(1)


def test_batch_waits_for_the_first_only(skate, gates):
    first, rest = gates("first"), gates("rest")

    @skate.remote
    def items():
        first.read_bytes()
        yield 0
        rest.read_bytes()
        yield 1

    stream = items.remote()
    with pytest.raises(skate.exceptions.GetTimeoutError):
        stream.next_batch(5, timeout=0)
    first.write_bytes(b"")
    assert skate.get(stream.next_batch(5)) == [0]
    rest.write_bytes(b"")
    assert skate.get(stream.next_batch(5)) == [1]


@pytest.mark.parametrize("n", [0, -1, 2**32])
def test_batch_of_no_possible_size_is_refused(skate, n):
    stream = make_count(skate).remote(1)
    with pytest.raises(ValueError, match=f"n is {n}"):
        stream.next_batch(n)
    list(stream)


def test_batches_in_a_worker(skate):
    @skate.remote
    def read(stream):
        sizes = []
        while True:
            try:
                sizes.append(len(skate.get(stream.next_batch(7))))
            except StopIteration:
                return sizes

    stream = make_count(skate).remote(100)
    sizes = skate.get(read.remote(stream))
    assert sum(sizes) == 100
    assert max(sizes) <= 7


def test_many_threads_share_one_stream(skate):
    stream = make_count(skate).remote(3000)
    taken = [[] for _ in range(8)]

    def read(mine):
        mine.extend(skate.get(ref) for ref in stream)

    threads = [threading.Thread(target=read, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(k for mine in taken for k in mine) == list(range(3000))


@pytest.mark.processes("who asks for an item makes it")
def test_random_timeouts_lose_and_repeat_nothing(skate):
    """Timeouts so short that they end on either side of the item's arrival."""
    rng = random.Random(1)

    @skate.remote(generator_backpressure_num_objects=1)
    def items():
        yield from itertools.count()

    stream = items.remote()
    taken, timeouts = [], 0
    while timeouts < 2000 or len(taken) < 500:
        try:
            taken.append(stream.next(timeout=rng.choice([0, 1e-6, 1e-5, 5e-5, 1e-4])))
        except skate.exceptions.GetTimeoutError:
            timeouts += 1
    stream.close()
    assert skate.get(taken) == list(range(len(taken)))


@pytest.mark.processes("who asks for an item makes it")
def test_ten_thousand_cancelled_awaits_lose_and_repeat_nothing(skate):
    rng = random.Random(2)

    @skate.remote(generator_backpressure_num_objects=2)
    def items():
        yield from itertools.count()

    async def read():
        stream = items.remote()
        taken, cancels = [], 0
        while cancels < 10_000:
            task = asyncio.ensure_future(anext(stream))
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            task.cancel()
            try:
                taken.append(await task)
            except asyncio.CancelledError:
                cancels += 1
        taken += [await anext(stream) for _ in range(100)]
        stream.close()
        return taken

    taken = asyncio.run(read())
    assert skate.get(taken) == list(range(len(taken)))


@pytest.mark.processes("who asks for an item makes it")
def test_interrupted_next_takes_nothing(skate):
    """A signal handler raises about when an item comes, again and again."""

    class Interrupt(Exception):
        pass

    is_armed = False

    def interrupt(*_):
        nonlocal is_armed
        if is_armed:  # once for each `next`, so never while the exception is handled
            is_armed = False
            raise Interrupt

    @skate.remote(generator_backpressure_num_objects=1)
    def items(stop):
        pauses = random.Random(4)
        for k in range(stop):
            time.sleep(pauses.uniform(0, 2e-4))  # else all may come before the first signal can
            yield k

    old = signal.signal(signal.SIGALRM, interrupt)
    stream, taken, interrupts = items.remote(1000), [], 0
    rng = random.Random(3)
    try:
        while True:
            try:
                is_armed = True
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(2e-5, 4e-4))
                item = next(stream)
                is_armed = False
                taken.append(item)
            except Interrupt:
                interrupts += 1
            except StopIteration:
                break
    finally:
        is_armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    values = skate.get(taken)
    # An exception between the return and the assignment is Python's own: that item was taken.
    assert values == sorted(set(values))
    assert 1000 - len(values) <= interrupts
    assert interrupts > 0
