"""Threaded actors, async actors, concurrency groups."""

import asyncio
import threading
import time

import pytest


@pytest.mark.processes("several threads of one actor")
def test_threaded_actor_runs_calls_at_once(ray):
    @ray.remote(max_concurrency=3)
    class Meeting:
        def __init__(self):
            self.barrier = threading.Barrier(3)

        def come(self):
            self.barrier.wait(timeout=30)
            return threading.get_ident()

    meeting = Meeting.remote()
    assert len(set(ray.get([meeting.come.remote() for _ in range(3)]))) == 3


@pytest.mark.processes("several threads of one actor")
def test_threads_know_their_own_call(ray):
    @ray.remote(max_concurrency=2)
    class Pair:
        def __init__(self):
            self.barrier = threading.Barrier(2)

        def name(self):
            self.barrier.wait(timeout=30)
            found = ray.get_runtime_context().get_task_name()
            self.barrier.wait(timeout=30)
            return found

    pair = Pair.remote()
    calls = [pair.name.options(name=name).remote() for name in ("left", "right")]
    assert ray.get(calls) == ["left", "right"]


@pytest.fixture(scope="module")
def Loop(ray):
    @ray.remote
    class Loop:
        def __init__(self):
            self.event = asyncio.Event()
            self.log = []

        async def wait(self):
            await self.event.wait()
            return "woken"

        async def wake(self):
            self.event.set()

        async def value_of(self, refs):
            return await refs[0]

        async def gather(self, refs):
            return await asyncio.gather(*refs)

        async def sum_of(self, n):
            @ray.remote
            def numbers():
                for index in range(n):
                    yield index

            total = 0
            async for ref in numbers.remote():
                total += await ref
            return total

        def sync(self):
            return asyncio.get_running_loop() is not None

        async def sleep(self, gate):
            try:
                gate.write_bytes(b"")
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                self.log.append("cancelled")
                raise

        def get_log(self):
            return self.log

        async def fail(self):
            raise ValueError("from a coroutine")

        async def task_name(self):
            await asyncio.sleep(0)
            return ray.get_runtime_context().get_task_name()

    return Loop


def test_async_calls_interleave(ray, Loop):
    loop = Loop.remote()
    waiting = [loop.wait.remote() for _ in range(100)]
    ray.get(loop.wake.remote())
    assert set(ray.get(waiting)) == {"woken"}


def test_refs_are_awaited_inside(ray, Loop):
    loop = Loop.remote()
    assert ray.get(loop.value_of.remote([ray.put(7)])) == 7
    assert ray.get(loop.gather.remote([ray.put(1), ray.put(2)])) == [1, 2]


def test_generators_are_iterated_inside(ray, Loop):
    assert ray.get(Loop.remote().sum_of.remote(10)) == 45


def test_sync_methods_of_an_async_actor_run_on_its_loop(ray, Loop):
    assert ray.get(Loop.remote().sync.remote()) is True


def test_exception_of_a_coroutine_is_raised_by_get(ray, Loop):
    with pytest.raises(ValueError, match="from a coroutine"):
        ray.get(Loop.remote().fail.remote())


def test_each_async_call_knows_its_name(ray, Loop):
    loop = Loop.remote()
    names = [f"call {number}" for number in range(10)]
    assert ray.get([loop.task_name.options(name=name).remote() for name in names]) == names


def test_running_coroutine_is_cancelled(ray, Loop, gate):
    loop = Loop.remote()
    sleeping = loop.sleep.remote(gate)
    gate.read_bytes()
    ray.cancel(sleeping)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(sleeping)
    assert ray.get(loop.get_log.remote()) == ["cancelled"]


def test_async_actor_runs_no_more_at_once_than_it_may(ray):
    @ray.remote(max_concurrency=2)
    class Few:
        def __init__(self):
            self.now = self.most = 0

        async def work(self):
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.01)
            self.now -= 1
            return self.most

    few = Few.remote()
    assert max(ray.get([few.work.remote() for _ in range(10)])) == 2


@pytest.mark.processes("several threads of one actor")
def test_groups_have_limits_of_their_own(ray):
    @ray.remote(concurrency_groups={"io": 1})
    class Grouped:
        def __init__(self):
            self.event = threading.Event()

        @ray.method(concurrency_group="io")
        def wait(self):
            return self.event.wait(timeout=30)

        def wake(self):
            self.event.set()

    grouped = Grouped.remote()
    waiting = grouped.wait.remote()
    ray.get(grouped.wake.remote())
    assert ray.get(waiting) is True


@pytest.mark.processes("several threads of one actor")
def test_call_chooses_its_group(ray):
    @ray.remote(concurrency_groups={"io": 1})
    class Chosen:
        def __init__(self):
            self.event = threading.Event()

        def wait(self):
            return self.event.wait(timeout=30)

        def wake(self):
            self.event.set()

    chosen = Chosen.remote()
    waiting = chosen.wait.remote()
    ray.get(chosen.wake.options(concurrency_group="io").remote())
    assert ray.get(waiting) is True


@pytest.mark.engine("skate")  # Ray 2.60 then waits for the number of the cancelled call
def test_queued_call_is_cancelled_before_it_runs(ray, gate):
    @ray.remote
    class Slow:
        def __init__(self):
            self.ran = []

        def wait(self):
            gate.read_bytes()

        def note(self, what):
            self.ran.append(what)

        def get(self):
            return self.ran

    slow = Slow.remote()
    first = slow.wait.remote()
    second = slow.note.remote("second")
    slow.note.remote("third")
    ray.cancel(second)
    gate.write_bytes(b"")
    ray.get(first)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(second)
    assert ray.get(slow.get.remote()) == ["third"]


def test_running_sync_call_sees_that_it_is_cancelled(ray, gate, attempts):
    @ray.remote
    class Polling:
        def work(self):
            gate.write_bytes(b"")
            while not ray.get_runtime_context().is_canceled():
                time.sleep(0.001)
            attempts.write_text("seen")

        def hello(self):
            return "hello"

    polling = Polling.remote()
    call = polling.work.remote()
    gate.read_bytes()
    ray.cancel(call)
    assert ray.get(polling.hello.remote()) == "hello"
    assert attempts.read_text() == "seen"


def test_cancel_by_force_is_refused_for_actors(ray, Loop):
    loop = Loop.remote()
    with pytest.raises(ValueError, match="force=True is not supported for actor tasks"):
        ray.cancel(loop.task_name.remote(), force=True)
