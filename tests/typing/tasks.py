"""What type checkers know of tasks and objects. Checked by `make check`, never run."""

from collections.abc import Iterator
from typing import assert_type

import skate as ray


@ray.remote
def area(width: int, height: float = 1.0, *, unit: str = "m") -> str:
    return f"{width * height} {unit}"


@ray.remote(num_cpus=2)
def total(first: int, *more: int) -> int:
    return first + sum(more)


@ray.remote
def lines(path: str) -> Iterator[str]:
    yield path


def a_call_gives_a_ref_of_what_the_function_returns() -> None:
    assert_type(area.remote(1, 2.0, unit="cm"), ray.ObjectRef[str])
    assert_type(area.options(num_cpus=1).remote(1), ray.ObjectRef[str])
    assert_type(total.remote(1, 2, 3), ray.ObjectRef[int])


def any_argument_may_be_a_ref_of_its_type(width: ray.ObjectRef[int]) -> None:
    height = ray.put(2.0)
    assert_type(area.remote(width), ray.ObjectRef[str])
    assert_type(area.remote(width, height), ray.ObjectRef[str])
    assert_type(area.remote(width, 2.0), ray.ObjectRef[str])
    assert_type(area.remote(1, unit=ray.put("cm")), ray.ObjectRef[str])
    assert_type(area.remote(width=width, height=height), ray.ObjectRef[str])
    assert_type(area.remote(total.remote(1)), ray.ObjectRef[str])
    assert_type(total.remote(width, width, 3), ray.ObjectRef[int])


def a_generator_gives_refs_of_its_items() -> None:
    stream = lines.remote("a.txt")
    assert_type(stream, ray.ObjectRefGenerator[str])
    assert_type(next(stream), ray.ObjectRef[str])
    for ref in stream:
        assert_type(ray.get(ref), str)


async def refs_and_streams_can_be_awaited(ref: ray.ObjectRef[int]) -> None:
    assert_type(await ref, int)
    async for item in lines.remote("a.txt"):
        assert_type(await item, str)


def get_and_wait_keep_the_type(refs: list[ray.ObjectRef[int]]) -> None:
    assert_type(ray.get(refs[0]), int)
    assert_type(ray.get(refs), list[int])
    ready, pending = ray.wait(refs, timeout=1)
    assert_type(ready, list[ray.ObjectRef[int]])
    assert_type(ray.get(pending), list[int])
