"""One task in the calling thread: unpack, call, pack.

    submit ─▶ Producer ─ advance ─▶ plain function: called │ generator: one item further
                 └─ everything but a streaming generator is advanced to its end by `submit`

Invariants: one thread advances a task at a time; its generator's code runs in whichever thread
waits for the next item. Nothing of the client is locked while user code runs.
"""

from __future__ import annotations

import pickle
from threading import get_ident

from skate._local import codec
from skate._local.objects import Inherited
from skate._local.run import Run, current
from skate._local.sink import Sink, TooManyError
from skate._native import STREAMING, ObjectRef
from skate.exceptions import RaySystemError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from typing import Any

    from skate._local.actors import LocalActor
    from skate._local.codec import Packed
    from skate._local.objects import Cell, Failure
    from skate._local.state import State

_GENERATOR = type(_ for _ in ())


class FailedError(Exception):
    """A task cannot run; the argument is the `Failure` of what it needs."""


class Exported:
    """A function or class, unpickled at the first call, once: what a worker does."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._found: Callable[..., Any] | None = None

    def __call__(self, _actor: LocalActor | None) -> Callable[..., Any]:
        """Gives it."""
        if self._found is None:
            self._found = pickle.loads(self._data)
        return self._found


class Template:
    """A function, a class or a method with its options. The names are those of `Client.template`.

    Attributes:
        find: Gives the function, for that actor.
        serves: How actors of the class run their calls.
    """

    def __init__(  # noqa: PLR0917 - one call defines a whole template
        self,
        client: State,
        name: str,
        find: Callable[[LocalActor | None], Callable[..., Any]],
        resources: Sequence[tuple[str, int]] = (),
        returns: int = 0,
        max_retries: int = 0,
        retry_exceptions: bool | bytes = False,
        window: int | None = None,
        window_bytes: int | None = None,
        is_strict: bool = False,
        lane: int = 0,
    ) -> None:
        self.client = client
        self.name = name
        self.find = find
        self.resources = list(resources)
        self.returns = returns
        self.max_retries = max_retries
        self.retry_exceptions = retry_exceptions
        self.window = window
        self.window_bytes = window_bytes
        self.is_strict = is_strict
        self.lane = lane
        self.serves = "turns"

    def submit(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], name: str | None = None, /
    ) -> Any:
        """Calls the function: see `_native.Template.submit`."""
        self.client.check()
        run = Run(self.client.next_task(is_call=False), name or self.name, self, None)
        return start(self.client, run, Arguments(self.client, run.name, args, kwargs))


class Arguments:
    """Those of one call: values, and refs that stand for a whole argument."""

    def __init__(
        self, client: State, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._name = name
        self._args = [_argument(client, name, str(at), value) for at, value in enumerate(args)]
        self._kwargs = {key: _argument(client, name, key, value) for key, value in kwargs.items()}

    def cells(self) -> list[Cell]:
        """What must be there before the call."""
        values = [*self._args, *self._kwargs.values()]
        return [value for value in values if not isinstance(value, codec.Packed)]

    def unpack(self) -> tuple[list[Any], dict[str, Any]]:
        """Fresh copies.

        Raises:
            FailedError: a ref holds an error.
        """
        for cell in self.cells():
            if cell.failure is not None:
                raise FailedError(Inherited(cell.failure, self._name))
        args = [_value(argument) for argument in self._args]
        return args, {name: _value(argument) for name, argument in self._kwargs.items()}


def _argument(client: State, name: str, place: str, value: Any) -> Packed | Cell:
    if type(value) is ObjectRef:
        return client.cell_of(value)
    return codec.pack_as(value, f"the argument {place} of {name}")


def _value(argument: Packed | Cell) -> Any:
    return argument.unpack() if isinstance(argument, codec.Packed) else argument.value()


def start(client: State, run: Run, arguments: Arguments) -> Any:
    """Begins a task in this thread: what `.remote()` returns."""
    sink = Sink(client, run)
    producer = Producer(client, run, arguments, sink)
    given = sink.given(producer)
    if run.template.returns != STREAMING:
        while not sink.has_ended:
            producer.advance(None)
    return given


class Producer:
    """A task that its readers drive."""

    _generator: Generator[Any, None, Any] | None = None  # for `__del__`, if it was not made wholly

    def __init__(self, client: State, run: Run, arguments: Arguments, sink: Sink) -> None:
        self._client = client
        self.run = run
        self._arguments = arguments
        self.sink = sink
        self._thread: int | None = None
        client.tasks[run.task] = self

    def advance(self, timeout_s: float | None) -> bool:
        """One step further; see `objects.Maker`."""
        is_ours = False  # before anything can interrupt, once it is
        try:
            with self._client.lock:
                if self._thread == get_ident():
                    msg = f"{self.run.name} waits for itself: it would never go on"
                    raise RaySystemError(msg)
                if self._thread is not None:
                    return self._client.changed.wait(timeout_s)
                if self.sink.has_ended:
                    return True
                self._thread, is_ours = get_ident(), True
            self._advance()
        finally:
            if is_ours:
                with self._client.lock:
                    self._thread = None
                    self._client.changed.notify_all()
        return True

    def _advance(self) -> None:
        """In its actor's turn."""
        actor = self.run.actor
        if actor is None:
            self._step()
        else:
            with actor.turn:
                self._step()

    def _step(self) -> None:
        outer = current.get()
        try:
            current.set(self.run)
            if self._generator is not None or self._begin():
                self._resume()
        except BaseException as error:
            self._generator = None
            self._failed(error)
        finally:
            current.set(outer)

    def _begin(self) -> bool:
        """Calls the function: whether that gave a generator."""
        run, sink = self.run, self.sink
        if run.is_cancelled:
            raise KeyboardInterrupt
        if run.actor is not None:
            run.actor.check(run.name)
        elif self._client.is_removed(run.template):
            raise FailedError(sink.system_failure("GroupRemoved", task_name=run.name))
        self._client.wait_for(self._arguments.cells())
        args, kwargs = self._arguments.unpack()
        run.function = run.template.find(run.actor)
        result = run.function(*args, **kwargs)
        del args, kwargs
        if type(result) is _GENERATOR:  # `isinstance` would ask an object for its `__class__`
            self._generator = result
            return True
        sink.returned(result)
        return False

    def _resume(self) -> None:
        """The generator's next item, or its end."""
        generator, run, sink = self._generator, self.run, self.sink
        assert generator is not None  # noqa: S101 - who resumes has begun
        if run.actor is not None:
            run.actor.check(run.name)
        if sink.channel is not None and sink.channel.is_closed:
            return self._close()
        try:
            item = generator.throw(KeyboardInterrupt()) if run.is_cancelled else next(generator)
        except StopIteration as stop:
            sink.exhausted(stop.value)
            self._generator = None
            return None
        try:
            sink.accept(item)
        except TooManyError as error:
            generator.close()
            raise ValueError(*error.args) from None
        except TypeError:
            _close_quietly(generator)
            raise
        return None

    def _close(self) -> None:
        """`GeneratorExit` at the yield where the generator stands."""
        generator, self._generator = self._generator, None
        try:
            if generator is not None:
                generator.close()
        except BaseException as error:
            self.sink.unhandled(error)
        self.sink.closed()

    def _failed(self, error: BaseException) -> None:
        """What user code raised, or what kept it from running."""
        run, sink = self.run, self.sink
        if isinstance(error, FailedError):
            failure: Failure | Inherited = error.args[0]
            return sink.failed(failure)
        if isinstance(error, KeyboardInterrupt) and run.is_cancelled:
            return sink.failed(sink.cancelled())
        if run.actor is not None and (gone := run.actor.left_by(error, run.name)):
            return sink.failed(gone)
        if isinstance(error, SystemExit):
            death = f"it called sys.exit({error.code!r})"
            return sink.failed(
                sink.system_failure("WorkerCrashed", task_name=run.name, death=death)
            )
        if not isinstance(error, KeyboardInterrupt) and run.may_retry(error):
            run.attempt += 1
            run.consumed = {}
            return sink.restart()
        if isinstance(error, KeyboardInterrupt):  # Ctrl-C is for the whole program
            sink.interrupted(error)
            raise error
        return sink.raised(error)

    def cancel(self) -> None:
        """Between items: at once, unless another thread (or a caller of this one) runs it now."""
        self.run.is_cancelled = True
        if self._thread is None and not self.sink.has_ended:
            self.advance(0)

    def close(self) -> None:
        """The channel was closed: likewise."""
        if self._thread is None and not self.sink.has_ended:
            if self._generator is None:
                self.sink.closed()
            else:
                self.advance(0)

    def __del__(self) -> None:
        """Nobody holds the generator any more: it ends as a Python generator does."""
        if self._generator is not None and not self.sink.has_ended:
            outer = current.get()
            try:
                current.set(self.run)
                self._close()
            finally:
                current.set(outer)


def _close_quietly(generator: Generator[Any, None, Any]) -> None:
    """The body learns of it by GeneratorExit; what it raises then is not the news."""
    import contextlib

    with contextlib.suppress(BaseException):
        generator.close()
