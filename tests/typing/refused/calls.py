"""Calls that type checkers refuse: the lines with `# error`, or `# error of` one. Never run."""

from collections.abc import Iterator

import skate as ray


@ray.remote
def area(width: int, height: float = 1.0) -> str:
    return f"{width * height}"


@ray.remote
def lines(path: str) -> Iterator[str]:
    yield path


class Counter:
    def __init__(self, start: int) -> None:
        self.count = start

    @ray.method
    def add(self, n: int) -> int:
        return self.count + n


CounterActor = ray.remote(Counter)
text: ray.ObjectRef[str] = ray.put("a")

area.remote("1")  # error
area.remote(1, 2.0, 3.0)  # error
area.remote(text)  # error
area.remote(1, text)  # error
area.remote("1", height=text)  # error
area(1)
lines.remote(1)  # error
CounterActor.remote("1")  # error of mypy
CounterActor.remote(text)  # error of mypy
Counter.add.remote("1")  # error
Counter.add.remote(text)  # error
number: int = ray.get(area.remote(1))  # error
numbers: list[int] = ray.get([text])  # error of pyright
ray.get(1)  # error
ray.get([1])  # error
ray.wait(text)  # error
for ref in lines.remote("a"):
    line: int = ray.get(ref)  # error
