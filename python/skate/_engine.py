"""What the Python layer asks of an engine: the one seam between Ray's API and who executes it.

    _remote_function, _api, _generator, _actor_class, ...      what was asked, checked
        │ `_session.client`: a `Client`
        ├─ `_native`   the node in this process, workers beside it
        ├─ `_local`    in this process and thread: `init(local_mode=True)`
        └─ `_cluster`  a Ray cluster: `init(address=...)`

Invariant: everything is reached through the client of the session, so `_session.init` is the only
place that chooses. Refs are `_native.ObjectRef` in every engine (`_native.ref_of` makes those of
others), generators are subclasses of `ObjectRefGenerator`. What each method must do is said in
`_native.pyi`. This file is for type checkers; nothing of it exists at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from skate._generator import ObjectRefGenerator
    from skate._native import Mailbox, ObjectRef

    Amounts = Sequence[tuple[str, int]]
    GroupRow = tuple[str, str, str, str, list[list[tuple[str, int]]]]
    Problem = tuple[str, str, int | None, BaseException, float]

T = TypeVar("T")
W = TypeVar("W", bound="ObjectRef[Any] | ObjectRefGenerator[Any]")


class Template(Protocol):
    """A function or method with its options."""

    def submit(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], name: str | None = None, /
    ) -> Any: ...


class Actor(Protocol):
    """A handle on an actor."""

    def submit(
        self,
        template: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None = None,
        /,
    ) -> Any: ...
    def calls_under_way(self) -> int: ...
    def kill(self, may_restart: bool, /) -> None: ...
    def hex(self) -> str: ...
    def binary(self) -> bytes: ...


class Actors(Protocol):
    """The class of such handles: it makes and finds actors."""

    def create(  # noqa: PLR0917 - one call makes a whole actor
        self,
        template: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: tuple[str, str] | None,
        placing: Amounts,
        max_restarts: int,
        is_detached: bool,
        in_order: bool,
        lanes: Sequence[int],
        body: bytes,
        /,
    ) -> tuple[Actor, bytes | None, str]: ...
    def find(
        self, client: Any, namespace: str, name: str, /
    ) -> tuple[Actor, bytes | None, str]: ...
    def names(self, client: Any, /) -> list[tuple[str, str]]: ...
    def own(self, client: Any, /) -> tuple[Actor, bytes | None, str] | None: ...


class Client(Protocol):
    """This process's, or this thread's, connection to its engine."""

    @property
    def ActorRef(self) -> Actors: ...  # noqa: N802 - a class
    @property
    def is_driver(self) -> bool: ...
    def round_trip(self, value: object, /) -> object: ...
    def unseen(self, most: int, /) -> tuple[list[Any], int]: ...
    @property
    def session(self) -> str: ...
    @property
    def client_id(self) -> int: ...
    def template(  # noqa: PLR0917 - one call defines a whole template
        self,
        name: str,
        function: bytes,
        resources: Amounts,
        returns: int,
        max_retries: int,
        retry_exceptions: bool | bytes,
        window: int | None,
        window_bytes: int | None,
        closes_on_drop: bool,
        is_strict: bool,
        /,
    ) -> Template: ...
    def constructor(  # noqa: PLR0917 - one call defines a whole template
        self,
        name: str,
        cls: bytes,
        resources: Amounts,
        serves: str,
        lanes: Sequence[int],
        window: int | None,
        /,
    ) -> Template: ...
    def method(  # noqa: PLR0917 - one call defines a whole template
        self,
        name: str,
        method: str,
        returns: int,
        max_retries: int,
        retry_exceptions: bool | bytes,
        window: int | None,
        window_bytes: int | None,
        closes_on_drop: bool,
        is_strict: bool,
        lane: int,
        /,
    ) -> Template: ...
    def own_actor_id(self) -> str | None: ...
    def was_restarted(self) -> bool: ...
    def put(self, value: Any, /) -> ObjectRef[Any]: ...
    def empty(self, format: str | None, shape: Sequence[int], len: int, /) -> Any: ...
    def get(self, refs: Sequence[ObjectRef[Any]], timeout_s: float | None, /) -> list[Any]: ...
    def get_one(self, ref: ObjectRef[T], timeout_s: float | None, /) -> T: ...
    def wait(
        self, waitables: list[W], count: int, timeout_s: float | None, /
    ) -> tuple[list[W], list[W]] | None: ...
    def watch(self, waitable: Any, mailbox: Mailbox, token: int, /) -> int: ...
    def forget(self, request: int, /) -> None: ...
    def awaits(self) -> int | None: ...
    def awoke(self, asleep: int, /) -> None: ...
    def blocks(self, is_blocked: bool, /) -> bool: ...
    def cancel(self, target: Any, force: bool, recursive: bool, /) -> None: ...
    def resources(self) -> dict[str, tuple[float, float]]: ...
    def statistics(self) -> dict[str, int]: ...
    def inspect(self, question: str, /) -> str: ...
    def note_span(self, name: str, extra: str, began_ns: int, /) -> None: ...
    def unhandled_errors(self) -> list[Problem]: ...
    def reserve(
        self, key: str, name: str, strategy: str, bundles: Sequence[Amounts], /
    ) -> ObjectRef[None] | tuple[str, ObjectRef[None]]: ...
    def remove_group(self, key: str, /) -> None: ...
    def groups(self) -> list[GroupRow]: ...
    def current_task(self) -> tuple[str, str, int] | None: ...
    def current_function(self) -> Callable[..., Any] | None: ...
    def current_resources(self) -> list[tuple[str, int]]: ...
    def is_canceled(self) -> bool: ...
    def notices(self) -> Mailbox: ...
    def describe_workers(self) -> list[dict[str, Any]]: ...
    def retire(self) -> None: ...
    def close(self) -> None: ...
