"""Generator methods: every mode on every kind of actor."""

import pytest

KINDS = ("sync", "threaded", "async", "sync in async")
# Ray has only streams of async generators.
with_async_generators = pytest.mark.parametrize(
    "counting",
    [pytest.param(kind, marks=[pytest.mark.engine("skate")] * (kind == "async")) for kind in KINDS],
    indirect=True,
)


@pytest.fixture(scope="module", params=KINDS)
def counting(ray, request):
    class Sync:
        def count(self, n, *, fail_at=None):
            for index in range(n):
                if index == fail_at:
                    raise ValueError(f"at {index}")
                yield index

        def hello(self):
            return "hello"

    class Async:
        async def count(self, n, *, fail_at=None):
            for index in range(n):
                if index == fail_at:
                    raise ValueError(f"at {index}")
                yield index

        def hello(self):
            return "hello"

    class Mixed(Sync):
        async def other(self):
            pass

    kinds = {
        "sync": ray.remote(Sync),
        "threaded": ray.remote(max_concurrency=2)(Sync),
        "async": ray.remote(Async),
        "sync in async": ray.remote(Mixed),
    }
    return kinds[request.param].remote()


def test_streaming_is_the_default(ray, counting):
    assert [ray.get(ref) for ref in counting.count.remote(5)] == list(range(5))


@with_async_generators
def test_static(ray, counting):
    assert ray.get(counting.count.options(num_returns=3).remote(3)) == [0, 1, 2]


@with_async_generators
def test_too_few_yields(ray, counting):
    refs = counting.count.options(num_returns=3).remote(2)
    assert ray.get(refs[:2]) == [0, 1]
    with pytest.raises(ValueError, match="Task returned 2 objects, but num_returns=3"):
        ray.get(refs[2])


@with_async_generators
def test_dynamic(ray, counting):
    dynamic = ray.get(counting.count.options(num_returns="dynamic").remote(4))
    assert [ray.get(ref) for ref in dynamic] == [0, 1, 2, 3]


def test_exception_takes_the_place_of_its_item(ray, counting):
    stream = counting.count.remote(5, fail_at=2)
    assert [ray.get(next(stream)) for _ in range(2)] == [0, 1]
    with pytest.raises(ValueError, match="at 2"):
        ray.get(next(stream))
    with pytest.raises(StopIteration):
        next(stream)


def test_backpressure_by_count(ray, counting):
    call = counting.count.options(_generator_backpressure_num_objects=1)
    assert [ray.get(ref) for ref in call.remote(20)] == list(range(20))


def test_actor_goes_on_after_its_streams(ray, counting):
    stream = counting.count.remote(1000)
    next(stream)
    del stream
    assert ray.get(counting.hello.remote()) == "hello"
