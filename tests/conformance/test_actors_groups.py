"""Concurrency groups of an async actor: each has a loop of its own, on a thread of its own."""

import asyncio
import threading

import pytest

GROUPS = [None, "io", "reckoning"]


@pytest.fixture(scope="module")
def Grouped(ray):
    @ray.remote(concurrency_groups={"io": 2, "reckoning": 1})
    class Grouped:
        def __init__(self, farewell=None):
            self.farewell = farewell
            self.log = []
            self.now = self.most = 0

        async def where(self):
            await asyncio.sleep(0)
            name = ray.get_runtime_context().get_task_name()
            return threading.get_ident(), id(asyncio.get_running_loop()), name

        async def block(self, gate):
            gate.read_bytes()

        async def sleep(self, gate):
            try:
                gate.write_bytes(b"")
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                self.log.append("cancelled")
                raise

        async def get_log(self):
            return self.log

        async def items(self, count):
            for index in range(count):
                yield index

        async def together(self):
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.01)
            self.now -= 1
            return self.most

        async def exit_actor(self):
            ray.actor.exit_actor()

        def __ray_shutdown__(self):
            self.log.append("shutdown")

        def __del__(self):
            if self.farewell is not None:
                self.farewell.write_text(" ".join(self.log))

    return Grouped


def call(method, group, *args):
    return method.options(concurrency_group=group).remote(*args)


@pytest.mark.parametrize("blocked", GROUPS)
def test_a_group_that_blocks_its_loop_leaves_others_alone(ray, Grouped, gate, blocked):
    # All groups shared one loop, and waited for each other's synchronous code.
    grouped = Grouped.remote()
    blocks = call(grouped.block, blocked, gate)
    ray.get([call(grouped.where, group) for group in GROUPS if group != blocked])
    gate.write_bytes(b"")
    ray.get(blocks)


@pytest.mark.processes("one thread has the loop of all actors")
def test_each_group_has_a_loop_and_a_thread(ray, Grouped):
    grouped = Grouped.remote()
    places = [ray.get([call(grouped.where, group) for _ in range(3)]) for group in GROUPS]
    assert all(len(set(each)) == 1 for each in places)
    threads, loops, names = zip(*(each[0] for each in places), strict=True)
    assert len(set(threads)) == len(set(loops)) == 3
    assert set(names) == {"Grouped.where"}


def test_a_group_runs_no_more_at_once_than_it_may(ray, Grouped):
    grouped = Grouped.remote()
    assert max(ray.get([call(grouped.together, "io") for _ in range(8)])) == 2


@pytest.mark.parametrize("group", GROUPS)
def test_a_running_call_of_a_group_is_cancelled(ray, Grouped, gate, group):
    grouped = Grouped.remote()
    sleeping = call(grouped.sleep, group, gate)
    gate.read_bytes()
    ray.cancel(sleeping)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(sleeping)
    assert ray.get(grouped.get_log.remote()) == ["cancelled"]


@pytest.mark.parametrize("group", GROUPS)
def test_a_stream_of_a_group_waits_for_its_reader(ray, Grouped, group):
    options = {"concurrency_group": group, "_generator_backpressure_num_objects": 1}
    items = Grouped.remote().items.options(**options).remote(20)
    assert [ray.get(item) for item in items] == list(range(20))


@pytest.mark.parametrize("group", GROUPS)
def test_a_call_of_any_group_may_end_the_actor(ray, Grouped, gate, group):
    grouped = Grouped.remote(gate)
    exits = call(grouped.exit_actor, group)
    assert gate.read_text() == "shutdown"
    for ref in (exits, grouped.get_log.remote()):
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(ref)


@pytest.mark.parametrize("group", GROUPS)
def test_an_actor_closes_after_a_call_of_any_group(ray, Grouped, gate, group):
    grouped = Grouped.remote(gate)
    call(grouped.where, group)
    del grouped
    assert gate.read_text() == "shutdown"
