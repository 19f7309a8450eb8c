"""`util.ActorPool`."""

import importlib

import pytest


@pytest.fixture(scope="module")
def workers(ray):
    @ray.remote
    class Worker:
        def double(self, value):
            return 2 * value

        def wait_for(self, gate):
            gate.read_bytes()
            return "waited"

    return [Worker.remote() for _ in range(2)]


@pytest.fixture
def pool(ray, workers):
    return importlib.import_module(f"{ray.__name__}.util").ActorPool(workers)


def double(actor, value):
    return actor.double.remote(value)


def test_map_keeps_the_order(pool):
    assert list(pool.map(double, range(10))) == [2 * value for value in range(10)]


def test_map_unordered_gives_all(pool):
    assert sorted(pool.map_unordered(double, range(10))) == [2 * value for value in range(10)]


def test_submitted_work_is_fetched_in_order(pool):
    for value in (1, 2, 3):
        pool.submit(double, value)
    assert [pool.get_next(), pool.get_next(), pool.get_next()] == [2, 4, 6]
    assert not pool.has_next()
    with pytest.raises(StopIteration):
        pool.get_next()


def test_late_result_is_a_timeout(pool, gate):
    pool.submit(lambda actor, g: actor.wait_for.remote(g), gate)
    with pytest.raises(TimeoutError):
        pool.get_next(timeout=0.01)
    gate.write_bytes(b"")
    assert pool.get_next() == "waited"


def test_idle_actors_leave_and_come_back(pool):
    assert pool.has_free()
    actor = pool.pop_idle()
    assert pool.pop_idle() is not None
    assert pool.pop_idle() is None
    pool.push(actor)
    with pytest.raises(ValueError, match="already belongs"):
        pool.push(actor)
