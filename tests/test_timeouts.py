"""Time-outs are kept: never early, and not late by more than a busy machine explains."""

import asyncio
import time

import pytest

TIMEOUT_S = 0.15
LATE_S = 2
"""A wait that misses its time-out ends with the next event, of which these tests have none."""


@pytest.fixture
def pending(skate, gate):
    """A task and a generator that give nothing before the test ends."""

    @skate.remote(num_cpus=0)
    def stop():
        gate.read_bytes()

    @skate.remote(num_cpus=0)
    def stop_before_the_first():
        yield gate.read_bytes()

    return stop.remote(), stop_before_the_first.remote()


def get(skate, ref, _stream, timeout):
    with pytest.raises(skate.exceptions.GetTimeoutError):
        skate.get(ref, timeout=timeout)


def get_of_many(skate, ref, _stream, timeout):
    with pytest.raises(skate.exceptions.GetTimeoutError):
        skate.get([*(skate.put(k) for k in range(100)), ref], timeout=timeout)


def wait(skate, ref, stream, timeout):
    assert skate.wait([ref, stream], timeout=timeout) == ([], [ref, stream])


def next_of_stream(skate, _ref, stream, timeout):
    with pytest.raises(skate.exceptions.GetTimeoutError):
        stream.next(timeout=timeout)


def batch_of_stream(skate, _ref, stream, timeout):
    with pytest.raises(skate.exceptions.GetTimeoutError):
        stream.next_batch(5, timeout=timeout)


def await_ref(_skate, ref, _stream, timeout):
    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(ref.future()), timeout)

    asyncio.run(main())


def future(_skate, ref, _stream, timeout):
    with pytest.raises(TimeoutError):
        ref.future().result(timeout)


WAYS = (get, get_of_many, wait, next_of_stream, batch_of_stream, await_ref, future)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_wait_ends_at_its_timeout(skate, pending, way):
    start = time.monotonic()
    way(skate, *pending, TIMEOUT_S)
    assert TIMEOUT_S <= time.monotonic() - start < TIMEOUT_S + LATE_S


@pytest.mark.parametrize("way", WAYS[:5], ids=lambda way: way.__name__)
def test_timeout_of_zero_only_looks(skate, pending, way):
    start = time.monotonic()
    way(skate, *pending, 0)
    assert time.monotonic() - start < LATE_S


@pytest.mark.parametrize("way", WAYS[:4], ids=lambda way: way.__name__)
def test_timeout_inside_of_a_task_is_kept_too(skate, pending, way):
    @skate.remote
    def waits(refs, stream):
        import skate as inside

        start = time.monotonic()
        way(inside, refs[0], stream, TIMEOUT_S)
        return time.monotonic() - start

    ref, stream = pending
    assert TIMEOUT_S <= skate.get(waits.remote([ref], stream)) < TIMEOUT_S + LATE_S


def test_wake_ups_of_others_do_not_make_it_late(skate, pending):
    """A thread that leads for a busy one keeps its own time."""
    ref, _ = pending

    @skate.remote
    def nothing():
        return None

    from threading import Event, Thread

    is_over = Event()

    def be_busy():
        while not is_over.is_set():
            skate.get(nothing.remote())

    busy = Thread(target=be_busy)
    busy.start()
    try:
        start = time.monotonic()
        get(skate, ref, None, TIMEOUT_S)
        assert TIMEOUT_S <= time.monotonic() - start < TIMEOUT_S + LATE_S
    finally:
        is_over.set()
        busy.join()


def test_wait_names_a_count_that_is_no_whole_number(skate):
    with pytest.raises(TypeError, match="expected num_returns to be an int, got <class 'float'"):
        skate.wait([skate.put(1)], num_returns=1.0)
