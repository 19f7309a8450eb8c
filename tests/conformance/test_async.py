"""Refs and streams in an event loop, and as futures."""

import asyncio
import concurrent.futures

import pytest


def test_await_gives_the_value(ray):
    @ray.remote
    def one():
        return 1

    async def main():
        return await one.remote(), await ray.put(2)

    assert asyncio.run(main()) == (1, 2)


def test_await_raises_the_error(ray):
    @ray.remote
    def fail():
        raise KeyError("lost")

    async def main():
        await fail.remote()

    with pytest.raises(KeyError, match="lost"):
        asyncio.run(main())


def test_gather_and_wait_for(ray):
    @ray.remote
    def identity(k):
        return k

    async def main():
        refs = [identity.remote(k) for k in range(20)]
        return await asyncio.wait_for(asyncio.gather(*refs), timeout=30)

    assert asyncio.run(main()) == list(range(20))


def test_loop_runs_on_while_a_ref_is_awaited(ray, gate):
    @ray.remote
    def wait():
        gate.read_bytes()
        return "done"

    async def main():
        pending = asyncio.ensure_future(wrap(wait.remote()))
        await asyncio.sleep(0)
        assert not pending.done()
        await asyncio.to_thread(gate.write_bytes, b"")
        return await pending

    async def wrap(ref):
        return await ref

    assert asyncio.run(main()) == "done"


def test_timeout_of_an_await_leaves_the_ref_usable(ray, gate):
    @ray.remote
    def wait():
        gate.read_bytes()
        return "late"

    async def main():
        ref = wait.remote()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ref
        await asyncio.to_thread(gate.write_bytes, b"")
        return await ref

    assert asyncio.run(main()) == "late"


def test_async_for_reads_a_stream(ray):
    @ray.remote
    def count(stop):
        for k in range(stop):
            yield k

    async def main():
        return [await ref async for ref in count.remote(10)]

    assert asyncio.run(main()) == list(range(10))


def test_end_of_a_stream_is_stop_async_iteration(ray):
    @ray.remote
    def nothing():
        return
        yield

    async def main():
        await nothing.remote().__anext__()

    with pytest.raises(StopAsyncIteration):
        asyncio.run(main())


def test_several_streams_are_read_at_once(ray):
    @ray.remote(num_cpus=0.5)
    def count(stop):
        for k in range(stop):
            yield k

    async def total(stream):
        return sum([await ref async for ref in stream])

    async def main():
        return await asyncio.gather(*(total(count.remote(10)) for _ in range(4)))

    assert asyncio.run(main()) == [45] * 4


def test_error_in_a_stream_is_raised_at_its_ref(ray):
    @ray.remote
    def fails():
        yield 1
        raise ValueError("second")

    async def main():
        values = []
        with pytest.raises(ValueError, match="second"):
            async for ref in fails.remote():
                values.append(await ref)
        return values

    assert asyncio.run(main()) == [1]


def test_future_is_a_concurrent_future(ray):
    @ray.remote
    def one():
        return 1

    future = one.remote().future()
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(timeout=30) == 1


def test_future_holds_the_error(ray):
    @ray.remote
    def fail():
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        fail.remote().future().result(timeout=30)
