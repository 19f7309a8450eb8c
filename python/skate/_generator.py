"""`ObjectRefGenerator`: the consumer's end of a remote generator.

    streaming: f.remote()  ─▶ ObjectRefGenerator          one cursor, shared by all holders
    dynamic:   get(ref)    ─▶ DynamicObjectRefGenerator   a cursor of its own in each

Invariant: each item is given exactly once through a cursor, in the order of the yields; then the
error, if there was one, as one more ref; then the end, for ever. A `next` that ends in any other
way has taken nothing.
"""

from __future__ import annotations

from skate import _native
from skate._native import ObjectRef, Stream
from skate.exceptions import GetTimeoutError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generic, NoReturn, Self, TypeVar

    T = TypeVar("T")

    class _Typed(Stream, Generic[T]):
        """At run time a plain class: `typing` takes 10 ms to import."""

        def __next__(self) -> ObjectRef[T]: ...
        def next_within(self, timeout_s: float | None, /) -> ObjectRef[T]: ...

else:

    class _Typed(Stream):
        """Takes type arguments and ignores them."""

        def __class_getitem__(cls, _item: object) -> type:
            return cls


class ObjectRefGenerator(_Typed["T"]):
    """The refs that a remote generator yields, in order, each as soon as it is yielded.

    Iterate it with `for` or `async for`; pass it to `wait` and `cancel`. Several threads may read
    one
    generator: each item goes to one of them.

    Rule: semantics.md 1.4, A2, A7, A8.
    """

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
            ValueError: the timeout is negative.
        """
        return self.next_within(timeout)

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

    def close(self) -> NoReturn:
        """Not possible yet: use `cancel`, or drop the generator."""
        _refuse("close")

    async def asend(self, _value: object) -> NoReturn:
        """Not possible: values flow one way."""
        _refuse("asend")

    async def athrow(self, *_args: object) -> NoReturn:
        """Not possible: use `cancel`."""
        _refuse("athrow")

    async def aclose(self) -> NoReturn:
        """Not possible yet: use `cancel`, or drop the generator."""
        _refuse("aclose")

    def __reduce__(self) -> tuple[Any, ...]:
        msg = (
            "You cannot return or pass a generator to other task. Serializing a "
            "ObjectRefGenerator is "
            "not allowed."
        )
        raise TypeError(msg)

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

    def __reduce__(self) -> tuple[Any, ...]:
        reduced = Stream.__reduce__(self)
        assert isinstance(reduced, tuple)  # noqa: S101 - the Rust side gives no global's name
        return reduced


def _for_ever_if_negative(timeout_s: float | None) -> float | None:
    return None if timeout_s is None or timeout_s < 0 else timeout_s


def _refuse(method: str) -> NoReturn:
    msg = f"`gen.{method}` is not supported."
    raise NotImplementedError(msg)


_native.bind_types(ObjectRefGenerator, DynamicObjectRefGenerator)
