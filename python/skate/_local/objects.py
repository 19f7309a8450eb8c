"""What refs stand for: a value, an error, or what is still to come.

    pending ─ settle ─▶ packed │ failed          ObjectRef ─ kept ─▶ Handle ─▶ Cell

Invariant: a cell is settled once. A `Failure` may be in several cells (the refs of one task, and
those of tasks that depend on it); when the last of them is gone and nobody saw it, it is reported.
"""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from skate._local.codec import Packed
    from skate._local.state import State


_HEIRS_SHOWN = 8


class Maker(Protocol):
    """A task that can be driven by whoever waits for it."""

    def advance(self, timeout_s: float | None) -> bool:
        """One step; False if only another thread can make it, and none came in time."""


class Failure:
    """One error.

    Attributes:
        task: Id of the task that failed, in hex.
        name: Of the task.
        is_known: Whether somebody has seen it, or need not.
        is_system: Whether it is not user code's.
    """

    __slots__ = ("_client", "_make", "is_known", "is_system", "name", "task")

    def __init__(
        self,
        client: State,
        task: str,
        name: str,
        make: Callable[[], BaseException],
        *,
        is_known: bool = False,
        is_system: bool = False,
    ) -> None:
        self._client = client
        self._make = make
        self.task = task
        self.name = name
        self.is_known = is_known
        self.is_system = is_system

    def exception(self) -> BaseException:
        """A fresh instance of what `get` raises."""
        from skate.exceptions import RayTaskError

        self.is_known = True
        error = self._make()
        return error.as_instanceof_cause() if isinstance(error, RayTaskError) else error

    def __del__(self) -> None:
        is_known = getattr(self, "is_known", True)  # there is none if it was not made wholly
        if not is_known and self._client.is_open:
            self._client.report(self.task, self.name, None, self._make())


class Inherited:
    """The same error, in the refs of a task that therefore did not run.

    Attributes:
        failure: Where it happened.
        heirs: Names of the tasks that did not run, the first to take it first.
        actor_id: Of the actor whose constructor was among them: hex.
    """

    __slots__ = ("actor_id", "failure", "heirs")

    def __init__(self, failure: Failure | Inherited, heir: str) -> None:
        before = failure.heirs if isinstance(failure, Inherited) else ()
        self.failure: Failure = failure.failure if isinstance(failure, Inherited) else failure
        self.heirs: tuple[str, ...] = (*before, heir)
        self.actor_id: str | None = None
        if isinstance(failure, Inherited):
            self.actor_id = failure.actor_id

    @property
    def is_system(self) -> bool:
        """Whether it is not user code's."""
        return self.failure.is_system

    def exception(self) -> BaseException:
        """A fresh instance of what `get` raises."""
        from skate._advice import inherited

        error = self.failure.exception()
        shown = (*self.heirs[: _HEIRS_SHOWN - 1], self.heirs[-1])
        skipped = len(self.heirs) - _HEIRS_SHOWN
        if skipped <= 0:
            shown, skipped = self.heirs, 0
        return inherited(error, shown, skipped, self.actor_id)


class Cell:
    """One object.

    Attributes:
        key: Its id, 28 bytes.
        packed: Its value, if it has one.
        failure: Its error, if it has one.
        maker: Who makes it when somebody waits; None if it is there, or comes by itself.
        watchers: Called once, when it is there.
    """

    __slots__ = ("__weakref__", "failure", "key", "maker", "packed", "watchers")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.packed: Packed | None = None
        self.failure: Failure | Inherited | None = None
        self.maker: Maker | None = None
        self.watchers: list[Callable[[], None]] = []

    @property
    def is_ready(self) -> bool:
        """Whether it has a value or an error."""
        return self.packed is not None or self.failure is not None

    def value(self) -> Any:
        """A fresh copy of the value; raises the error."""
        if self.failure is not None:
            raise self.failure.exception()
        assert self.packed is not None  # noqa: S101 - who asks has waited
        return self.packed.unpack()


class Handle:
    """What an `ObjectRef` keeps."""

    __slots__ = ("__weakref__", "cell", "client")

    def __init__(self, client: State, cell: Cell) -> None:
        self.client = client
        self.cell = cell

    def __repr__(self) -> str:
        return f"ObjectRef({self.cell.key.hex()})"

    def reduce(self) -> tuple[Callable[[bytes], object], tuple[bytes]]:
        """`ObjectRef.__reduce__`."""
        from skate._local.restore import restore_ref

        self.client.check(self)
        self.client.keep(self.cell)
        return restore_ref, (self.cell.key,)
