"""As many calls at once as the user said, or a clear no."""

import asyncio

import pytest


def test_ten_thousand_calls_are_under_way_at_once(skate):
    @skate.remote(max_concurrency=10_001)
    class Hall:
        def __init__(self):
            self.inside = 0
            self.full = asyncio.Event()

        async def enter(self):
            self.inside += 1
            if self.inside == 10_000:
                self.full.set()
            await self.full.wait()
            return self.inside

    hall = Hall.remote()
    assert set(skate.get([hall.enter.remote() for _ in range(10_000)])) == {10_000}


def test_more_than_a_process_can_have_is_refused(skate):
    @skate.remote
    class Hall:
        async def enter(self):
            pass

    with pytest.raises(ValueError, match="60000 at most"):
        Hall.options(max_concurrency=100_000)
    with pytest.raises(ValueError, match="60000 at most"):
        Hall.options(concurrency_groups={"io": 59_500})
