"""Whoever waits while the session ends hears of it, and starts no other session by that.

An `await` hung for ever: the mailbox of its event loop never heard of the end. An Executor or a
Pool sent what it still had to the next session, which that began.
"""

import asyncio
import threading

import pytest


@pytest.fixture
def stopped(fresh, gate):
    """A remote function and a remote generator that give nothing before the test ends."""
    fresh.init(num_cpus=2)

    @fresh.remote
    def stop():
        gate.read_bytes()

    @fresh.remote
    def items():
        yield 1
        gate.read_bytes()

    return stop, items


async def value_of(ref):
    return await ref


async def ends(fresh, awaitable, shutdown):
    """What is awaited raises once the session has ended."""
    awaits = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0.1)  # it waits, most often
    await shutdown()
    with pytest.raises(fresh.exceptions.RaySystemError):
        await asyncio.wait_for(awaits, 20)


@pytest.mark.parametrize("where", ["in the loop", "in a thread"])
@pytest.mark.parametrize("what", ["ref", "stream"])
def test_await_raises_when_the_session_ends(fresh, stopped, where, what):
    stop, items = stopped

    async def shutdown():
        if where == "in the loop":
            fresh.shutdown()
        else:
            await asyncio.to_thread(fresh.shutdown)

    async def main():
        if what == "ref":
            await ends(fresh, value_of(stop.remote()), shutdown)
        else:
            stream = items.remote()
            await anext(stream)
            await ends(fresh, anext(stream), shutdown)

    asyncio.run(main())
    assert not fresh.is_initialized()


def test_a_loop_that_has_seen_a_session_end_awaits_in_the_next(fresh, stopped):
    stop, _ = stopped

    async def main():
        await ends(fresh, value_of(stop.remote()), lambda: asyncio.to_thread(fresh.shutdown))
        fresh.init(num_cpus=1)
        return await fresh.remote(lambda: 5).remote()

    assert asyncio.run(main()) == 5


def test_calls_of_an_executor_fail_with_their_session(fresh, gate):
    fresh.init(num_cpus=1)
    executor = fresh.Executor(max_workers=1)
    futures = [executor.submit(gate.read_bytes) for _ in range(3)]
    fresh.shutdown()
    for future in futures:
        assert isinstance(future.exception(20), fresh.exceptions.RaySystemError)
    assert not fresh.is_initialized()
    executor.shutdown()
    assert fresh.Executor(max_workers=1).submit(int, "7").result(20) == 7


def test_calls_of_a_pool_fail_with_their_session(fresh, gate):
    from skate.util.multiprocessing import Pool

    fresh.init(num_cpus=2)
    pool = Pool(1)
    results = [pool.apply_async(gate.read_bytes) for _ in range(3)]
    fresh.shutdown()
    for result in results:
        with pytest.raises(fresh.exceptions.RayError):
            result.get(20)
    with pytest.raises(ValueError, match="Pool not running"):
        pool.apply(int, "7")
    pool.terminate()
    pool.join()
    assert not fresh.is_initialized()


def test_what_shutdown_wakes_begins_no_session(fresh, stopped):
    stop, _ = stopped
    raised, done = [], threading.Event()

    def again(_):
        try:
            stop.remote()
        except fresh.exceptions.RaySystemError as error:
            raised.append(error)
        done.set()

    stop.remote().future().add_done_callback(again)
    fresh.shutdown()
    assert done.wait(20)
    assert len(raised) == 1
    assert not fresh.is_initialized()
