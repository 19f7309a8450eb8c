"""Wrong use gets a clear error, nothing hangs, and the session goes on."""

import threading

import pytest


@pytest.fixture(autouse=True)
def session_goes_on(ray):
    yield

    @ray.remote
    def one():
        return 1

    assert ray.get(one.remote(), timeout=30) == 1


def test_direct_call_of_a_remote_function(ray):
    @ray.remote
    def work():
        return 1

    with pytest.raises(
        TypeError, match=r"Remote functions cannot be called directly.*\.remote\(\)"
    ):
        work()


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"unknown": 2}), ((1,), {"a": 1})]
)
def test_wrong_arity_is_a_type_error_at_the_call(ray, args, kwargs):
    @ray.remote
    def work(a, b=0):
        return a + b

    with pytest.raises(TypeError):
        work.remote(*args, **kwargs)


def test_argument_that_cannot_be_pickled(ray):
    @ray.remote
    def work(box):
        return box

    with pytest.raises(TypeError, match="lock"):
        work.remote({"key": [threading.Lock()]})


def test_result_that_cannot_be_pickled(ray):
    @ray.remote
    def work():
        return threading.Lock()

    with pytest.raises(TypeError, match="lock") as caught:
        ray.get(work.remote())
    assert isinstance(caught.value, ray.exceptions.RayTaskError)


def test_item_that_cannot_be_pickled_ends_the_stream(ray):
    @ray.remote
    def items():
        yield 1
        yield threading.Lock()
        yield 3

    good, bad = list(items.remote())
    assert ray.get(good) == 1
    with pytest.raises(TypeError, match="lock"):
        ray.get(bad)


def test_item_of_a_static_generator_that_cannot_be_pickled(ray):
    @ray.remote(num_returns=3)
    def items():
        yield 1
        yield threading.Lock()
        yield 3

    good, bad, after = items.remote()
    assert ray.get(good) == 1
    for ref in (bad, after):
        with pytest.raises(TypeError, match="lock"):
            ray.get(ref)


def test_put_that_cannot_be_pickled(ray):
    with pytest.raises(TypeError, match="lock"):
        ray.put(threading.Lock())


def test_function_that_cannot_be_pickled(ray):
    lock = threading.Lock()

    @ray.remote
    def work():
        return lock

    with pytest.raises(TypeError, match="lock"):
        work.remote()


def test_result_that_cannot_be_unpickled_raises_at_get(ray):
    class Unloadable:
        def __reduce__(self):
            return int, ("not a number",)

    @ray.remote
    def work():
        return Unloadable()

    with pytest.raises((ValueError, ray.exceptions.RayError)):
        ray.get(work.remote())


def test_argument_that_cannot_be_unpickled_is_an_error_of_the_task(ray):
    class Unloadable:
        def __reduce__(self):
            return int, ("not a number",)

    @ray.remote(max_retries=0)
    def work(value):
        return value

    with pytest.raises(ray.exceptions.RayError):
        ray.get(work.remote(Unloadable()), timeout=30)


def test_async_function_is_no_task(ray):
    with pytest.raises(ValueError, match="async"):

        @ray.remote
        async def work():
            return 1


@pytest.mark.parametrize("thing", [1, "text"])
def test_only_functions_and_classes_can_be_remote(ray, thing):
    with pytest.raises((TypeError, AssertionError)):
        ray.remote(thing)


def test_empty_parentheses_are_refused(ray):
    with pytest.raises((TypeError, AssertionError)):
        ray.remote()(lambda: 1)


def test_positional_options_are_refused(ray):
    with pytest.raises((TypeError, AssertionError)):
        ray.remote(2)(lambda: 1)


def test_negative_timeout_of_get(ray):
    with pytest.raises(ValueError):
        ray.get(ray.put(1), timeout=-5)


def test_ref_that_was_never_made(ray):
    ref = ray.ObjectRef.from_random()
    with pytest.raises((ray.exceptions.GetTimeoutError, ray.exceptions.ObjectLostError)):
        ray.get(ref, timeout=0.1)
