"""The client of a session on a cluster: what `_engine.Client` asks for, said to Ray.

Invariant: there is one in a process: the driver's, made by `init`, or a worker's, made before the
user's code is unpickled there (`enter_worker`).
"""

from __future__ import annotations

import contextlib
import itertools
import threading

from skate import _native, _session
from skate._cluster.actors import ActorRef
from skate._cluster.errors import translated
from skate._cluster.notes import refused
from skate._cluster.refs import ref_of, theirs_of
from skate._cluster.streams import Dynamic, Streaming, arrived
from skate._native import ObjectRef

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from skate._cluster.templates import FunctionTemplate
    from skate._engine import Amounts, GroupRow
    from skate._native import Mailbox

_UNITS = 10_000
_STEP_S = 0.1
"""For so long a thread that watches a stream may outlive whoever awaits it."""
_PATIENCE_S = 5.0
"""With one whose `ray.wait` takes longer than that."""


class Client:
    """A connection to a Ray cluster. The methods are documented in `_native.pyi`.

    Attributes:
        address: Of the cluster.
    """

    ActorRef = ActorRef

    def __init__(self, session: str, address: str, *, is_driver: bool) -> None:
        self.session = session
        self.is_driver = is_driver
        self.client_id = 0
        self.address = address
        self._requests = itertools.count(1)
        self._watched: set[int] = set()  # requests that nobody has answered or forgotten
        self._watchers: set[threading.Thread] = set()

    # ── templates ─────────────────────────────────────────────────────────────────────────────

    def template(
        self,
        name: str,
        function: bytes,
        resources: Amounts,
        returns: int,
        max_retries: int,
        *rest: Any,
    ) -> FunctionTemplate:
        from skate._cluster.templates import FunctionTemplate
        from skate._cluster.worker import Exported, task_of

        task = task_of(Exported(function), name, returns)
        return FunctionTemplate(task, resources, max_retries, returns, *rest)

    def constructor(
        self,
        name: str,
        cls: bytes,
        resources: Amounts,
        serves: str,
        _lanes: Sequence[int],
        window: int | None,
        /,
    ) -> Any:
        from skate._cluster.templates import ConstructorTemplate
        from skate._cluster.worker import Exported, Loop, Turns

        made = type(name, (Loop if serves == "loop" else Turns,), {})
        return ConstructorTemplate(made, Exported(cls), resources, serves, window)

    def method(
        self, _full_name: str, method: str, returns: int, max_retries: int, *rest: Any
    ) -> Any:
        from skate._cluster.templates import MethodTemplate

        *others, lane = rest
        return MethodTemplate(method, lane, max_retries, returns, *others)

    # ── values ────────────────────────────────────────────────────────────────────────────────

    def put(self, value: Any, /) -> ObjectRef[Any]:
        import ray

        with translated():
            return ref_of(ray.put(value))

    def unseen(self, _most: int, /) -> tuple[list[Any], int]:
        """Ray tells of them, in its own way."""
        return [], 0

    def round_trip(self, value: object, /) -> object:
        return self.get_one(self.put(value), None)

    def empty(self, _format: str | None, _shape: Sequence[int], len: int, /) -> bytearray:
        """Ordinary memory: what is yielded is copied into Ray's store."""
        return bytearray(len)

    def get(self, refs: Sequence[ObjectRef[Any]], timeout_s: float | None, /) -> list[Any]:
        import ray

        with translated():
            values = ray.get([theirs_of(ref) for ref in refs], timeout=timeout_s)
        return [arrived(value) for value in values]

    def get_one(self, ref: ObjectRef[Any], timeout_s: float | None, /) -> Any:
        return self.get([ref], timeout_s)[0]

    def wait(
        self, waitables: list[Any], count: int, timeout_s: float | None, /
    ) -> tuple[list[Any], list[Any]] | None:
        import ray

        theirs = [self._waitable(each) for each in waitables]
        if len(set(map(_name, theirs))) != len(theirs):
            return None
        with translated():
            ready, _ = ray.wait(theirs, num_returns=count, timeout=timeout_s)
        names = set(map(_name, ready))
        parts: tuple[list[Any], list[Any]] = ([], [])
        for ours, each in zip(waitables, theirs, strict=True):
            parts[_name(each) not in names].append(ours)
        return parts

    @staticmethod
    def _waitable(waitable: Any) -> Any:
        if isinstance(waitable, ObjectRef):
            return theirs_of(waitable)
        if isinstance(waitable, Streaming):
            return waitable.theirs
        if isinstance(waitable, Dynamic):
            raise refused("wait on a dynamic generator", "all of its items are there")
        msg = f"wait: expected ObjectRefs and generators, got {type(waitable).__name__}"
        raise TypeError(msg)

    def watch(self, waitable: Any, mailbox: Mailbox, token: int, /) -> int:
        import ray

        theirs = self._waitable(waitable)
        request = next(self._requests)

        def post(_value: object = None) -> None:
            if request in self._watched:
                self._watched.discard(request)
                mailbox.post(token)

        def watch_stream() -> None:
            with contextlib.suppress(Exception):  # whoever awaits asks for the item, and is told
                while request in self._watched:
                    ready, _ = ray.wait([theirs], num_returns=1, timeout=_STEP_S)
                    if ready:
                        break
            self._watchers.discard(threading.current_thread())
            post()

        self._watched.add(request)
        try:
            if isinstance(waitable, ObjectRef):
                theirs._on_completed(post)  # noqa: SLF001 - Ray's name for it
            else:  # Ray has no callback for a stream
                name = "skate-stream-watch"
                watcher = threading.Thread(target=watch_stream, name=name, daemon=True)
                self._watchers.add(watcher)
                watcher.start()
        except BaseException:
            self.forget(request)
            raise
        return request

    def awaits(self) -> None:
        """Whoever awaits here has nothing to lend."""

    def awoke(self, _asleep: int, /) -> None:
        """Likewise."""

    def blocks(self, _is_blocked: bool, /) -> bool:
        return False

    def forget(self, request: int, /) -> None:
        self._watched.discard(request)

    def cancel(self, target: Any, force: bool, recursive: bool, /) -> None:
        import ray

        with translated():
            ray.cancel(self._waitable(target), force=force, recursive=recursive)

    # ── what there is ─────────────────────────────────────────────────────────────────────────

    @property
    def job_id(self) -> str:
        """Ray's; so are the ids below."""
        import ray

        return str(ray.get_runtime_context().get_job_id())

    @property
    def node_id(self) -> str:
        """Of the node that this process is on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    @property
    def worker_id(self) -> str:
        """Of this process."""
        import ray

        return str(ray.get_runtime_context().get_worker_id())

    def gpu_ids(self) -> list[int | str]:
        """Of the running task or actor."""
        import ray

        return [] if self.is_driver else list(ray.get_gpu_ids())

    def resources(self) -> dict[str, tuple[float, float]]:
        import ray

        free = ray.available_resources()
        return {
            name: (total, free.get(name, 0.0)) for name, total in ray.cluster_resources().items()
        }

    def nodes(self) -> list[dict[str, Any]]:
        """Ray's own rows."""
        import ray

        rows: list[dict[str, Any]] = ray.nodes()
        return rows

    def statistics(self) -> NoReturn:
        raise refused("skate.statistics()", "use `ray status` or Ray's dashboard")

    def inspect(self, _question: str, /) -> NoReturn:
        raise refused("the state API", "use ray.util.state, which asks the cluster")

    def note_span(self, _name: str, _extra: str, _began_ns: int, /) -> None:
        """Ray's own `ray.profiling.profile` notes them."""

    def unhandled_errors(self) -> NoReturn:
        raise refused("list_unhandled_errors()", "Ray logs such errors")

    def describe_workers(self) -> NoReturn:
        raise refused("a list of workers", "use Ray's state API")

    def reserve(
        self, _key: str, name: str, strategy: str, bundles: Sequence[Amounts], /
    ) -> tuple[str, ObjectRef[None]]:
        from skate._cluster import groups

        return groups.reserve(name, strategy, bundles)

    def remove_group(self, key: str, /) -> None:
        from skate._cluster import groups

        groups.remove(key)

    def groups(self) -> list[GroupRow]:
        from skate._cluster import groups

        return groups.rows()

    def own_actor_id(self) -> str | None:
        import ray

        actor: str | None = ray.get_runtime_context().get_actor_id()
        return actor

    def was_restarted(self) -> bool:
        import ray

        return bool(ray.get_runtime_context().was_current_actor_reconstructed)

    def current_task(self) -> tuple[str, str, int] | None:
        import ray

        if self.is_driver:
            return None
        context = ray.get_runtime_context()
        task = context.get_task_id()
        return None if task is None else (task, context.get_task_name(), 0)

    def current_function(self) -> Callable[..., Any] | None:
        return None

    def current_resources(self) -> list[tuple[str, int]]:
        import ray

        if self.is_driver:
            return []
        from skate._cluster import groups

        held = ray.get_runtime_context().get_assigned_resources()
        rows = [(name, round(amount * _UNITS)) for name, amount in held.items()]
        return [*rows, *groups.current()]

    def is_canceled(self) -> bool:
        import ray

        return bool(ray.get_runtime_context().is_canceled())

    def notices(self) -> Mailbox:
        """Nothing comes: Ray shows what workers write."""
        return _native.Mailbox()

    def retire(self) -> None:
        from skate._cluster import notes

        notes.without("max_calls", "its workers stay")

    def close(self) -> None:
        import ray

        if self.is_driver:
            self._watched.clear()
            try:
                for watcher in list(self._watchers):  # its next `ray.wait` would begin a Ray
                    if watcher.is_alive():
                        watcher.join(_PATIENCE_S)
            finally:
                ray.shutdown()


def _name(waitable: Any) -> Any:
    """Equal for what is the same."""
    return waitable if hasattr(waitable, "binary") else id(waitable)


def share_classes() -> None:
    """Lets skate's pickler and Ray's know each other's dynamic classes.

    Each is a cloudpickle with a table of its own. A class of `__main__` leaves with a function, by
    skate's, and its instances come back by Ray's: without this, as instances of another class.
    """
    import cloudpickle.cloudpickle as ours
    import ray.cloudpickle.cloudpickle as theirs

    for table in ("_DYNAMIC_CLASS_TRACKER_BY_CLASS", "_DYNAMIC_CLASS_TRACKER_BY_ID"):
        if hasattr(ours, table) and hasattr(theirs, table):
            setattr(ours, table, getattr(theirs, table))


def session_name() -> str:
    """16 hex digits that all processes of the job have in common."""
    import ray

    context = ray.get_runtime_context()
    return str(context.get_job_id()).rjust(16, "0")


_lock = threading.Lock()


def enter_worker() -> None:
    """In a worker of Ray's: makes it one of this session. Elsewhere, and twice, it does nothing."""
    if _session.client is not None:
        return
    import ray

    with _lock:
        if not _session.is_initialized() and ray.is_initialized():
            share_classes()
            context = ray.get_runtime_context()
            client = Client(session_name(), context.gcs_address, is_driver=False)
            _session.enter_worker(client, context.namespace)
