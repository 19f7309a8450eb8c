"""Helpers of `util`: results as they come, a log line once."""

import importlib
import os

import pytest


@pytest.fixture
def util(engine):
    return importlib.import_module(f"{engine.__name__}.util")


def test_as_completed_gives_each_value_once_ready_ones_first(ray, util, gate):
    def wait_then(value):
        gate.read_bytes()
        return value

    late = ray.remote(wait_then).remote("late")
    refs = [late, ray.put("early")]
    got = util.as_completed(refs, chunk_size=1)
    assert next(got) == "early"
    gate.write_bytes(b"")
    assert list(got) == ["late"]
    assert list(util.as_completed([])) == []


def test_as_completed_gives_refs_if_asked(ray, util):
    refs = [ray.put(n) for n in range(5)]
    assert set(util.as_completed(refs, yield_obj_refs=True)) == set(refs)


def test_map_unordered_calls_each_item_once(ray, util):
    square = ray.remote(lambda n: n * n)
    values = util.map_unordered(square, range(20), backpressure_size=4, chunk_size=2)
    assert sorted(values) == [n * n for n in range(20)]


@pytest.mark.parametrize("option", ["chunk_size", "backpressure_size"])
def test_a_size_of_nothing_is_refused(ray, util, option):
    """Before the first item is asked for; no call under way would be no end of waiting for one."""

    def items():
        pytest.fail("an item has been asked for")
        yield

    with pytest.raises(ValueError):
        list(util.map_unordered(ray.remote(lambda n: n), items(), **{option: 0}))


def test_an_error_comes_at_its_turn(ray, util):
    def fail(n):
        raise KeyError(n)

    with pytest.raises(KeyError):
        list(util.map_unordered(ray.remote(fail), [1]))


def test_log_once_says_yes_once(util):
    key = os.urandom(8).hex()  # what a process has logged, it has logged for good
    assert [util.log_once(key) for _ in range(3)] == [True, False, False]
