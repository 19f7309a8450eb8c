"""A15: a wait that can never end raises, within seconds, and says who waits for whom."""

import asyncio
import time

import pytest

PATIENCE_S = 8


@pytest.fixture(scope="module")
def skate():
    import skate as module

    module.init(num_cpus=2, resources={"x": 1})
    yield module
    module.shutdown()


def chain_of(skate, ref, sleepers):
    """The error that a ring ends with, which came in time once so many of its calls waited."""
    while skate.statistics().workers_blocked < sleepers:
        if skate.wait([ref], timeout=0.001)[0]:
            break
    began = time.monotonic()
    with pytest.raises(
        skate.exceptions.RaySystemError, match="This call waited for ever"
    ) as caught:
        skate.get(ref, timeout=30)
    assert time.monotonic() - began < PATIENCE_S
    return str(caught.value)


def make_swap(skate):
    @skate.remote
    class Board:
        """Where tasks find each other's refs."""

        def __init__(self):
            self.is_set = asyncio.Event()

        async def pin_up(self, refs):
            self.refs = refs
            self.is_set.set()

        async def take(self, place):
            await self.is_set.wait()
            return [self.refs[place]]

    @skate.remote
    def swap(board, place, timeout=None):
        [other] = skate.get(board.take.remote(place))
        return skate.get(other, timeout=timeout)

    return Board.remote(), swap


def test_two_tasks_that_wait_for_each_other_are_told(skate):
    board, swap = make_swap(skate)
    refs = [
        swap.options(name="first").remote(board, 1),
        swap.options(name="second").remote(board, 0),
    ]
    skate.get(board.pin_up.remote(refs))
    chain = chain_of(skate, refs[0], 2)
    assert "first" in chain
    assert "second" in chain
    assert "waits in get for the result of" in chain
    with pytest.raises(skate.exceptions.RaySystemError):
        skate.get(refs[1], timeout=30)


def test_actor_that_waits_for_itself_is_told(skate):
    @skate.remote
    class Narcissus:
        def look(self, me):
            return skate.get(me.reflect.remote())

        def reflect(self):
            return "me"

    actor = Narcissus.remote()
    chain = chain_of(skate, actor.look.remote(actor), 1)
    assert "reflect" in chain
    assert "is a call of an actor, which is busy with" in chain
    assert skate.get(actor.reflect.remote()) == "me", "the actor lives on"


def test_two_actors_that_wait_for_each_other_are_told(skate):
    @skate.remote
    class Caller:
        def call(self, other, me):
            return skate.get(other.back.remote(me))

        def back(self, other):
            return skate.get(other.end.remote())

        def end(self):
            return "end"

    one, other = Caller.remote(), Caller.remote()
    assert "back" in chain_of(skate, one.call.remote(other, one), 2)


def test_task_that_waits_for_one_that_needs_what_it_has_is_told(skate):
    @skate.remote(resources={"x": 1})
    def inner():
        return 1

    @skate.remote(resources={"x": 1})
    def outer():
        return skate.get(inner.remote())

    assert "waits for resources, which are held by" in chain_of(skate, outer.remote(), 1)
    assert skate.get(inner.remote(), timeout=30) == 1, "what it had is free again"


def test_program_may_catch_it_and_go_on(skate):
    @skate.remote(resources={"x": 1})
    def inner():
        return 1

    @skate.remote(resources={"x": 1})
    def outer():
        ref = inner.remote()
        try:
            return skate.get(ref)
        except skate.exceptions.RaySystemError:
            return [ref]

    [ref] = skate.get(outer.remote(), timeout=30)
    assert skate.get(ref, timeout=30) == 1


def test_wait_with_a_timeout_ends_by_that(skate):
    board, swap = make_swap(skate)
    refs = [swap.remote(board, 1, 3), swap.remote(board, 0, 3)]
    board.pin_up.remote(refs)
    with pytest.raises(skate.exceptions.GetTimeoutError):
        skate.get(refs, timeout=30)


def test_waits_that_end_late_are_left_alone(skate, gate):
    @skate.remote
    def slow():
        gate.read_bytes()
        return 1

    @skate.remote
    def deep(level):
        return skate.get(slow.remote() if level == 0 else deep.remote(level - 1))

    ref = deep.remote(5)
    skate.wait([ref], timeout=3)
    gate.write_bytes(b"")
    assert skate.get(ref, timeout=30) == 1
