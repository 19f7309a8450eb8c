"""Ray's `ActorGroup`: n actors of one class that are called together.

    group.method.remote(x) ─▶ [actor.method.remote(x) for each actor]

Invariant: a group holds the only handles that it made; when it forgets an actor, and nobody else
has its handle, the actor ends by itself.
"""

from __future__ import annotations

import skate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from skate.actor import ActorHandle


class ActorWrapper:
    """One member.

    Attributes:
        actor: Its handle.
        metadata: What its `get_actor_metadata` gave, if its class has that.
    """

    def __init__(self, actor: ActorHandle[Any], metadata: object = None) -> None:
        self.actor = actor
        self.metadata = metadata

    def __repr__(self) -> str:
        return f"ActorWrapper(actor={self.actor!r}, metadata={self.metadata!r})"


class ActorGroupMethod:
    """A method of every member."""

    def __init__(self, group: ActorGroup, name: str) -> None:
        self._group = group
        self._name = name

    def __call__(self, *_args: object, **_kwargs: object) -> Any:
        """Refuses: it is called by `.remote()`."""
        msg = (
            "ActorGroup methods cannot be called directly. Instead of running "
            f"'object.{self._name}()', try 'object.{self._name}.remote()'."
        )
        raise TypeError(msg)

    def remote(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Calls it in every actor: what each call gives, in the order of the group."""
        return [
            getattr(member.actor, self._name).remote(*args, **kwargs)
            for member in self._group.actors
        ]


class ActorGroup:
    """A number of actors of one class.

    Attributes:
        actors: The members, as `ActorWrapper`s.
        num_actors: How many `start` makes.
    """

    def __init__(  # noqa: PLR0917 - Ray's signature
        self,
        actor_cls: type,
        num_actors: int = 1,
        num_cpus_per_actor: float = 1,
        num_gpus_per_actor: float = 0,
        resources_per_actor: dict[str, float] | None = None,
        init_args: tuple[Any, ...] | None = None,
        init_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Makes the actors.

        Raises:
            ValueError: no actor, or less than nothing for each, is asked for.
        """
        if num_actors <= 0:
            msg = f"ActorGroup: num_actors must be greater than 0, but is {num_actors}"
            raise ValueError(msg)
        if num_cpus_per_actor < 0 or num_gpus_per_actor < 0:
            msg = (
                f"ActorGroup: num_cpus_per_actor ({num_cpus_per_actor}) and num_gpus_per_actor "
                f"({num_gpus_per_actor}) must not be negative"
            )
            raise ValueError(msg)
        self.actors: list[ActorWrapper] = []
        self.num_actors = num_actors
        self._arguments = init_args or (), init_kwargs or {}
        self._class: Any = skate.remote(
            num_cpus=num_cpus_per_actor,
            num_gpus=num_gpus_per_actor,
            resources=resources_per_actor,
        )(actor_cls)
        self.start()

    def __getattr__(self, name: str) -> ActorGroupMethod:
        if name.startswith("_"):
            raise AttributeError(name)
        if not self.actors:
            msg = "This ActorGroup has been shut down: start() makes its actors again"
            raise RuntimeError(msg)
        return ActorGroupMethod(self, name)

    def __len__(self) -> int:
        return len(self.actors)

    def __getitem__(self, index: int) -> ActorWrapper:
        return self.actors[index]

    @property
    def actor_metadata(self) -> list[Any]:
        """Of each member."""
        return [member.metadata for member in self.actors]

    def start(self) -> None:
        """Makes the actors of a group that has none.

        Raises:
            RuntimeError: it has.
        """
        if self.actors:
            msg = "The actors of this ActorGroup have been started: call shutdown() first"
            raise RuntimeError(msg)
        self.add_actors(self.num_actors)

    def add_actors(self, num_actors: int) -> None:
        """Makes more, at the end of the group."""
        args, kwargs = self._arguments
        made = [self._class.remote(*args, **kwargs) for _ in range(num_actors)]
        asked = [
            actor.get_actor_metadata.remote() if hasattr(actor, "get_actor_metadata") else None
            for actor in made
        ]
        self.actors += [
            ActorWrapper(actor, None if ref is None else skate.get(ref))
            for actor, ref in zip(made, asked, strict=True)
        ]

    def remove_actors(self, actor_indexes: list[int]) -> None:
        """Forgets those at these places."""
        gone = set(actor_indexes)
        self.actors = [member for place, member in enumerate(self.actors) if place not in gone]

    def shutdown(self, patience_s: float = 5) -> None:
        """Ends all of them.

        Args:
            patience_s: So long they have to end their calls; then, or at once if it is not above
                0, they are killed.
        """
        members, self.actors = self.actors, []
        late: set[Any] = {member.actor for member in members}
        if patience_s > 0:
            ends = {member.actor.__ray_terminate__.remote(): member.actor for member in members}
            ended, _ = skate.wait(list(ends), num_returns=len(ends), timeout=patience_s)
            late -= {ends[ref] for ref in ended}
        for actor in late:
            skate.kill(actor)
