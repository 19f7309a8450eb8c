"""`util.ActorPool`: what happens to the other values when one of them cannot be sent."""

import contextlib
import threading

import pytest


@pytest.fixture(scope="module")
def worker(skate):
    @skate.remote
    class Worker:
        def same(self, value):
            return value

        def count(self, value):
            yield from range(value)

        @skate.method(num_returns=2)
        def twice(self, value):
            return value, value

    return Worker.remote()


@pytest.fixture
def pool(skate, worker):
    return skate.util.ActorPool([worker])


def same(actor, value):
    return actor.same.remote(value)


@pytest.mark.parametrize("method", ["get_next", "get_next_unordered"])
def test_what_cannot_be_sent_is_an_error_in_its_own_place(pool, method):
    """It was raised in the place of an earlier result, which was lost, as was the actor."""
    for value in (1, threading.Lock(), 3):
        pool.submit(same, value)
    take = getattr(pool, method)
    assert take() == 1
    with pytest.raises(TypeError, match="cannot pickle"):
        take(timeout=30)
    assert take(timeout=30) == 3
    assert pool.has_free()
    assert not pool.has_next()


def test_what_cannot_be_sent_at_once_leaves_the_actor_free(pool):
    with pytest.raises(TypeError, match="cannot pickle"):
        pool.submit(same, threading.Lock())
    assert pool.has_free()


@pytest.mark.parametrize("method", ["get_next", "get_next_unordered"])
def test_an_interrupted_get_takes_nothing(skate, pool, worker, method, monkeypatch):
    """The result was gone: what was asked for next was that of another value."""

    def interrupt(_given):
        raise KeyboardInterrupt

    for value in (1, 2, 3):
        pool.submit(same, value)
    take = getattr(pool, method)
    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(skate, "get", interrupt)
            take(timeout=30)
    results = []
    while pool.has_next():
        results.append(take(timeout=30))
    assert sorted(results) == [1, 2, 3]
    if method == "get_next":
        assert results == [1, 2, 3]
    assert [pool.pop_idle(), pool.pop_idle()] == [worker, None]


@pytest.mark.parametrize("method", ["get_next", "get_next_unordered"])
def test_an_interrupt_while_the_next_value_is_sent_loses_nothing(pool, method):
    """Neither what was asked for, nor that value, nor those behind it, which were never sent."""
    interrupts = [KeyboardInterrupt]

    def interrupted_once(actor, value):
        if value == 3 and interrupts:
            raise interrupts.pop()
        return same(actor, value)

    for value in (1, 2, 3, 4):
        pool.submit(interrupted_once, value)
    take, results = getattr(pool, method), []
    while pool.has_next():
        with contextlib.suppress(KeyboardInterrupt):
            results.append(take(timeout=30))
    assert results == [1, 2, 3, 4]
    assert not interrupts


def test_methods_of_several_returns_give_lists(pool):
    for value in (1, 2, 3):
        pool.submit(lambda actor, value: actor.twice.remote(value), value)
    assert pool.get_next() == [1, 1]
    assert pool.get_next(timeout=30) == [2, 2]
    assert pool.get_next_unordered() == [3, 3]


@pytest.mark.parametrize("wrong", [None, 3, []])
def test_what_is_no_ref_is_refused(pool, wrong):
    with pytest.raises(TypeError, match=r"fn must return a ref or a list of refs, but returned"):
        pool.submit(lambda _actor, _value: wrong, 1)
    assert pool.has_free()


def test_methods_that_stream_give_generators(skate, pool):
    streams = pool.map(lambda actor, value: actor.count.remote(value), [1, 2, 3])
    assert [list(map(skate.get, stream)) for stream in streams] == [[0], [0, 1], [0, 1, 2]]
