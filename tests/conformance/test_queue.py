"""`util.queue.Queue`."""

import asyncio
import importlib
import queue

import pytest


@pytest.fixture(scope="module")
def module(ray):
    return importlib.import_module(f"{ray.__name__}.util.queue")


def test_first_in_first_out(module):
    items = module.Queue()
    for number in range(5):
        items.put(number)
    assert (len(items), items.qsize(), items.empty()) == (5, 5, False)
    assert [items.get() for _ in range(5)] == list(range(5))
    assert items.empty()


def test_full_and_empty(module):
    items = module.Queue(maxsize=1)
    items.put("one")
    assert items.full()
    with pytest.raises(module.Full):
        items.put_nowait("two")
    with pytest.raises(queue.Full):
        items.put("two", timeout=0.01)
    assert items.get_nowait() == "one"
    with pytest.raises(module.Empty):
        items.get_nowait()
    with pytest.raises(queue.Empty):
        items.get(timeout=0.01)
    with pytest.raises(ValueError, match="non-negative"):
        items.get(timeout=-1)


def test_batches_are_all_or_nothing(module):
    items = module.Queue(maxsize=3)
    items.put_nowait_batch([1, 2])
    with pytest.raises(module.Full):
        items.put_nowait_batch([3, 4])
    with pytest.raises(module.Empty):
        items.get_nowait_batch(3)
    assert items.get_nowait_batch(2) == [1, 2]


def test_get_waits_for_a_put_of_another_process(ray, module):
    items = module.Queue()

    @ray.remote
    def put(items):
        items.put("from a task")

    put.remote(items)
    assert items.get() == "from a task"


def test_async_methods(module):
    items = module.Queue()

    async def both():
        await items.put_async("awaited")
        return await items.get_async()

    assert asyncio.run(both()) == "awaited"


def test_shutdown_ends_the_actor(ray, module):
    items = module.Queue()
    items.put(1)
    actor = items.actor
    items.shutdown(force=True)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(actor.qsize.remote())
