"""`util.queue.Queue`: takers that are cancelled, and a queue that was shut down.

The call in the actor went on without its taker, and swallowed the next item.
"""

import asyncio

import pytest

from skate.util.queue import Queue


@pytest.fixture
def items(skate):
    made = Queue(maxsize=1)
    yield made
    made.shutdown(force=True)


async def cancelled(call, meanwhile=lambda: None):
    """Cancels a call that is on its way."""
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    meanwhile()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_cancelled_get_takes_nothing(items):
    asyncio.run(cancelled(items.get_async()))
    items.put("next")
    assert items.get(timeout=30) == "next"


def test_what_it_had_taken_already_goes_back(items):
    def put():  # the event loop cannot see meanwhile that the item has come
        items.put("taken")
        assert items.empty()
        items.put("behind it")

    asyncio.run(cancelled(items.get_async(), put))
    while items.size() < 2:
        pass
    assert [items.get(timeout=30), items.get(timeout=30)] == ["taken", "behind it"]


def test_an_interrupted_get_takes_nothing(skate, items, monkeypatch):
    def interrupt(_ref):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(skate, "get", interrupt)
        with pytest.raises(KeyboardInterrupt):
            items.get()
    items.put("next")
    assert items.get(timeout=30) == "next"


def test_a_cancelled_put_adds_nothing(skate, items, monkeypatch):
    items.put("full")
    calls = []
    call = items._call
    monkeypatch.setattr(items, "_call", lambda *args: calls.append(call(*args)) or calls[-1])
    asyncio.run(cancelled(items.put_async("too much")))
    with pytest.raises(skate.exceptions.TaskCancelledError):
        skate.get(calls[0])
    assert items.get() == "full"
    assert items.empty()


def test_after_shutdown_every_call_says_so(skate):
    items = Queue()
    items.shutdown()
    for name, args in (("put", [1]), ("get", []), ("qsize", []), ("get_nowait_batch", [1])):
        with pytest.raises(skate.exceptions.ActorDiedError, match=f"Queue.{name}: .* shut down"):
            getattr(items, name)(*args)
    items.shutdown()
