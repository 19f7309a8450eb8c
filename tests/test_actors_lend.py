"""An actor lends its CPU exactly while all of its running calls wait for something of skate."""

import asyncio

import pytest


@pytest.fixture(scope="module")
def inner(skate):
    @skate.remote(num_cpus=2)
    def inner(value):
        return value

    return inner


def test_threaded_actor_lends_while_all_its_calls_wait(skate, inner):
    @skate.remote(num_cpus=2, max_concurrency=3)
    class Threaded:
        def call(self, value):
            return skate.get(inner.remote(value))

    actor = Threaded.remote()
    assert skate.get([actor.call.remote(number) for number in range(6)]) == list(range(6))


def test_async_actor_lends_while_all_its_calls_await(skate, inner):
    @skate.remote(num_cpus=2)
    class Async:
        async def call(self, value):
            first, second = await asyncio.gather(inner.remote(value), inner.remote(value))
            return first + second

        async def items(self, count):
            async for ref in self.numbers().remote(count):
                yield await ref

        def numbers(self):
            @skate.remote(num_cpus=2)
            def numbers(count):
                yield from range(count)

            return numbers

    actor = Async.remote()
    calls = [actor.call.remote(number) for number in range(6)]
    assert skate.get(calls) == [2 * number for number in range(6)]
    assert [skate.get(ref) for ref in actor.items.remote(5)] == list(range(5))


def test_async_actor_lends_while_a_call_keeps_its_loop_waiting(skate, inner):
    @skate.remote(num_cpus=2)
    class Async:
        async def call(self, value):
            return skate.get(inner.remote(value))

    assert skate.get(Async.remote().call.remote(5)) == 5


@pytest.mark.parametrize("awaits", [False, True])
def test_async_actor_lends_while_all_its_groups_wait(skate, inner, gates, awaits):
    begun, go = gates("begun"), gates("go")

    @skate.remote(num_cpus=2, concurrency_groups={"io": 2})
    class Async:
        async def work(self):
            begun.write_bytes(b"")
            go.read_bytes()

        @skate.method(concurrency_group="io")
        async def wait_for(self, refs):
            return await refs[0] if awaits else skate.get(refs[0])

    actor = Async.remote()
    work = actor.work.remote()
    begun.read_bytes()
    ref = inner.remote("after work")
    waits = actor.wait_for.remote([ref])
    assert skate.wait([ref], timeout=0.2) == ([], [ref])
    go.write_bytes(b"")
    assert skate.get([waits, work]) == ["after work", None]


def test_actor_with_a_call_that_works_keeps_its_cpu(skate, inner, gates):
    begun, go = gates("begun"), gates("go")

    @skate.remote(num_cpus=2, max_concurrency=2)
    class Threaded:
        def wait_for(self, refs):
            return skate.get(refs[0])

        def work(self):
            begun.write_bytes(b"")
            go.read_bytes()

    actor = Threaded.remote()
    work = actor.work.remote()
    begun.read_bytes()
    ref = inner.remote("after work")
    waits = actor.wait_for.remote([ref])
    assert skate.wait([ref], timeout=0.2) == ([], [ref])
    go.write_bytes(b"")
    assert skate.get([waits, work]) == ["after work", None]


def test_paused_generators_of_an_async_actor_lend(skate, inner):
    @skate.remote(num_cpus=2)
    class Async:
        async def items(self):
            for index in range(4):
                yield index

    items = Async.remote().items.options(generator_backpressure_num_objects=1).remote()
    assert skate.get(next(items)) == 0
    assert skate.get(inner.remote("meanwhile")) == "meanwhile"
    assert [skate.get(ref) for ref in items] == [1, 2, 3]


def test_cancelled_await_gives_the_cpu_back_to_the_actor(skate, inner, gate):
    @skate.remote(num_cpus=2)
    class Async:
        async def call(self, refs):
            try:
                await asyncio.wait_for(refs[0], 0.05)
            except TimeoutError:
                return "late"

    @skate.remote(num_cpus=0)
    def never():
        gate.read_bytes()

    actor = Async.remote()
    late = never.remote()
    assert skate.get(actor.call.remote([late])) == "late"
    waiting = inner.remote("none left")
    assert skate.wait([waiting], timeout=0.1) == ([], [waiting])
    gate.write_bytes(b"")
    del actor
    assert skate.get([late, waiting]) == [None, "none left"]


def test_task_in_a_group_lends_the_cpu_of_its_bundle(skate):
    from skate.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = skate.util.placement_group([{"CPU": 1}])
    inside = PlacementGroupSchedulingStrategy(group, 0, placement_group_capture_child_tasks=True)

    @skate.remote(num_cpus=1)
    def child():
        return skate.get_runtime_context().get_placement_group_id()

    @skate.remote(num_cpus=1)
    def parent():
        return skate.get(child.remote())

    @skate.remote(num_cpus=1)
    class Actor:
        def call(self):
            return skate.get(child.remote())

    assert skate.get(parent.options(scheduling_strategy=inside).remote()) == group.id.hex()
    actor = Actor.options(scheduling_strategy=inside).remote()
    assert skate.get(actor.call.remote()) == group.id.hex()
    skate.util.remove_placement_group(group)
