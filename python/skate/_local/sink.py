"""What becomes of a task's yields, returns and errors, in all three modes.

    accept ─▶ item 0, 1, …       static: the i-th cell │ dynamic, streaming: appended to the channel
    exhausted, returned │ raised, failed ─▶ ended, once

Invariant: every index is given once: a task that is run again is ignored up to where it had come.
An error takes the place of what was not given: the refs that are left, or one more item.
"""

from __future__ import annotations

import os
from weakref import ref as weak

from skate._errors import task_error
from skate._local import codec
from skate._local.objects import Cell, Failure, Inherited
from skate._local.streams import Channel, Cursor, PackedDynamic, Streaming
from skate._native import DYNAMIC, STREAMING
from skate.exceptions import from_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from skate._local.codec import Packed
    from skate._local.objects import Maker
    from skate._local.run import Run
    from skate._local.state import State


def _nobody() -> None:
    """Who reads what has no reader."""


class TooManyError(Exception):
    """One yield too many; the argument is what people are told."""


class Sink:
    """Of one task.

    Attributes:
        yielded: Items of this attempt.
        has_ended: Nothing more is taken.
    """

    def __init__(self, client: State, run: Run) -> None:
        self._client = client
        self._run = run
        self._returns = run.template.returns
        self._is_strict = run.template.is_strict
        self._cells: list[Cell] = []
        self._stored = 0
        self._skip = 0
        self._last: Packed | None = None
        self.yielded = 0
        self.has_ended = False
        self.channel: Channel | None = None
        self._reader: Callable[[], Cursor | None] = _nobody

    # ── what the caller gets ──────────────────────────────────────────────────────────────────

    def given(self, maker: Maker | None) -> Any:
        """What `.remote()` returns: nothing, a ref, refs or a generator."""
        client, task = self._client, self._run.task
        if self._returns == STREAMING:
            channel = self.channel = Channel(task)
            cursor = Cursor(channel, channel.tail, 0, maker, is_shared=True)
            # Not by a finalizer of the cursor: while one runs, a weakref still finds it.
            self._reader = weak(cursor, channel.go_on)
            client.cursors[task] = cursor
            return Streaming(client, cursor)
        if self._returns == DYNAMIC:
            channel = self.channel = Channel(task)
            self._beginning = Cursor(channel, channel.tail, 0, None, is_shared=False)
            self._cells = [client.cell(task, 0)]
            return client.ref(self._cells[0])
        self._cells = [client.cell(task, index + 1) for index in range(self._returns)]
        if not self._cells:
            return None
        refs = [client.ref(cell) for cell in self._cells]
        return refs[0] if self._returns == 1 else refs

    # ── what comes ────────────────────────────────────────────────────────────────────────────

    def restart(self) -> None:
        """The task is run again."""
        self._skip = max(self._skip, self._published)
        self.yielded = 0
        self._last = None

    def accept(self, item: object) -> None:
        """Publishes what was yielded, or forgets it if nobody needs it.

        Raises:
            TooManyError: there is no ref left for it.
            TypeError: it cannot be pickled.
        """
        limit = self._limit
        if limit is not None and self.yielded >= limit:
            msg = (
                f"Task returned more than num_returns={limit} objects. ({self._run.name} yielded "
                f"at least {limit + 1} where {limit} were asked for)"
            )
            raise TooManyError(msg)
        if self.yielded < self._skip or self.is_dropped:
            self.yielded += 1
            return
        packed = codec.pack_as(item, f"item {self.yielded} of {self._run.name}")
        self.yielded += 1
        if self._is_strict and limit == self.yielded:
            self._last = packed
        else:
            self._store(packed)

    def exhausted(self, value: object) -> None:
        """The generator has ended.

        Raises:
            ValueError: it yielded too few items.
            TypeError: its return value cannot be pickled.
        """
        if self.yielded < self._skip:
            run, yielded, published = self._run, self.yielded, self._published
            return self.failed(
                self.system_failure(
                    "ReplayInconsistent", task_name=run.name, yielded=yielded, published=published
                )
            )
        limit = self._limit
        if limit is not None and self.yielded < limit:
            raise self._wrong_count(self.yielded, limit)
        if self._last is not None:
            self._store(self._last)
        if self._returns == STREAMING:
            self._end(codec.pack_as(value, f"the return value of {self._run.name}"))
        else:
            self._end(None)
        return None

    def returned(self, value: Any) -> None:
        """A plain function has returned.

        Raises:
            ValueError: the number of values is wrong, or a generator was wanted.
            TypeError: a value cannot be pickled, or not be split.
        """
        name = self._run.name
        if self._returns in {DYNAMIC, STREAMING}:
            mode = "dynamic" if self._returns == DYNAMIC else "streaming"
            msg = (
                f'Functions with @ray.remote(num_returns="{mode}" must return a generator; {name} '
                f"returned {type(value).__name__}"
            )
            raise ValueError(msg)
        if self._returns == 1:
            values = [codec.pack_as(value, f"the return value of {name}")]
        elif self._returns:
            items = list(value)
            if len(items) != self._returns:
                raise self._wrong_count(len(items), self._returns)
            values = [codec.pack_as(item, f"a return value of {name}") for item in items]
        else:
            values = []
        for packed in values:
            self._store(packed)
        self._end(None)

    def raised(self, error: BaseException) -> None:
        """User code raised, or made a mistake that is told like that."""
        told = task_error(error, self._run.name)
        limit = self._limit
        if limit is not None and self._published >= limit and not self._is_strict:
            self._end(None)
            self._client.report(self._run.task.hex(), self._run.name, limit, told)
        else:
            self.failed(self.failure_of(told))

    def interrupted(self, error: KeyboardInterrupt) -> None:
        """The same for the interrupt that the caller gets, too."""
        failure = self.failure_of(task_error(error, self._run.name))
        failure.is_known = True
        self.failed(failure)

    def unhandled(self, error: BaseException) -> None:
        """User code raised when nobody could read it any more."""
        self._end(None)
        told = task_error(error, self._run.name)
        self._client.report(self._run.task.hex(), self._run.name, self._limit, told)

    def failed(self, failure: Failure | Inherited) -> None:
        """Ends with an error in whatever was not given."""
        with self._client.lock:
            if self.has_ended:
                return
            if self.channel is None:
                for cell in self._cells[self._stored :]:
                    self._client.settle(cell, failure)
            elif not self.is_dropped:
                cell = self._client.cell(self._run.task, self.channel.published + 1)
                cell.failure = failure
                self.channel.append(cell)
            self._end(failure if failure.is_system else None)

    def closed(self) -> None:
        """Ends because a holder closed the stream."""
        self._end(None)

    # ── what people are told ──────────────────────────────────────────────────────────────────

    def failure_of(self, told: BaseException) -> Failure:
        """An error that every `get` raises anew."""
        packed = codec.pack(told)
        return Failure(self._client, self._run.task.hex(), self._run.name, packed.unpack)

    def system_failure(self, kind: str, *, is_known: bool = False, **fields: object) -> Failure:
        """The same of what is not user code's fault; see `exceptions.from_failure`."""
        return Failure(
            self._client,
            self._run.task.hex(),
            self._run.name,
            lambda: from_failure(kind, **fields),
            is_known=is_known,
            is_system=True,
        )

    def cancelled(self) -> Failure:
        """That of a call which was cancelled, before it began or while it ran."""
        pid = 0 if self._run.function is None else os.getpid()
        return self.system_failure("Cancelled", task_name=self._run.name, pid=pid, is_known=True)

    def _wrong_count(self, got: int, asked: int) -> ValueError:
        return ValueError(
            f"Task returned {got} objects, but num_returns={asked}. ({self._run.name} gave {got} "
            f"where {asked} were asked for)"
        )

    # ── how far it is ─────────────────────────────────────────────────────────────────────────

    @property
    def _limit(self) -> int | None:
        return self._returns if self._returns >= 0 else None

    @property
    def _published(self) -> int:
        return self._stored if self.channel is None else self.channel.published

    @property
    def is_dropped(self) -> bool:
        """Whether nobody can read what is yielded."""
        if self._returns != STREAMING or self.channel is None:
            return False
        return self.channel.is_closed or self._reader() is None

    def _store(self, packed: Packed) -> None:
        with self._client.lock:
            if self.has_ended:
                return
            if self.channel is None:
                self._client.settle(self._cells[self._stored], packed)
                self._stored += 1
                return
            cell = self._client.cell(self._run.task, self.channel.published + 1)
            cell.packed = packed
            self.channel.append(cell)
            self._begin_dynamic()
            self._client.changed.notify_all()

    def _begin_dynamic(self) -> None:
        """The dynamic ref is ready with the first item, or with the end."""
        if self._returns == DYNAMIC and not self._cells[0].is_ready:
            self._client.settle(self._cells[0], PackedDynamic(self._client, self._beginning))
            del self._beginning

    def _end(self, outcome: Packed | Failure | Inherited | None) -> None:
        client = self._client
        with client.lock:
            if self.has_ended:
                return
            self.has_ended = True
            channel = self.channel
            if channel is not None:
                if outcome is None:
                    outcome = codec.pack(None)
                channel.has_ended, channel.outcome = True, outcome
                self._begin_dynamic()
                channel.tell()
                whole = client.cells.get(self._run.task + bytes(4))
                if whole is not None and not whole.is_ready:
                    client.settle(whole, outcome)
            self._cells = []
            client.changed.notify_all()
