"""`skate.aio`: refs in an event loop."""

import asyncio

import pytest


def test_gather_keeps_the_order(skate):
    square = skate.remote(lambda n: n * n)

    async def main():
        return await skate.aio.gather(square.remote(n) for n in range(10))

    assert asyncio.run(main()) == [n * n for n in range(10)]


def test_gather_raises_the_first_error_or_gives_all(skate):
    def invert(n):
        return 1 // n

    remote = skate.remote(invert)

    async def main(**options):
        return await skate.aio.gather([remote.remote(1), remote.remote(0)], **options)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
    value, error = asyncio.run(main(return_exceptions=True))
    assert value == 1
    assert isinstance(error, ZeroDivisionError)


def test_as_completed_gives_the_first_that_comes(skate, gate):
    late = skate.remote(lambda: gate.read_bytes()).remote()
    early = skate.put("early")

    async def main():
        seen = []
        async for ref, value in skate.aio.as_completed([late, early], with_refs=True):
            seen.append((ref is late, value))
            if len(seen) == 1:
                await asyncio.to_thread(gate.write_bytes, b"late")
        return seen

    assert asyncio.run(main()) == [(False, "early"), (True, b"late")]


def test_a_reader_that_leaves_takes_nothing_from_others(skate, gate):
    late = skate.remote(lambda: gate.read_bytes()).remote()

    async def main():
        async for _ in skate.aio.as_completed([late, skate.put(1)]):
            break

    asyncio.run(main())
    gate.write_bytes(b"x")
    assert skate.get(late) == b"x"
