"""skate: Python functions and remote generators in parallel worker processes, with Ray's API.

    import skate as ray

    @ray.remote
    def squares(n):
        for i in range(n):
            yield i * i                      # each item is an object the moment it is yielded

    for ref in squares.remote(3):
        print(ray.get(ref))                  # 0, 1, 4

    @ray.remote
    class Counter:                           # an actor: an instance in a process of its own
        count = 0
        def add(self, n):
            self.count += n
            return self.count

    counter = Counter.remote()
    print(ray.get(counter.add.remote(3)))    # 3

Reading order: `_remote_function` (what `.remote` does), `_options`, `_session` (`init`), `_api`
(`get` and its kin), `_generator`, `_actor_class`, `_actor_handle`, `_method`, `_async`,
`exceptions`; `_as_ray` and `_ray_names` (`import ray`); then what runs elsewhere: `_zygote`,
`_worker`, `_actor_worker`, `_actor_loop`, `_output` in the workers, `_helper` and `_display` in the
driver. `_native` is the Rust side.

This file only names what is public, and importing it imports nothing that is slow: what few
programs use is imported when it is first named.
"""

from __future__ import annotations

from skate import _ids, actor, exceptions, util
from skate._api import (
    available_resources,
    cancel,
    cluster_resources,
    get,
    nodes,
    put,
    statistics,
    wait,
)
from skate._devices import get_gpu_ids
from skate._empty import empty, empty_buffer
from skate._generator import DynamicObjectRefGenerator, ObjectRefGenerator
from skate._method import method
from skate._native import ObjectRef
from skate._remote_function import remote
from skate._session import init, is_initialized, shutdown
from skate._version import __version__
from skate.actor import get_actor, kill
from skate.runtime_context import get_runtime_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from skate import _raylet as _raylet
    from skate import aio as aio
    from skate import dag as dag
    from skate import dask as dask
    from skate import experimental as experimental
    from skate import internal as internal
    from skate import profiling as profiling
    from skate import remote_function as remote_function
    from skate import runtime_env as runtime_env
    from skate import types as types
    from skate._as_ray import install_as_ray as install_as_ray
    from skate._client_builder import ClientBuilder as ClientBuilder
    from skate._client_builder import client as client
    from skate._ids import ActorClassID as ActorClassID
    from skate._ids import ActorID as ActorID
    from skate._ids import ClusterID as ClusterID
    from skate._ids import FunctionID as FunctionID
    from skate._ids import JobID as JobID
    from skate._ids import NodeID as NodeID
    from skate._ids import PlacementGroupID as PlacementGroupID
    from skate._ids import TaskID as TaskID
    from skate._ids import UniqueID as UniqueID
    from skate._ids import WorkerID as WorkerID
    from skate._raylet import Language as Language
    from skate._timeline import timeline as timeline
    from skate.executor import Executor as Executor

SCRIPT_MODE, WORKER_MODE, LOCAL_MODE = 0, 1, 2
"""Ray's numbers for kinds of processes."""

ObjectID = ObjectRef

_WHERE = {
    **dict.fromkeys(_ids.NAMES, "skate._ids"),
    "ClientBuilder": "skate._client_builder",
    "Executor": "skate.executor",
    "Language": "skate._raylet",
    "client": "skate._client_builder",
    "install_as_ray": "skate._as_ray",
    "timeline": "skate._timeline",
}
_MODULES = frozenset(
    {
        "_raylet",
        "aio",
        "dag",
        "dask",
        "experimental",
        "internal",
        "profiling",
        "remote_function",
        "runtime_env",
        "types",
    }
)

__all__ = [
    "LOCAL_MODE",
    "SCRIPT_MODE",
    "WORKER_MODE",
    "ActorClassID",
    "ActorID",
    "ClientBuilder",
    "ClusterID",
    "DynamicObjectRefGenerator",
    "Executor",
    "FunctionID",
    "JobID",
    "Language",
    "NodeID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "PlacementGroupID",
    "TaskID",
    "UniqueID",
    "WorkerID",
    "__version__",
    "actor",
    "aio",
    "available_resources",
    "cancel",
    "client",
    "cluster_resources",
    "dag",
    "dask",
    "empty",
    "empty_buffer",
    "exceptions",
    "experimental",
    "get",
    "get_actor",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "install_as_ray",
    "internal",
    "is_initialized",
    "kill",
    "method",
    "nodes",
    "profiling",
    "put",
    "remote",
    "remote_function",
    "runtime_env",
    "shutdown",
    "statistics",
    "timeline",
    "types",
    "util",
    "wait",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"skate.{name}")
    where = _WHERE.get(name)
    if where is None:
        from skate._ray_names import missing

        raise missing("skate", name)
    value: object = getattr(import_module(where), name)
    globals()[name] = value
    return value
