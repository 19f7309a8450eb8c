"""Actors: state in a process of its own; one that awaits; one that yields.

python examples/actors.py
"""

import asyncio
from collections.abc import AsyncIterator

import skate as ray


@ray.remote
class Counter:
    """Counts. One call at a time, in the order of the calls."""

    def __init__(self, start: int = 0) -> None:
        self.count = start

    def add(self, n: int) -> int:
        """Adds n: the new count."""
        self.count += n
        return self.count


@ray.remote
class Board:
    """Waits for news and tells them: thousands may wait, since each call is an asyncio task."""

    def __init__(self) -> None:
        self.news = asyncio.get_running_loop().create_future()

    async def wait(self, who: str) -> str:
        """Returns when there are news."""
        return f"{who}: {await self.news}"

    async def post(self, text: str) -> None:
        """Wakes everybody who waits."""
        self.news.set_result(text)

    async def lines(self, count: int) -> AsyncIterator[str]:
        """An async generator: each line is an object when it is yielded."""
        for number in range(count):
            await asyncio.sleep(0)
            yield f"line {number}"


def main() -> None:
    """Runs each once."""
    counter = Counter.remote(10)
    print(ray.get([counter.add.remote(n) for n in (1, 2, 3)]))

    board = Board.remote()
    waiting = [board.wait.remote(who) for who in ("Ada", "Grace")]
    board.post.remote("it works")
    print(ray.get(waiting))
    print([ray.get(line) for line in board.lines.remote(3)])


if __name__ == "__main__":
    main()
