"""Whoever waits while the session ends hears of it, and starts no other session by that.

An `await` hung for ever: the mailbox of its event loop never heard of the end. An Executor or a
Pool sent what it still had to the next session, which that began.
"""

import asyncio
import signal
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


def test_await_raises_although_the_next_session_has_begun(fresh, stopped, monkeypatch):
    # It slept for ever: the loop's mailbox in the next session had taken the place of the first.
    from skate import _session

    stop, _ = stopped
    wake_waiters, closed, go_on = _session._wake_waiters, threading.Event(), threading.Event()

    def wake_late(ended):
        closed.set()
        go_on.wait()
        wake_waiters(ended)

    async def main():
        awaits = asyncio.create_task(value_of(stop.remote()))
        await asyncio.sleep(0)
        shutdown = asyncio.create_task(asyncio.to_thread(fresh.shutdown))
        await asyncio.to_thread(closed.wait)
        fresh.init(num_cpus=1)
        try:
            assert await fresh.remote(lambda: 5).remote() == 5
        finally:
            go_on.set()
        await shutdown
        with pytest.raises(fresh.exceptions.RaySystemError):
            await asyncio.wait_for(awaits, 5)

    monkeypatch.setattr(_session, "_wake_waiters", wake_late)
    asyncio.run(main())


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


def test_future_fails_although_ctrl_c_ends_the_wait_for_a_callback(fresh, stopped, monkeypatch):
    # It was never done: the Ctrl-C came before those whose answers were missing heard of the end.
    stop, _ = stopped
    begun, go_on = threading.Event(), threading.Event()
    fresh.put(1)._on_completed(lambda _: (begun.set(), go_on.wait()))
    assert begun.wait(20)
    future = stop.remote().future()
    [helper] = [each for each in threading.enumerate() if each.name == "skate-helper"]

    def join(_patience_s):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(helper, "join", join)
    with pytest.raises(KeyboardInterrupt):
        fresh.shutdown()
    assert isinstance(future.exception(20), fresh.exceptions.RaySystemError)
    assert not fresh.is_initialized()
    go_on.set()
    monkeypatch.undo()
    helper.join(20)


def test_ctrl_c_at_the_beginning_of_shutdown_ends_the_session_all_the_same(
    fresh, stopped, monkeypatch
):
    # The node went on, and whoever was to hear of the end waited for it.
    from skate import _session

    class Interrupted(set):
        def add(self, ended):
            super().add(ended)
            signal.raise_signal(signal.SIGINT)

    stop, _ = stopped
    future = stop.remote().future()
    monkeypatch.setattr(_session, "_ending", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        fresh.shutdown()
    assert isinstance(future.exception(0), fresh.exceptions.RaySystemError)
    assert not fresh.is_initialized()
    assert not _session._ending


def test_future_fails_although_ctrl_c_comes_before_it_is_told(fresh, stopped, monkeypatch):
    from skate import _session

    stop, _ = stopped
    future = stop.remote().future()

    def interrupted(*_, **__):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(_session, "_wake_waiters", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fresh.shutdown()
    assert isinstance(future.exception(20), fresh.exceptions.RaySystemError)


def test_callback_and_excepthook_that_raise_stop_no_other_callback(fresh, monkeypatch, capfd):
    # The thread of all futures, callbacks and output ended there.
    def broken(*_):
        raise ZeroDivisionError

    fresh.init(num_cpus=1)
    monkeypatch.setattr("sys.excepthook", broken)
    fresh.put(1)._on_completed(broken)
    assert fresh.put(2).future().result(20) == 2
    assert "ZeroDivisionError" in capfd.readouterr().err
