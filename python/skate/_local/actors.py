"""Actors of this process: an instance, and the handles on it.

    create ─▶ alive ─ kill, exit_actor, sys.exit, constructor raised ─▶ dead
                │ └─ with restarts left: a new instance
                └─ the last handle dropped ─▶ gone

Invariant: whoever may still call an actor holds it: strong handles, values that contain one, its
own calls that run. A named actor is found through a weak table, a detached one is held by the
client.
"""

from __future__ import annotations

import contextlib
from threading import RLock
from weakref import ref as weak

from skate._actor_worker import exit_code, init_error, way_out
from skate._errors import task_error
from skate._local.calls import Arguments, FailedError, Template, start
from skate._local.objects import Failure, Inherited
from skate._local.run import Run, current
from skate._local.state import living
from skate.exceptions import from_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import Any, Self

    from skate._local.loop import AsyncCall
    from skate._local.state import State

_WAYS_OUT = ("ExitActor", "Terminate", "ExitCodeZero")


class LocalActor:
    """One actor.

    Attributes:
        id: 16 bytes.
        body: What callers must know of it, pickled.
        name: Namespace and name, or None.
        turn: Held while a call of it runs, if it runs one at a time.
        is_loop: Whether its calls are asyncio tasks.
        lanes: Calls at once in each concurrency group.
        calls: Those on the loop.
        restarts: So many it has had.
    """

    def __init__(  # noqa: PLR0917 - one call makes a whole actor
        self,
        client: State,
        template: Template,
        arguments: Arguments,
        name: tuple[str, str] | None,
        max_restarts: int,
        lanes: Sequence[int],
        body: bytes,
    ) -> None:
        task = client.next_task(is_call=False)
        self.client = client
        self.id = task[12:20] + task[:8]
        self.template = template
        self.body = body
        self.name = name
        self.is_loop = template.serves == "loop"
        self.turn: AbstractContextManager[Any] = (
            RLock() if template.serves == "turns" else contextlib.nullcontext()
        )
        self.lanes = client.loop().lanes(lanes) if self.is_loop else []
        self.calls: set[AsyncCall] = set()
        self.restarts = 0
        self._max_restarts = max_restarts
        self._arguments = arguments
        self._run = Run(task, template.name, template, self)
        self._run.parent = None
        self._instance: Any = None
        self._end: Callable[[str], Failure] | None = None
        client.actors[self.id] = self

    def construct(self) -> None:
        """Makes the instance: in this thread, or on the loop."""
        if self.client.is_removed(self.template):
            self.leave_group()
            return
        self.client.wait_for(self._arguments.cells())
        if self.is_loop:
            self.client.loop().call(self._construct)
        else:
            self._construct()

    def _construct(self) -> None:
        run = self._run
        outer = current.get()
        try:
            current.set(run)
            args, kwargs = self._arguments.unpack()
            cls = self.template.find(None)
            self._instance = cls(*args, **kwargs)
        except FailedError as error:
            failure = error.args[0]
            if isinstance(failure, Inherited):
                failure.actor_id = self.id.hex()
            self._end = lambda _: failure
        except BaseException as error:
            told = init_error(task_error(error, f"{run.name}.__init__"), self.id.hex())
            packed = self.client.pack_error(told)
            failure = Failure(self.client, run.task.hex(), run.name, packed.unpack)
            self._end = lambda _: failure
            if isinstance(error, KeyboardInterrupt):
                raise
        finally:
            current.set(outer)

    @property
    def is_alive(self) -> bool:
        """Whether it takes calls."""
        return self._end is None

    def method(self, name: str) -> Callable[..., Any]:
        """What a call of that method calls."""
        instance = self._instance
        if name == "__ray_ready__":
            return lambda: True
        if name == "__ray_call__":
            return lambda function, *args, **kwargs: function(instance, *args, **kwargs)
        if name == "__ray_terminate__":
            from skate._actor_worker import method

            return method(name)
        found: Callable[..., Any] = getattr(instance, name)
        return found

    def check(self, task_name: str) -> None:
        """Raises FailedError if it is dead."""
        if self._end is not None:
            raise FailedError(self._end(task_name))

    def left_by(self, error: BaseException, task_name: str) -> Failure | None:
        """What a call fails with whose code ended the actor; None if it did not."""
        way = way_out(error)
        if way is not None:
            self._die(_WAYS_OUT[way], "")
        elif isinstance(error, SystemExit):
            death = f"it called sys.exit({exit_code(error)})"
            self.crash(death)
            return self._crashed(death, task_name)
        else:
            return None
        assert self._end is not None  # noqa: S101 - it has just died
        return self._end(task_name)

    def kill(self, *, may_restart: bool) -> None:
        """Ends it; calls on the loop end with it, one that runs in a thread does not."""
        if may_restart:
            self.crash("it was killed")
        else:
            self._die("Killed", "")

    def crash(self, death: str) -> None:
        """Ends it, and starts it again if it may."""
        if self._end is not None:
            return
        if 0 <= self._max_restarts <= self.restarts:
            self._die("Crashed", death)
            return
        self.restarts += 1
        self._give_up(lambda name: self._crashed(death, name))
        self.construct()

    def _die(self, cause: str, death: str) -> None:
        if self._end is None:
            self._end = lambda name: self._failure(cause, death, name)
            self._give_up(self._end)
            self._instance = None
            self.client.forget_actor(self)

    def _give_up(self, failure_of: Callable[[str], Failure]) -> None:
        for call in list(self.calls):
            call.give_up(failure_of(call.run.name))

    def _crashed(self, death: str, task_name: str) -> Failure:
        """What a call fails with under which the actor died, perhaps to be started again."""
        cause = "Crashed" if self._end is not None else "ActorUnavailable"
        return self._failure(cause, death, task_name)

    def leave_group(self) -> None:
        """Its placement group is removed."""
        self._die("GroupRemoved", "")

    def _failure(self, cause: str, death: str, task_name: str) -> Failure:
        return actor_died(self.client, task_name, self.id, self.template.name, cause, death)


def actor_died(  # noqa: PLR0917 - what people are told
    client: State, task_name: str, actor: bytes, class_name: str, cause: str, death: str = ""
) -> Failure:
    """What a call of a dead actor fails with; "ActorUnavailable": of one that was restarted."""
    import os

    fields = {
        "task_name": task_name,
        "actor_id": actor.hex(),
        "class_name": class_name,
        "name": "",
        "namespace": "",
        "cause": cause,
        "pid": os.getpid() if death else 0,
        "death": death,
    }
    kind = cause if cause == "ActorUnavailable" else "ActorDied"
    return Failure(
        client,
        actor.hex(),
        task_name,
        lambda: from_failure(kind, **fields),
        is_known=cause not in {"ActorUnavailable", "Crashed"},
        is_system=True,
    )


class ActorRef:
    """A handle on an actor; a weak one does not keep it alive. See `_native.ActorRef`."""

    __slots__ = ("__weakref__", "_actor", "_id", "_name", "_strong", "client")

    def __init__(self, actor: LocalActor, *, is_weak: bool) -> None:
        self.client = actor.client
        self._id = actor.id
        self._name = actor.template.name
        self._actor = weak(actor)
        self._strong = None if is_weak else actor

    @staticmethod
    def create(  # noqa: PLR0917 - one call makes a whole actor
        template: Template,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: tuple[str, str] | None,
        _placing: object,
        max_restarts: int,
        is_detached: bool,
        _in_order: bool,
        lanes: Sequence[int],
        body: bytes,
        /,
    ) -> tuple[ActorRef, bytes | None, str]:
        """Makes an actor; its constructor runs now."""
        client = template.client
        client.check()
        arguments = Arguments(client, template.name, args, kwargs)
        actor = LocalActor(client, template, arguments, name, max_restarts, lanes, body)
        with actor.turn:  # whoever finds it by its name waits for the constructor
            with client.lock:
                if name is not None:
                    if (taken := client.named(name)) is not None:
                        return ActorRef(taken, is_weak=True), taken.body, name[1]
                    client.names[name] = actor
                if is_detached:
                    client.detached.add(actor)
            actor.construct()
        return ActorRef(actor, is_weak=is_detached), None, name[1] if name else ""

    @staticmethod
    def find(client: State, namespace: str, name: str, /) -> tuple[ActorRef, bytes | None, str]:
        """The living actor of that name."""
        client.check()
        actor = client.named((namespace, name))
        if actor is None:
            raise from_failure("NoSuchActor", name=name, namespace=namespace)
        return ActorRef(actor, is_weak=True), actor.body, name

    @staticmethod
    def names(client: State, /) -> list[tuple[str, str]]:
        """Namespace and name of all that have one, sorted."""
        client.check()
        living_actors = [actor for actor in living(client.names) if actor.is_alive]
        return sorted(actor.name for actor in living_actors if actor.name is not None)

    @staticmethod
    def own(_client: State, /) -> tuple[ActorRef, bytes | None, str] | None:
        """The actor whose code this is."""
        run = current.get()
        if run is None or run.actor is None:
            return None
        actor = run.actor
        return ActorRef(actor, is_weak=True), actor.body, actor.name[1] if actor.name else ""

    def submit(
        self,
        template: Template,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None = None,
        /,
    ) -> Any:
        """Calls a method of it: now, unless its calls are asyncio tasks."""
        client = self.client
        client.check(self)
        run = Run(client.next_task(is_call=True), name or template.name, template, self._actor())
        arguments = Arguments(client, run.name, args, kwargs)
        actor = run.actor
        if actor is None or not actor.is_alive:
            from skate._local.sink import Sink

            sink = Sink(client, run)
            given = sink.given(None)
            sink.failed(self._gone(run.name))
            return given
        if actor.is_loop:
            return client.loop().start(client, run, arguments)
        return start(client, run, arguments)

    def _gone(self, task_name: str) -> Failure:
        actor = self._actor()
        if actor is None:
            return actor_died(self.client, task_name, self._id, self._name, "OutOfScope")
        try:
            actor.check(task_name)
        except FailedError as error:
            failure: Failure = error.args[0]
            return failure
        return actor_died(self.client, task_name, self._id, self._name, "OutOfScope")

    def calls_under_way(self) -> int:
        """Calls of it that have not ended."""
        self.client.check(self)
        actor = self._actor()
        return len(actor.calls) if actor is not None else 0

    def kill(self, may_restart: bool, /) -> None:
        """Ends it."""
        self.client.check(self)
        actor = self._actor()
        if actor is not None:
            actor.kill(may_restart=may_restart)

    def hex(self) -> str:
        """32 hex digits."""
        return self._id.hex()

    def binary(self) -> bytes:
        """16 bytes."""
        return self._id

    def __repr__(self) -> str:
        return f"Actor({self.hex()})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        from skate._local.restore import restore_actor

        self.client.check(self)
        actor = self._actor()
        if actor is not None:
            self.client.keep(actor)
        return restore_actor, (self._id,)
