"""`register_skate`: tasks as a backend of joblib, and with it of scikit-learn.

    joblib.parallel_config("skate") ─▶ Parallel ─ batch of calls ─▶ one task ─▶ future ─▶ Parallel

Invariant: joblib decides how many calls make a batch and how many batches are under way; each batch
is one task, so results can be taken as they come (`return_as="generator"`). A batch that cannot
become a task is one that has failed: later ones are given from callbacks, where nobody would hear.
"""

from __future__ import annotations

from concurrent.futures import Future

from joblib.parallel import (
    AutoBatchingMixin,
    ParallelBackendBase,
    register_parallel_backend,
)

import skate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _run(batch: Callable[[], list[Any]]) -> list[Any]:
    return batch()


class SkateBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc] # it has no types
    """Runs each batch as a task."""

    supports_retrieve_callback = True
    supports_return_generator = True
    uses_threads = False
    supports_sharedmem = False

    def __init__(
        self, *args: Any, ray_remote_args: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._options = ray_remote_args or {}
        self._pending: dict[Future[Any], skate.ObjectRef[Any]] = {}

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        prefer: str | None = None,  # noqa: ARG002 - joblib's signature
        require: str | None = None,  # noqa: ARG002 - the same
        ray_remote_args: dict[str, Any] | None = None,
        **_others: Any,
    ) -> int:
        """As joblib asks before each call. `ray_remote_args` are options of the tasks."""
        self.parallel = parallel
        self._options = ray_remote_args or self._options
        return self.effective_n_jobs(n_jobs)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """As many as asked for; -1 is all CPUs of the session, -2 all but one, and so on."""
        if n_jobs == 0:
            msg = "n_jobs == 0 in Parallel has no meaning"
            raise ValueError(msg)
        if n_jobs is None:
            n_jobs = -1
        if n_jobs > 0:
            return n_jobs
        if not skate.is_initialized():
            skate.init()
        return max(int(skate.cluster_resources().get("CPU", 1)) + 1 + n_jobs, 1)

    def submit(
        self, func: Callable[[], list[Any]], callback: Callable[[Any], object] | None = None
    ) -> Future[Any]:
        """A batch becomes a task; what keeps it from that becomes its error."""
        remote = skate.remote(_run)
        options = {"name": "joblib", **self._options}
        future: Future[Any]
        try:
            ref: skate.ObjectRef[Any] = remote.options(**options).remote(func)
            future = ref.future()
        except Exception as error:
            future = Future()
            future.set_exception(error)
        else:
            self._pending[future] = ref
            future.add_done_callback(lambda done: self._pending.pop(done, None))
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> list[Any]:
        """The values of a batch that has ended."""
        values: list[Any] = out.result()
        return values

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: ARG002 - joblib's signature
        """Cancels what is under way."""
        for ref in list(self._pending.values()):
            skate.cancel(ref)
        self._pending.clear()


def register_skate() -> None:
    """Registers the backend as `"skate"`: `joblib.parallel_config("skate")`."""
    register_parallel_backend("skate", SkateBackend)


def register_ray() -> None:
    """Registers it as `"ray"`, for programs that were written for Ray's backend."""
    register_parallel_backend("ray", SkateBackend)
