"""What outlives its call of an async actor waits like any other code, and harms nobody.

It still named the call that had started it; the node, told that a call which had ended fell asleep,
took the worker for one that talks nonsense, and killed the actor with all of its calls.
"""

import asyncio

import pytest


@pytest.fixture(scope="module")
def late(skate):
    @skate.remote(num_cpus=0)
    def late(gate):
        gate.read_bytes()
        return "late"

    return late


def test_task_of_the_loop_outlives_its_call(skate, late, gates):
    first, second = gates("first"), gates("second")

    @skate.remote(num_cpus=1, max_restarts=0)
    class Actor:
        async def start(self):
            self.task = asyncio.create_task(self.background())
            self.ended = asyncio.Event()

        async def background(self):
            await self.ended.wait()
            self.values = [await late.remote(gate) for gate in (first, second)]

        async def value(self):
            self.ended.set()
            await self.task
            return self.values

    actor = Actor.remote()
    skate.get(actor.start.remote())
    value = actor.value.remote()
    first.write_bytes(b"")
    second.write_bytes(b"")
    assert skate.get(value) == ["late", "late"]


def test_task_that_the_constructor_starts(skate, late, gate):
    @skate.remote(num_cpus=1, max_restarts=0)
    class Actor:
        def __init__(self):
            self.task = asyncio.get_event_loop().create_task(self.background())

        async def background(self):
            return await late.remote(gate)

        async def ping(self):
            return "pong"

        async def value(self):
            return await self.task

    actor = Actor.remote()
    assert skate.get([actor.ping.remote() for _ in range(3)]) == ["pong"] * 3
    value = actor.value.remote()
    gate.write_bytes(b"")
    assert skate.get(value) == "late"


def test_thread_that_outlives_its_call(skate, late, gate):
    @skate.remote(num_cpus=1, max_restarts=0)
    class Actor:
        async def start(self):
            self.ended = asyncio.Event()
            self.task = asyncio.create_task(self.background())

        async def background(self):
            await self.ended.wait()
            return await asyncio.to_thread(lambda: skate.get(late.remote(gate)))

        async def value(self):
            self.ended.set()
            return await self.task

    actor = Actor.remote()
    skate.get(actor.start.remote())
    value = actor.value.remote()
    gate.write_bytes(b"")
    assert skate.get(value) == "late"


def test_it_lends_no_cpu_of_a_call_that_works(skate, late, gates):
    ended, asleep, begun, go = (gates(name) for name in ("ended", "asleep", "begun", "go"))

    @skate.remote(num_cpus=2, max_restarts=0)
    class Actor:
        async def start(self):
            self.task = asyncio.create_task(self.background())

        async def background(self):
            await asyncio.to_thread(ended.read_bytes)
            return await late.remote(asleep)

        async def work(self):
            await asyncio.to_thread(begun.write_bytes, b"")
            await asyncio.to_thread(go.read_bytes)

        async def value(self):
            return await self.task

    @skate.remote(num_cpus=2)
    def other():
        return "other"

    actor = Actor.remote()
    skate.get(actor.start.remote())
    work = actor.work.remote()
    begun.read_bytes()
    ended.write_bytes(b"")
    waiting = other.remote()
    assert skate.wait([waiting], timeout=0.2) == ([], [waiting])
    go.write_bytes(b"")
    skate.get(work)
    asleep.write_bytes(b"")
    assert skate.get(actor.value.remote()) == "late"
    del actor
    assert skate.get(waiting) == "other"
