"""`ray.util.iter`: items in shards, each of which a worker goes through.

    from_range(100, num_shards=4).for_each(f).filter(g).gather_async()
    └ sources ─ a remote generator per shard: source ─▶ f ─▶ g ─ stream ─▶ LocalIterator ┘

Invariant: a `ParallelIterator` is a description. Nothing runs before what one of its `gather_`
methods gives is iterated, and each of these goes through all items anew. A shard is never more than
a few items ahead of who reads it. One that is repeated ends with the first round of no items.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import deque
from itertools import islice
from typing import Any, Generic, TypeVar

import skate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Self

    Transform = Callable[[Iterator[Any]], Iterable[Any]]

T = TypeVar("T")

_AHEAD = 4
"""Unread items of a shard."""


def _apply(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)


class _Steps(ABC):
    """What can be done with items, wherever they are."""

    @abstractmethod
    def transform(self, function: Transform) -> Self:
        """What the function makes of the iterator of all items; of those of each shard."""

    def for_each(
        self,
        function: Callable[[Any], Any],
        max_concurrency: int = 1,
        resources: dict[str, Any] | None = None,
    ) -> Self:
        """What the function gives for each item.

        Args:
            function: Of one item.
            max_concurrency: So many items of a shard at once, each in a task; 1 does without.
            resources: Options of these tasks, such as `{"num_cpus": 2}`.

        Raises:
            ValueError: `max_concurrency` is not positive.
        """
        if max_concurrency < 1:
            msg = f"for_each: max_concurrency is {max_concurrency}, but must be positive"
            raise ValueError(msg)
        if max_concurrency == 1 and not resources:
            return self.transform(lambda items: map(function, items))

        def in_tasks(items: Iterator[Any]) -> Iterator[Any]:
            task = skate.remote(_apply).options(**(resources or {}))
            refs = deque(task.remote(function, item) for item in islice(items, max_concurrency))
            while refs:
                yield skate.get(refs.popleft())
                refs.extend(task.remote(function, item) for item in islice(items, 1))

        return self.transform(in_tasks)

    def filter(self, function: Callable[[Any], bool]) -> Self:
        """The items of which the function says yes."""
        return self.transform(lambda items: filter(function, items))

    def batch(self, n: int) -> Self:
        """Lists of `n` items; the last one may be shorter."""

        def batches(items: Iterator[Any]) -> Iterator[list[Any]]:
            while batch := list(islice(items, n)):
                yield batch

        return self.transform(batches)

    def flatten(self) -> Self:
        """The items of the items."""
        return self.transform(lambda items: (each for batch in items for each in batch))

    def combine(self, function: Callable[[Any], list[Any]]) -> Self:
        """The items of the lists that the function gives for each item."""
        return self.for_each(function).flatten()

    def _shuffled(self, size: int, seed: int | None) -> Self:
        def shuffled(items: Iterator[Any]) -> Iterator[Any]:
            choice = random.Random(seed)  # noqa: S311 - no secret
            held: list[Any] = []
            for item in items:
                held.append(item)
                if len(held) >= size:
                    yield held.pop(choice.randrange(len(held)))
            choice.shuffle(held)
            yield from held

        return self.transform(shuffled)


class LocalIterator(_Steps, Generic[T]):
    """An iterator in this process."""

    def __init__(self, items: Iterable[T], name: str) -> None:
        self._items = iter(items)
        self.name = name

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        return next(self._items)

    def __repr__(self) -> str:
        return f"LocalIterator[{self.name}]"

    def transform(self, function: Transform) -> Self:
        """What the function makes of this iterator."""
        return type(self)(function(self._items), f"{self.name}.transform()")

    def shuffle(self, shuffle_buffer_size: int, seed: int | None = None) -> Self:
        """The same in another order, of which so many are held back."""
        return self._shuffled(shuffle_buffer_size, seed)

    def take(self, n: int) -> list[T]:
        """The next `n` items; fewer at the end."""
        return list(islice(self, n))

    def show(self, n: int = 20) -> None:
        """Prints them."""
        for item in self.take(n):
            print(item)  # noqa: T201 - it is what it is for


@skate.remote(num_cpus=0, generator_backpressure_num_objects=_AHEAD, generator_on_drop="close")
def _shard(source: Any, is_repeated: bool, steps: list[Transform]) -> Iterator[Any]:
    def items() -> Iterator[Any]:
        is_over = False
        while not is_over:
            is_over = True  # of a round that gives nothing, too: the next would give no more
            for item in source() if callable(source) else source:
                is_over = not is_repeated
                yield item

    found: Iterator[Any] = items()
    for step in steps:
        found = iter(step(found))
    yield from found


class ParallelIterator(_Steps, Generic[T]):
    """Items in shards. Made by `from_items`, `from_range` and `from_iterators`."""

    def __init__(self, shards: Sequence[tuple[Any, bool, list[Transform]]], name: str) -> None:
        self._shards = list(shards)
        self.name = name

    def __iter__(self) -> Iterator[T]:
        msg = (
            "You must use it.gather_sync() or it.gather_async() to iterate over the results of a "
            "ParallelIterator."
        )
        raise TypeError(msg)

    def __repr__(self) -> str:
        return f"ParallelIterator[{self.name}]"

    def transform(self, function: Transform) -> Self:
        """What the function makes of the iterator of each shard."""
        shards = [
            (source, repeated, [*steps, function]) for source, repeated, steps in self._shards
        ]
        return type(self)(shards, f"{self.name}.transform()")

    def local_shuffle(self, shuffle_buffer_size: int, seed: int | None = None) -> Self:
        """The items of each shard in another order, of which so many are held back."""
        return self._shuffled(shuffle_buffer_size, seed)

    def union(self, other: ParallelIterator[T]) -> Self:
        """The shards of both."""
        return type(self)([*self._shards, *other._shards], f"{self.name}.union({other.name})")

    def num_shards(self) -> int:
        """How many there are."""
        return len(self._shards)

    def select_shards(self, shards_to_keep: list[int]) -> Self:
        """Only those."""
        return type(self)(
            [self._shards[index] for index in shards_to_keep], f"{self.name}.select()"
        )

    def shards(self) -> list[LocalIterator[T]]:
        """The items of each."""
        return [self.get_shard(index) for index in range(self.num_shards())]

    def get_shard(
        self, shard_index: int, batch_ms: int = 0, num_async: int = 1
    ) -> LocalIterator[T]:
        """The items of one; the other arguments are accepted."""
        del batch_ms, num_async
        return self.select_shards([shard_index]).gather_sync()

    def batch_across_shards(self) -> LocalIterator[list[T]]:
        """Lists of one item of each shard; shorter when the first shards have ended."""
        return LocalIterator(self._in_step(), f"{self.name}.batch_across_shards()")

    def gather_sync(self) -> LocalIterator[T]:
        """All items, one of each shard in turn."""
        items = (item for batch in self._in_step() for item in batch)
        return LocalIterator(items, f"{self.name}.gather_sync()")

    def gather_async(self, batch_ms: int = 0, num_async: int = 1) -> LocalIterator[T]:
        """All items as they come; the arguments are accepted."""
        del batch_ms, num_async
        return LocalIterator(self._as_they_come(), f"{self.name}.gather_async()")

    def take(self, n: int) -> list[T]:
        """The first `n` of `gather_sync`."""
        return self.gather_sync().take(n)

    def show(self, n: int = 20) -> None:
        """Prints them."""
        self.gather_sync().show(n)

    def _streams(self) -> list[Any]:
        return [_shard.remote(*shard) for shard in self._shards]

    def _in_step(self) -> Iterator[list[T]]:
        streams = self._streams()
        while streams:
            refs = [(stream, next(stream, None)) for stream in streams]
            streams = [stream for stream, ref in refs if ref is not None]
            if streams:
                yield skate.get([ref for _, ref in refs if ref is not None])

    def _as_they_come(self) -> Iterator[T]:
        streams = deque(self._streams())
        while streams:
            [stream], _ = skate.wait(list(streams), num_returns=1)
            streams.remove(stream)
            ref = next(stream, None)
            if ref is not None:
                streams.append(stream)  # the others come first now
                yield skate.get(ref)


def from_items(items: list[T], num_shards: int = 2, repeat: bool = False) -> ParallelIterator[T]:
    """Items of a list, dealt out to the shards in turn; with `repeat` again and again.

    Rule: Ray 2.60, `ray.util.iter`; held by tests/conformance/test_iter.py.
    """
    dealt = [items[index::num_shards] for index in range(num_shards)]
    name = f"from_items[{type(items[0]).__name__ if items else 'None'}, {len(items)}"
    return from_iterators(dealt, repeat, f"{name}, shards={num_shards}]")


def from_range(n: int, num_shards: int = 2, repeat: bool = False) -> ParallelIterator[int]:
    """The numbers below `n`, each shard a part of them; the last has what is left over."""
    size = n // num_shards
    parts = [
        range(index * size, n if index == num_shards - 1 else (index + 1) * size)
        for index in range(num_shards)
    ]
    return from_iterators(parts, repeat, f"from_range[{n}, shards={num_shards}]")


def from_iterators(
    generators: Iterable[Iterable[T] | Callable[[], Iterable[T]]],
    repeat: bool = False,
    name: str | None = None,
) -> ParallelIterator[T]:
    """A shard for each; a function is called in the worker and gives what is iterated there.

    With `repeat` again and again; what can be gone through only once is gone through once.
    """
    sources = list(generators)
    return ParallelIterator(
        [(source, repeat, []) for source in sources],
        name or f"from_iterators[shards={len(sources)}]",
    )
