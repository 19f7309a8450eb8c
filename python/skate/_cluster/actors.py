"""Actors of the cluster: one of Ray's, in which the user's instance is.

Invariant: Ray's handle lives as long as this one and travels inside of it.
"""

from __future__ import annotations

from skate._actor_handle import spec_of
from skate._cluster.errors import translated
from skate._cluster.refs import sent, sent_by_name, travelling
from skate._cluster.templates import not_deprecated
from skate._native import DYNAMIC, STREAMING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from skate._cluster.templates import ConstructorTemplate, MethodTemplate
    from skate._engine import Amounts


class ActorRef:
    """A handle on an actor: see `_native.ActorRef`."""

    def __init__(self, theirs: Any, body: bytes) -> None:
        self._theirs = theirs
        self._body = body
        self._under_way: list[Any] = []

    @staticmethod
    def create(  # noqa: PLR0917 - one call makes a whole actor
        template: ConstructorTemplate,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: tuple[str, str] | None,
        placing: Amounts,
        max_restarts: int,
        is_detached: bool,
        _in_order: bool,
        lanes: Sequence[int],
        body: bytes,
        /,
    ) -> tuple[ActorRef, bytes | None, str]:
        import ray
        from ray.exceptions import ActorAlreadyExistsError

        options = dict(template.resources)
        if not placing:  # else Ray's own default: 1 CPU to be placed, none to live
            options.setdefault("num_cpus", 0)
        options["max_restarts"] = max_restarts
        groups = spec_of(body).groups
        if len(groups) > 1:
            options["concurrency_groups"] = dict(zip(groups[1:], lanes[1:], strict=True))
        if template.window is not None:
            options["_actor_generator_backpressure_num_objects"] = template.window
        if template.serves != "turns":
            options["max_concurrency"] = lanes[0]
        if is_detached:
            options["lifetime"] = "detached"
        if name is not None:
            options["namespace"], options["name"] = name
        made = ray.remote(**options)(template.cls) if options else ray.remote(template.cls)
        with translated():
            try:
                handle = made.remote(template.exported, body, *sent(args), **sent_by_name(kwargs))
            except ActorAlreadyExistsError:
                assert name is not None  # noqa: S101 - only a name can be taken
                found, theirs, _ = ActorRef.find(None, *name)
                return found, theirs, name[1]
        return ActorRef(handle, body), None, name[1] if name is not None else ""

    @staticmethod
    def find(_client: Any, namespace: str, name: str, /) -> tuple[ActorRef, bytes | None, str]:
        import ray

        with translated():
            handle = ray.get_actor(name, namespace=namespace)
            return _described(handle, name)

    @staticmethod
    def names(_client: Any, /) -> list[tuple[str, str]]:
        import ray

        rows = ray.util.list_named_actors(all_namespaces=True)
        return sorted((row["namespace"], row["name"]) for row in rows)

    @staticmethod
    def own(_client: Any, /) -> tuple[ActorRef, bytes | None, str] | None:
        import ray

        context = ray.get_runtime_context()
        if context.get_actor_id() is None:
            return None
        from skate._cluster.worker import own_body

        return ActorRef(context.current_actor, own_body()), own_body(), context.get_actor_name()

    def submit(
        self,
        template: MethodTemplate,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None = None,
        /,
    ) -> Any:
        if template.name == "__ray_terminate__":
            return template.result(self._theirs.__ray_terminate__.remote())
        if template.returns in {STREAMING, DYNAMIC}:
            method = self._theirs.skate_stream
        else:
            method = self._theirs.skate_call if template.returns else self._theirs.skate_act
        options = dict(template.options)
        if template.lane:
            options["concurrency_group"] = spec_of(self._body).groups[template.lane]
        options["name"] = name or template.name
        with translated(), not_deprecated():
            given = method.options(**options).remote(
                template.name, *sent(args), **sent_by_name(kwargs)
            )
        if given is not None and spec_of(self._body).max_pending_calls:
            self._under_way += given if isinstance(given, list) else [given]
        return template.result(given)

    def calls_under_way(self) -> int:
        """This process's calls of it that have not ended."""
        import ray

        if self._under_way:
            _, self._under_way = ray.wait(
                self._under_way, num_returns=len(self._under_way), timeout=0
            )
        return len(self._under_way)

    def kill(self, may_restart: bool, /) -> None:
        """Ends its process at once."""
        import ray

        with translated():
            ray.kill(self._theirs, no_restart=not may_restart)

    def hex(self) -> str:
        """32 hex digits."""
        return str(self._theirs._actor_id.hex())  # noqa: SLF001 - Ray's name for it

    def binary(self) -> bytes:
        """16 bytes."""
        return bytes.fromhex(self.hex())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and self.hex() == other.hex()

    def __hash__(self) -> int:
        return hash(self.hex())

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (travelling(self._theirs), self._body)


def _restore(theirs: Any, body: bytes) -> ActorRef:
    from skate._cluster.client import enter_worker

    enter_worker()
    return ActorRef(theirs, body)


def _described(handle: Any, name: str) -> tuple[ActorRef, bytes | None, str]:
    import ray

    if not hasattr(handle, "skate_body"):
        from skate._cluster.notes import refused

        raise refused(f"the actor {name!r} was not made by skate", "call it with Ray itself")
    body: bytes = ray.get(handle.skate_body.remote())
    return ActorRef(handle, body), body, name
