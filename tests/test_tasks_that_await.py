"""A task that runs an event loop by itself sleeps while it awaits: its CPU goes to others.

It was kept, so with one CPU, or as many such tasks as CPUs, what was awaited never ran.
"""

import asyncio
import gc
import sys

import pytest

pytestmark = pytest.mark.processes("a task and what it awaits take turns")


@pytest.fixture(scope="module")
def one_cpu():
    import skate

    skate.shutdown()
    skate.init(num_cpus=1)
    yield skate
    skate.shutdown()


@pytest.fixture(scope="module")
def child(one_cpu):
    return one_cpu.remote(lambda value: value)


@pytest.fixture(scope="module")
def items(one_cpu):
    @one_cpu.remote
    def items(count):
        yield from range(count)

    return items


def run_in_task(skate, main, times=1):
    """The results of so many tasks that run the coroutine."""
    task = skate.remote(lambda: asyncio.run(main()))
    return skate.get([task.remote() for _ in range(times)], timeout=60)


def test_awaits_a_ref(one_cpu, child):
    async def main():
        return await child.remote(7)

    assert run_in_task(one_cpu, main, times=4) == [7] * 4


def test_awaits_many_at_once(one_cpu, child):
    async def main():
        return await asyncio.gather(*(child.remote(number) for number in range(10)))

    assert run_in_task(one_cpu, main, times=2) == [list(range(10))] * 2


def test_waits_for_a_future(one_cpu, child):
    def wait():
        future = child.remote(7).future()
        with pytest.raises(TimeoutError):
            child.remote(8).future().result(timeout=0)
        return child.remote(9).future().exception(), future.result(), future.result()

    tasks = [one_cpu.remote(wait).remote() for _ in range(3)]
    assert one_cpu.get(tasks, timeout=60) == [(None, 7, 7)] * 3


def test_who_only_looks_at_a_future_lends_nothing(one_cpu, child):
    """The child could run meanwhile, and its value be there at once."""

    def look():
        future = child.remote(7).future()
        future._client = None  # which it would tell that it sleeps
        with pytest.raises(TimeoutError):
            future.result(timeout=0)
        with pytest.raises(TimeoutError):
            future.exception(timeout=0)

    one_cpu.get(one_cpu.remote(look).remote())


def test_reads_a_stream(one_cpu, items):
    async def main():
        return [await ref async for ref in items.remote(5)]

    assert run_in_task(one_cpu, main) == [list(range(5))]


def test_gets_while_others_await(one_cpu, child):
    skate = one_cpu

    async def wait(ref):
        return await ref

    async def main():
        waits = [asyncio.create_task(wait(child.remote(number))) for number in range(3)]
        await asyncio.sleep(0)
        got = skate.get([child.remote(number) for number in range(3, 6)])
        return [*got, *(await asyncio.gather(*waits))]

    assert run_in_task(skate, main, times=2) == [[3, 4, 5, 0, 1, 2]] * 2


def test_a_task_nested_in_what_is_awaited(one_cpu, child):
    skate = one_cpu

    @skate.remote
    def outer(value):
        async def main():
            return await child.remote(value) + skate.get(child.remote(1))

        return asyncio.run(main())

    async def main():
        return await outer.remote(1)

    assert run_in_task(skate, main, times=3) == [2] * 3


@pytest.fixture
def leaves(one_cpu, gate):
    """A task that leaves a coroutine behind, which awaits what comes with the gate."""
    skate = one_cpu

    @skate.remote(num_cpus=0)
    def late():
        gate.read_bytes()

    @skate.remote
    def leaves(box, is_closed):
        loop = asyncio.new_event_loop()

        async def wait():
            await box[0]

        task = loop.create_task(wait())
        loop.run_until_complete(asyncio.sleep(0))
        if is_closed:
            task.cancel()
            loop.run_until_complete(asyncio.wait([task]))
            loop.close()
        else:
            sys.left = [loop, task]

    ref = late.remote()
    yield lambda *, is_closed=False: skate.get(leaves.remote([ref], is_closed))
    gate.write_bytes(b"")
    skate.get(ref)


@pytest.mark.parametrize("is_closed", [False, True])
def test_what_a_task_leaves_awaited_keeps_nobody(one_cpu, child, leaves, is_closed):
    leaves(is_closed=is_closed)
    assert one_cpu.get([child.remote(number) for number in range(4)]) == list(range(4))
    assert one_cpu.available_resources()["CPU"] == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_in_methods_of_actors_that_hold_a_cpu(one_cpu, child, is_async):
    class Actor:
        def wait(self, value):
            async def main():
                return await child.remote(value)

            return asyncio.run(main())

    class Loop:
        async def wait(self, value):
            return await child.remote(value)

    actor = one_cpu.remote(num_cpus=1)(Loop if is_async else Actor).remote()
    assert one_cpu.get([actor.wait.remote(number) for number in range(3)], timeout=60) == [0, 1, 2]


def test_what_an_earlier_task_awaits_is_no_wait_of_this_one(one_cpu, child, leaves):
    """When that was dropped, the CPU of the task that waits now went back to it."""
    skate = one_cpu

    @skate.remote
    def chain(value):
        return skate.get(child.remote(value))

    @skate.remote
    def waits():
        async def main():
            task = asyncio.create_task(wait())
            await asyncio.sleep(0)
            sys.left.clear()
            gc.collect()
            return await task

        async def wait():
            return await chain.remote(7)

        return asyncio.run(main())

    leaves()
    assert skate.get(waits.remote(), timeout=60) == 7


def test_a_future_on_the_loop_of_an_actor_stops_all_of_it(one_cpu, child):
    """It counted as the wait of one call: the CPU was kept for others, which could not go on."""

    class Actor:
        async def sleep(self):
            await asyncio.Event().wait()

        async def wait(self):
            return child.remote(7).future().result()

    actor = one_cpu.remote(num_cpus=1)(Actor).remote()
    sleeping = actor.sleep.remote()
    assert one_cpu.get(actor.wait.remote(), timeout=60) == 7
    one_cpu.cancel(sleeping)
