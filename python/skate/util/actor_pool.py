"""`ActorPool`: a fixed number of actors, and work that goes to whichever is free.

Written on the public API. Ray's methods, order and exceptions.
"""

from __future__ import annotations

import contextlib
from collections import deque

import skate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeAlias, TypeVar

    from skate import ObjectRef

    V = TypeVar("V")
    Given: TypeAlias = ObjectRef[Any] | list[ObjectRef[Any]]
    Call: TypeAlias = Callable[[Any, V], Given]

_NOTHING = "No more results to get"
_LATE = "Timed out waiting for result"


class _Failed:
    """In place of what a call gives: `fn` raised this for a value that had waited."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class ActorPool:
    """Actors, and work for them.

        pool = ActorPool([Worker.remote(), Worker.remote()])
        list(pool.map(lambda actor, value: actor.double.remote(value), [1, 2, 3]))   # [2, 4, 6]

    Invariant: an actor has one call of the pool at a time, and another behind it while `get_next`
    waits for the first. Results come in the order of submission (`get_next`) or of completion
    (`get_next_unordered`); do not mix the two while work is under way. What `fn` raises is raised
    by `submit`, or, for a value that had to wait, in the place of its result. What Ctrl-C keeps
    from being returned is returned next time.

    Rule: semantics.md 4.19.
    """

    def __init__(self, actors: Iterable[Any]) -> None:
        self._idle = list(actors)
        self._under_way: dict[int, tuple[Given | _Failed, Any]] = {}  # by place; with its actor
        self._next_submitted = 0
        self._next_returned = 0
        self._waiting: deque[tuple[Call[Any], Any]] = deque()

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
            fn: Calls a method of the actor and returns the ref, a list of refs, or a generator.
            value: For `fn`.

        Raises:
            TypeError: `fn` returned something else.
        """
        if not self._idle:
            self._waiting.append((fn, value))
            return
        given = fn(self._idle[-1], value)
        refs = _refs(given)
        if not refs or not all(
            isinstance(each, skate.ObjectRef | skate.ObjectRefGenerator) for each in refs
        ):
            msg = f"ActorPool: fn must return a ref or a list of refs, but returned {given!r}"
            raise TypeError(msg)
        self._add(given, self._idle.pop())

    def _add(self, given: Given | _Failed, actor: Any) -> None:
        self._under_way[self._next_submitted] = given, actor
        self._next_submitted += 1

    def has_next(self) -> bool:
        """Whether a result is there or will come."""
        return bool(self._under_way)

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
        given, _ = self._under_way[self._next_returned]
        is_late = False
        if timeout is not None and not isinstance(given, _Failed):
            refs = _refs(given)
            _, pending = skate.wait(refs, num_returns=len(refs), timeout=timeout)
            is_late = bool(pending)
        if is_late and not ignore_if_timedout:
            raise TimeoutError(_LATE)
        return self._take(self._next_returned, is_late=is_late)

    def get_next_unordered(
        self, timeout: float | None = None, ignore_if_timedout: bool = False
    ) -> Any:
        """The result that comes first; see `get_next`."""
        if not self.has_next():
            raise StopIteration(_NOTHING)
        places: dict[ObjectRef[Any], int] = {}
        for place, (given, _) in self._under_way.items():
            if isinstance(given, _Failed):
                return self._take(place)
            places[_refs(given)[-1]] = place
        ready, _ = skate.wait(list(places), num_returns=1, timeout=timeout)
        if ready:
            return self._take(places[ready[0]])
        if not ignore_if_timedout:
            raise TimeoutError(_LATE)
        return self._take(next(iter(self._under_way)), is_late=True)

    def _take(self, place: int, *, is_late: bool = False) -> Any:
        """The result of that place; one that is late is passed over."""
        given, actor = self._under_way.pop(place)
        before, self._next_returned = self._next_returned, max(self._next_returned, place + 1)
        if isinstance(given, _Failed):
            raise given.error
        if actor is not None:
            self._idle.append(actor)
        try:
            self._go_on()
            if not is_late:
                return skate.get(given)
        except BaseException as error:
            if not isinstance(error, Exception):  # Ctrl-C, not the result; its actor is free now
                self._under_way = {place: (given, None), **self._under_way}
                self._next_returned = before
            raise
        raise TimeoutError(f"{_LATE}. The task {given} has been ignored.")

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
        if actor in self._idle or any(actor == busy for _, busy in self._under_way.values()):
            msg = "Actor already belongs to current ActorPool"
            raise ValueError(msg)
        self._free(actor)

    def _free(self, actor: Any) -> None:
        self._idle.append(actor)
        self._go_on()

    def _go_on(self) -> None:
        """Has what waits called with whoever is free."""
        while self._idle and self._waiting:
            call = self._waiting.popleft()
            try:
                self.submit(*call)
            except Exception as error:  # of another value than the one that is asked for now
                self._add(_Failed(error), None)
            except BaseException:  # Ctrl-C
                self._waiting.appendleft(call)
                raise

    def _forget(self) -> None:
        """Before a map: drops what was submitted before."""
        while self.has_next():
            with contextlib.suppress(Exception):  # nobody asks for that result any more
                self.get_next_unordered(timeout=0, ignore_if_timedout=True)


def _refs(given: Given) -> list[ObjectRef[Any]]:
    return given if isinstance(given, list) else [given]
