"""`ActorPool`: a fixed number of actors, and work that goes to whichever is free.

Written on the public API. Ray's methods, order and exceptions.
"""

from __future__ import annotations

import contextlib

import skate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeAlias, TypeVar

    from skate import ObjectRef

    V = TypeVar("V")
    Call: TypeAlias = Callable[[Any, V], ObjectRef[Any]]

_NOTHING = "No more results to get"
_LATE = "Timed out waiting for result"


class ActorPool:
    """Actors, and work for them.

        pool = ActorPool([Worker.remote(), Worker.remote()])
        list(pool.map(lambda actor, value: actor.double.remote(value), [1, 2, 3]))   # [2, 4, 6]

    Invariant: an actor has one call of the pool at a time. Results come in the order of submission
    (`get_next`) or of completion (`get_next_unordered`); do not mix the two while work is under
    way.

    Rule: semantics.md 4.19.
    """

    def __init__(self, actors: Iterable[Any]) -> None:
        self._idle = list(actors)
        self._actor_of: dict[ObjectRef[Any], tuple[int, Any]] = {}
        self._result_of: dict[int, ObjectRef[Any]] = {}
        self._next_submitted = 0
        self._next_returned = 0
        self._waiting: list[tuple[Call[Any], Any]] = []

    def map(self, fn: Call[V], values: Iterable[V]) -> Iterator[Any]:
        """Results of `fn(actor, value)`, in the order of the values. Forgets earlier results."""
        self._forget()
        for value in values:
            self.submit(fn, value)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield self.get_next()

        return results()

    def map_unordered(self, fn: Call[V], values: Iterable[V]) -> Iterator[Any]:
        """The same in the order in which they come."""
        self._forget()
        for value in values:
            self.submit(fn, value)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield self.get_next_unordered()

        return results()

    def submit(self, fn: Call[V], value: V) -> None:
        """Has `fn(actor, value)` called with an actor, at once or when one is free.

        Args:
            fn: Calls a method of the actor and returns the ref.
            value: For `fn`.
        """
        if not self._idle:
            self._waiting.append((fn, value))
            return
        actor = self._idle.pop()
        ref = fn(actor, value)
        self._actor_of[ref] = self._next_submitted, actor
        self._result_of[self._next_submitted] = ref
        self._next_submitted += 1

    def has_next(self) -> bool:
        """Whether a result is there or will come."""
        return bool(self._actor_of)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """The next result in the order of submission.

        Args:
            timeout: Seconds; None waits for ever.
            ignore_if_timedout: Whether a result that is late is passed over; its actor is free when
                it has come.

        Raises:
            StopIteration: there is none.
            TimeoutError: it did not come in time.
            ValueError: results were taken out of order before.
        """
        if not self.has_next():
            raise StopIteration(_NOTHING)
        if self._next_returned >= self._next_submitted:
            msg = "It is not allowed to call get_next() after get_next_unordered()."
            raise ValueError(msg)
        ref = self._result_of[self._next_returned]
        is_late = False
        if timeout is not None:
            ready, _ = skate.wait([ref], timeout=timeout)
            is_late = not ready
        if is_late and not ignore_if_timedout:
            raise TimeoutError(_LATE)
        del self._result_of[self._next_returned]
        self._next_returned += 1
        self._free(self._actor_of.pop(ref)[1])
        if is_late:
            raise TimeoutError(f"{_LATE}. The task {ref} has been ignored.")
        return skate.get(ref)

    def get_next_unordered(
        self, timeout: float | None = None, ignore_if_timedout: bool = False
    ) -> Any:
        """The result that comes first; see `get_next`."""
        if not self.has_next():
            raise StopIteration(_NOTHING)
        ready, _ = skate.wait(list(self._actor_of), num_returns=1, timeout=timeout)
        if not ready:
            if ignore_if_timedout:
                ref = next(iter(self._actor_of))
                place, actor = self._actor_of.pop(ref)
                del self._result_of[place]
                self._next_returned = max(self._next_returned, place + 1)
                self._free(actor)
                raise TimeoutError(f"{_LATE}. The task {ref} has been ignored.")
            raise TimeoutError(_LATE)
        ref = ready[0]
        place, actor = self._actor_of.pop(ref)
        del self._result_of[place]
        self._next_returned = max(self._next_returned, place + 1)
        self._free(actor)
        return skate.get(ref)

    def has_free(self) -> bool:
        """Whether an actor has nothing to do."""
        return bool(self._idle) and not self._waiting

    def pop_idle(self) -> Any:
        """An actor that has nothing to do, which leaves the pool; None if there is none."""
        return self._idle.pop() if self.has_free() else None

    def push(self, actor: Any) -> None:
        """Takes in one more actor.

        Raises:
            ValueError: it is in the pool already.
        """
        if actor in self._idle or any(actor == busy for _, busy in self._actor_of.values()):
            msg = "Actor already belongs to current ActorPool"
            raise ValueError(msg)
        self._free(actor)

    def _free(self, actor: Any) -> None:
        self._idle.append(actor)
        if self._waiting:
            self.submit(*self._waiting.pop(0))

    def _forget(self) -> None:
        """Before a map: drops what was submitted before."""
        while self.has_next():
            with contextlib.suppress(Exception):  # nobody asks for that result any more
                self.get_next_unordered(timeout=0, ignore_if_timedout=True)
