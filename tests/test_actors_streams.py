"""Generator methods, where skate goes beyond Ray."""

import asyncio

import pytest


@pytest.fixture(scope="module", params=["sync", "threaded", "async"])
def maker(skate, request):
    class Sync:
        def __init__(self):
            self.closed = 0

        def blobs(self, n, size):
            try:
                for _ in range(n):
                    yield bytes(size)
            except GeneratorExit:
                self.closed += 1
                raise

        def count_closed(self):
            return self.closed

    class Async(Sync):
        async def blobs(self, n, size):
            try:
                for _ in range(n):
                    await asyncio.sleep(0)
                    yield bytes(size)
            except GeneratorExit:
                self.closed += 1
                raise

    options = {"max_concurrency": 2} if request.param == "threaded" else {"max_restarts": 0}
    return skate.remote(**options)(Async if request.param == "async" else Sync).remote()


def test_window_of_bytes_bounds_what_is_stored(skate, maker):
    call = maker.blobs.options(generator_backpressure_num_bytes=250_000)
    stream = call.remote(20, 100_000)
    taken = 0
    for ref in stream:
        assert skate.statistics().objects <= 5
        assert len(skate.get(ref)) == 100_000
        taken += 1
    assert taken == 20


def test_close_reaches_the_body(skate, maker):
    before = skate.get(maker.count_closed.remote())
    stream = maker.blobs.options(generator_backpressure_num_objects=2).remote(1000, 10)
    skate.get(next(stream))
    stream.close()
    skate.get(stream.completed())
    assert skate.get(maker.count_closed.remote()) == before + 1
    with pytest.raises(StopIteration):
        next(stream)


def test_strict_count_is_an_error_of_the_last_return(skate, maker):
    refs = maker.blobs.options(num_returns=2, strict_num_returns=True).remote(3, 1)
    assert skate.get(refs[0]) == b"\0"
    with pytest.raises(ValueError, match="more than num_returns=2"):
        skate.get(refs[1])
    assert skate.get(maker.blobs.options(num_returns=2, strict_num_returns=True).remote(2, 1)) == [
        b"\0",
        b"\0",
    ]


def test_cancelled_stream_keeps_what_was_stored(skate, maker):
    stream = maker.blobs.options(generator_backpressure_num_objects=3).remote(1000, 10)
    first = next(stream)
    skate.wait([first])
    skate.cancel(stream)
    items = 1
    with pytest.raises(skate.exceptions.TaskCancelledError):
        for ref in stream:
            skate.get(ref)
            items += 1
            if items == 1000:  # a sync method only sees a flag
                raise skate.exceptions.TaskCancelledError
    assert skate.get(first) == bytes(10)


def test_window_of_one_never_stalls(skate, maker):
    """A credit that came while a worker's background thread went to sleep was lost."""
    call = maker.blobs.options(generator_backpressure_num_objects=1)
    for _ in range(100):
        assert sum(len(skate.get(ref)) for ref in call.remote(30, 10)) == 300
