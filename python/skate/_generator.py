"""`ObjectRefGenerator`: the consumer's end of a remote generator.

    streaming: f.remote()  ─▶ ObjectRefGenerator          one cursor, shared by all holders
    dynamic:   get(ref)    ─▶ DynamicObjectRefGenerator   a cursor of its own in each

    passed on: an argument, a return value, part of any value of a skate call ─▶ one more holder

    ObjectRefGenerator ◀─ names and checks ── a class of each engine: cursor, waiting, ending

Invariant: each item is given exactly once through a cursor, in the order of the yields; then the
error, if there was one, as one more ref; then the end, for ever. A `next` that ends in any other
way has taken nothing.
"""

from __future__ import annotations

from skate import _checks, _native, _session
from skate._frames import HIDDEN
from skate._native import ObjectRef, Stream
from skate.exceptions import GetTimeoutError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generic, NoReturn, Self, TypeVar

    T = TypeVar("T")

    class _Typed(Generic[T]):
        """What each engine does in its own way. At run time an empty class."""

        def __iter__(self) -> Self: ...
        def __next__(self) -> ObjectRef[T]: ...
        def next_within(self, timeout_s: float | None, /) -> ObjectRef[T]: ...
        def batch_within(self, most: int, timeout_s: float | None, /) -> list[ObjectRef[T]]: ...
        def shut(self) -> None: ...
        def is_ready(self) -> bool: ...
        def is_finished(self) -> bool:
            """Whether every item and the final error have been taken."""

        def whole(self) -> ObjectRef[Any]: ...
        def size(self) -> int: ...
        @property
        def position(self) -> int: ...
        def task_id(self) -> str: ...

else:
    from skate._untyped import Untyped

    class _Typed(Untyped):
        """With a `__dict__` and weak references."""


class ObjectRefGenerator(_Typed["T"]):
    """The refs that a remote generator yields, in order, each as soon as it is yielded.

    Iterate it with `for` or `async for`; pass it to `wait` and `cancel`, and to other tasks. All
    holders of a streaming generator, threads and processes, share its items: each goes to exactly
    one of them. When the last holder drops it, unread items are freed.

    Rule: semantics.md 1.4, A2, A3, A5, A7, A8.
    """

    def __new__(cls, *_args: object) -> Self:
        """Refuses: only an engine makes generators."""
        msg = f"{cls.__name__}: generators are made by calling a remote function, not directly"
        raise TypeError(msg)

    def __bool__(self) -> bool:
        """True, without waiting."""
        return True

    def next(self, timeout: float | None = None) -> ObjectRef[T]:
        """The next item.

        Args:
            timeout: Seconds, at least 0; None waits for ever.

        Raises:
            StopIteration: at the end; its value is what the generator returned.
            GetTimeoutError: nothing came in time; nothing was taken.
            TypeError: the timeout is no number.
            ValueError: it is negative.
        """
        with HIDDEN:
            timeout_s = _timeout_s("next", timeout)
        return self.next_within(timeout_s)

    def next_batch(self, n: int, timeout: float | None = None) -> list[ObjectRef[T]]:
        """The items that are there, without waiting for more than the first.

        Args:
            n: At most so many, at least 1.
            timeout: Seconds to wait for the first, at least 0; None waits for ever.

        Returns:
            1 to n refs, in order.

        Raises:
            StopIteration: at the end; its value is what the generator returned.
            GetTimeoutError: nothing came in time; nothing was taken.
            TypeError: `n` is no whole number, or the timeout no number.
            ValueError: `n` or the timeout is out of range.
        """
        with HIDDEN:
            most = _checks.whole("ObjectRefGenerator.next_batch: n", n, 1, _BATCH_MAX)
            timeout_s = _timeout_s("next_batch", timeout)
        return self.batch_within(most, timeout_s)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ObjectRef[T]:
        from skate._async import next_item

        return await next_item(self)

    def completed(self) -> ObjectRef[Any]:
        """A ref that is ready when the task has ended; its value is what the generator returned.

        An exception of the generator itself is in the stream only; a system failure or a forced
        cancel is raised by this ref too.
        """
        return self.whole()

    @property
    def _generator_ref(self) -> ObjectRef[Any]:
        return self.whole()

    def next_ready(self) -> bool:
        """Whether `next` would give an item or an error at once. False after the end."""
        return self.is_ready()

    def _next_sync(self, timeout_s: float | None = None) -> ObjectRef[T]:
        """`next` under Ray's name: -1 or None waits for ever, a nil ref means not in time."""
        try:
            return self.next_within(_for_ever_if_negative(timeout_s))
        except GetTimeoutError:
            return ObjectRef.nil()

    async def _next_async(self, timeout_s: float | None = None) -> ObjectRef[T]:
        """The same in an event loop."""
        from skate._async import next_item_within

        try:
            return await next_item_within(self, _for_ever_if_negative(timeout_s))
        except GetTimeoutError:
            return ObjectRef.nil()

    def send(self, _value: object) -> NoReturn:
        """Not possible: values flow one way."""
        _refuse("send")

    def throw(self, *_args: object) -> NoReturn:
        """Not possible: use `cancel`."""
        _refuse("throw")

    def close(self) -> None:
        """Ends the generator, for all who hold it.

        Unread items are freed and every `next` raises StopIteration at once. The body gets
        `GeneratorExit` at its next `yield`, so its `finally` runs; if it has not begun, it never
        does. `completed()` is ready when it has ended. A second `close` does nothing.
        """
        self.shut()

    async def asend(self, _value: object) -> NoReturn:
        """Not possible: values flow one way."""
        _refuse("asend")

    async def athrow(self, *_args: object) -> NoReturn:
        """Not possible: use `cancel`."""
        _refuse("athrow")

    async def aclose(self) -> None:
        """The same; it does not wait."""
        self.shut()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of task {self.task_id()} at item {self.position}>"


class DynamicObjectRefGenerator(ObjectRefGenerator["T"]):
    """What `get` gives for a `num_returns="dynamic"` ref: live, with a cursor of its own.

    It may be passed on, returned and put: the copy starts where this one stands and moves by
    itself.
    """

    def __len__(self) -> int:
        """Refs left. Waits until the task has ended, because only then the number is known."""
        return self.size()

    def __copy__(self) -> Self:
        """Another reader, which begins where this one stands."""
        copy: Any = _session.of(self).round_trip(self)
        return copy  # type: ignore[no-any-return]

    def __deepcopy__(self, _memo: object) -> Self:
        return self.__copy__()

    def close(self) -> None:
        """Ends this reader: its items are freed and `next` raises StopIteration.

        The task runs on, for its ref and for other generators got from it.
        """
        self.shut()


_BATCH_MAX = 2**32 - 1


def _timeout_s(method: str, timeout: float | None) -> float | None:
    if timeout is None:
        return None
    return _checks.seconds(f"ObjectRefGenerator.{method}: timeout", timeout)


def _for_ever_if_negative(timeout_s: float | None) -> float | None:
    return None if timeout_s is None or timeout_s < 0 else timeout_s


def _refuse(method: str) -> NoReturn:
    msg = f"`gen.{method}` is not supported."
    raise NotImplementedError(msg)


class _Streaming(Stream, ObjectRefGenerator["Any"]):
    """Those of the node."""


class _Dynamic(Stream, DynamicObjectRefGenerator["Any"]):
    """Likewise."""


# People see what it is, not which engine made it.
_Streaming.__name__ = _Streaming.__qualname__ = "ObjectRefGenerator"
_Dynamic.__name__ = _Dynamic.__qualname__ = "DynamicObjectRefGenerator"
_native.bind_types(_Streaming, _Dynamic)
