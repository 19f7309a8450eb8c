"""Actors: Ray's module of that name."""

from __future__ import annotations

from skate import _checks, _session
from skate._actor_class import ActorClass, ActorClassInheritanceException
from skate._actor_handle import ActorHandle, ActorMethod
from skate._frames import HIDDEN
from skate._ids import ActorID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias, TypeVar

    T = TypeVar("T")
    ActorProxy: TypeAlias = ActorHandle[T] | type[T]
else:
    ActorProxy = ActorHandle

__all__ = [
    "ActorClass",
    "ActorClassInheritanceException",
    "ActorHandle",
    "ActorID",
    "ActorMethod",
    "ActorProxy",
    "exit_actor",
    "get_actor",
    "kill",
    "list_named_actors",
]


def exit_actor() -> None:
    """Ends the actor that this code runs in, for good.

    Its `__ray_shutdown__` runs if it has one, then its destructors, then `atexit` handlers.
    The call that calls it, and those after it, raise `ActorDiedError`.

    Raises:
        TypeError: this code does not run in an actor.

    Rule: semantics.md 4.6.
    """
    client = _session.connect()
    if client.own_actor_id() is None:
        msg = (
            "exit_actor API is called on a non-actor worker. Call this API inside an actor methods "
            "if you'd like to exit the actor gracefully."
        )
        raise TypeError(msg)
    from skate._actor_worker import exit_actor

    exit_actor()


def kill(actor: ActorHandle[Any], *, no_restart: bool = True) -> None:
    """Ends an actor's process at once. Calls that have not ended raise `ActorDiedError`.

    Args:
        actor: A handle.
        no_restart: Whether the actor is dead then. False is as a crash: it is started again if
            `max_restarts` allows it.

    Raises:
        ValueError: it is no handle.

    Rule: semantics.md 4.6.
    """
    target: object = actor
    if not isinstance(target, ActorHandle):
        msg = (
            "ray.kill() only supported for actors. For tasks, try ray.cancel(). Got: "
            f"{type(target)}."
        )
        with HIDDEN:
            raise ValueError(msg)
    target._ref.kill(not no_restart)  # noqa: SLF001 - of this package


def get_actor(name: str, namespace: str | None = None) -> ActorHandle[Any]:
    """The living actor of that name. The handle does not keep it alive.

    Args:
        name: As in `.options(name=...)`.
        namespace: None is that of this session.

    Raises:
        TypeError: a name is no str.
        ValueError: there is none, or the name is empty.

    Rule: semantics.md 4.7.
    """
    from skate._actor_handle import spec_of

    with HIDDEN:
        if not name:
            msg = "Please supply a non-empty value to get_actor"
            raise ValueError(msg)
        _checks.text("get_actor: name", name)
        if namespace:
            _checks.text("get_actor: namespace", namespace)
        client = _session.connect()
        space = namespace or _session.current_namespace
        ref, packed, _ = client.ActorRef.find(client, space, name)
    assert packed is not None  # noqa: S101 - only a new one comes without
    return ActorHandle(ref, spec_of(packed))


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """The names of living actors, sorted.

    Returns:
        Names of this session's namespace; with `all_namespaces`, a dict with `name` and `namespace`
        for each.
    """
    client = _session.connect()
    names = client.ActorRef.names(client)
    if all_namespaces:
        return [{"name": name, "namespace": namespace} for namespace, name in names]
    return [name for namespace, name in names if namespace == _session.current_namespace]
