"""What mypy knows of actors. Checked by `make check`, never run.

A class decorator means nothing to mypy, so classes become actors here by a call of `remote`.
"""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import skate as ray
from skate.actor import ActorClass, ActorHandle, ActorProxy


class Counter:
    """Its methods are declared, so that their calls are typed, too."""

    def __init__(self, start: int, *, step: int = 1) -> None:
        self.count = start
        self.step = step

    @ray.method
    def add(self, times: int) -> int:
        self.count += times * self.step
        return self.count

    @ray.method(concurrency_group="io")
    async def wait(self, name: str) -> str:
        return name

    @ray.method
    def items(self) -> Iterator[int]:
        yield self.add(1)

    @ray.method
    async def async_items(self) -> AsyncIterator[int]:
        yield self.add(1)

    @ray.method(num_returns=2)
    def pair(self) -> tuple[int, int]:
        return self.add(1), self.add(1)

    def undeclared(self) -> int:
        return self.count


CounterActor = ray.remote(Counter)
Limited = ray.remote(max_restarts=1)(Counter)


def an_actor_class_knows_its_class() -> None:
    assert_type(CounterActor.remote(1, step=2), ActorHandle[Counter])
    assert_type(CounterActor.options(name="c").remote(1), ActorHandle[Counter])
    assert_type(Limited.remote(1), ActorHandle[Counter])
    assert_type(ray.put(1), ray.ObjectRef[int])
    CounterActor.remote(ray.put(1))  # any argument may be a ref


def anybody_may_name_the_class_alone(factory: ActorClass[Counter]) -> ActorHandle[Counter]:
    return factory.remote(1)


def a_proxy_knows_its_declared_methods(counter: ActorProxy[Counter]) -> None:
    total: int = ray.get(counter.add.remote(2))
    name: str = ray.get(counter.wait.remote("a"))
    for ref in counter.items.remote():
        total += ray.get(ref)
    print(total, name)


def methods_are_typed_by_their_class() -> None:
    assert_type(Counter.add.remote(1), ray.ObjectRef[int])
    assert_type(Counter.wait.remote("a"), ray.ObjectRef[str])
    assert_type(Counter.items.remote(), ray.ObjectRefGenerator[int])
    assert_type(Counter.async_items.remote(), ray.ObjectRefGenerator[int])


def inside_the_class_a_method_is_a_method(counter: Counter) -> None:
    assert_type(counter.add(1), int)
    assert_type(counter.pair(), tuple[int, int])


def a_handle_takes_whatever_the_class_has(counter: ActorHandle[Counter]) -> None:
    counter.undeclared.remote()
    counter.add.options(num_returns=1).remote(3)
