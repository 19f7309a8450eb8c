"""Generators in the three modes on a Ray cluster, with Ray's semantics."""

import asyncio

import pytest


@pytest.fixture(scope="module")
def count(ray):
    def count(n):
        yield from range(n)

    return ray.remote(count)


def test_streaming_items_come_one_by_one(ray, gate):
    def two():
        yield 1
        gate.read_bytes()
        yield 2

    items = ray.remote(two).remote()
    assert isinstance(items, ray.ObjectRefGenerator)
    assert ray.get(next(items)) == 1
    with pytest.raises(ray.exceptions.GetTimeoutError):
        items.next(timeout=0.1)
    assert not items.next_ready()
    gate.write_bytes(b"")
    assert [ray.get(ref) for ref in items] == [2]
    assert items.is_finished()
    with pytest.raises(StopIteration):
        next(items)


def test_an_error_is_the_last_item(ray):
    def fails():
        yield 1
        raise ValueError("second")

    items = ray.remote(fails).remote()
    assert ray.get(next(items)) == 1
    with pytest.raises(ValueError, match="second") as caught:
        ray.get(next(items))
    assert isinstance(caught.value, ray.exceptions.RayTaskError)
    assert list(items) == []


def test_async_for_reads_a_stream(ray, count):
    async def main():
        return [await ref async for ref in count.remote(3)]

    assert asyncio.run(main()) == [0, 1, 2]


def test_items_go_to_other_tasks(ray, count):
    square = ray.remote(lambda n: n * n)
    assert ray.get([square.remote(ref) for ref in count.remote(4)]) == [0, 1, 4, 9]


def test_wait_sees_a_stream(ray, count):
    items = count.remote(1)
    assert ray.wait([items]) == ([items], [])
    assert items.next_batch(5) != []
    assert ray.get(items.completed()) is None


def test_static_generators_give_a_list(ray, count):
    refs = count.options(num_returns=3).remote(3)
    assert ray.get(refs) == [0, 1, 2]
    short = count.options(num_returns=3).remote(2)
    with pytest.raises(ValueError):
        ray.get(short[2])


def test_a_generator_of_no_returns_runs(ray, gate):
    def act():
        gate.write_bytes(b"ran")
        yield

    assert ray.remote(num_returns=0)(act).remote() is None
    assert gate.read_bytes() == b"ran"


def test_dynamic_generators_have_a_length_and_travel(ray, count):
    ref = count.options(num_returns="dynamic").remote(3)
    items = ray.get(ref)
    assert isinstance(items, ray.DynamicObjectRefGenerator)
    assert len(items) == 3
    assert [ray.get(each) for each in items] == [0, 1, 2]
    assert [ray.get(each) for each in ray.get(ref)] == [0, 1, 2]
    total = ray.remote(lambda given: sum(ray.get(list(given))))
    assert ray.get(total.remote(ref)) == 3
    assert ray.get(total.remote(ray.get(ref))) == 3


def test_a_window_by_items_holds_the_producer(ray, attempts):
    def note():
        for n in range(100):
            with attempts.open("a") as file:
                file.write("x")
            yield n

    items = ray.remote(generator_backpressure_num_objects=2)(note).remote()
    assert ray.get(next(items)) == 0
    assert ray.get(next(items)) == 1
    assert attempts.stat().st_size < 10
    assert [ray.get(ref) for ref in items] == list(range(2, 100))


def test_what_ray_cannot_do_is_said_once_by_name(ray, count, capfd):
    for _ in range(2):
        items = count.options(generator_backpressure_num_bytes=1000).remote(1)
        assert [ray.get(ref) for ref in items] == [0]
        count.options(generator_on_drop="close").remote(1)
    err = capfd.readouterr().err
    assert err.count("generator_backpressure_num_bytes has no effect on a Ray cluster") == 1
    assert err.count("generator_on_drop='close' has no effect on a Ray cluster") == 1


def test_what_ray_cannot_do_at_all_is_refused_by_name(ray, count):
    items = count.remote(1)
    with pytest.raises(ray.exceptions.RaySystemError, match="close: a Ray cluster cannot do that"):
        items.close()
    with pytest.raises(TypeError, match="Serializing a ObjectRefGenerator is not allowed"):
        ray.remote(lambda given: given).remote(items)
