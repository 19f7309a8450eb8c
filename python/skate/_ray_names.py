"""Ray's names, and what skate makes of each: the one table behind `import ray`, `check` and docs.

    name ─ treatment ─▶ same │ differs │ ignored │ missing

Invariant: the table tells the truth, which tests/as_ray/test_names.py holds: a name that is not
missing is there, a missing one is not, and every public name of Ray 2.60's core has a row, its own
or that of its module. A note is one sentence: for what is missing, the nearest way.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RAY_VERSION = "2.60.0"
"""The version of Ray whose names and semantics these are; what `ray.__version__` says."""

SAME, DIFFERS, IGNORED, MISSING = "same", "differs", "ignored", "missing"

MODULES: dict[str, str] = {
    "ray": "skate",
    "ray._private": "skate._private",
    "ray._private.internal_api": "skate._private.internal_api",
    "ray._raylet": "skate._raylet",
    "ray.actor": "skate.actor",
    "ray.cloudpickle": "cloudpickle",
    "ray.dag": "skate.dag",
    "ray.exceptions": "skate.exceptions",
    "ray.experimental": "skate.experimental",
    "ray.internal": "skate.internal",
    "ray.profiling": "skate.profiling",
    "ray.remote_function": "skate.remote_function",
    "ray.runtime_context": "skate.runtime_context",
    "ray.runtime_env": "skate.runtime_env",
    "ray.types": "skate.types",
    "ray.util": "skate.util",
    "ray.util.actor_group": "skate.util.actor_group",
    "ray.util.actor_pool": "skate.util.actor_pool",
    "ray.util.annotations": "skate.util.annotations",
    "ray.util.check_serialize": "skate.util.serializers",
    "ray.util.dask": "skate.dask",
    "ray.util.helpers": "skate.util.helpers",
    "ray.util.iter": "skate.util.iter",
    "ray.util.joblib": "skate.util.joblib",
    "ray.util.metrics": "skate.util.metrics",
    "ray.util.multiprocessing": "skate.util.multiprocessing",
    "ray.util.multiprocessing.pool": "skate.util.multiprocessing.pool",
    "ray.util.placement_group": "skate.util.placement_group",
    "ray.util.queue": "skate.util.queue",
    "ray.util.scheduling_strategies": "skate.util.scheduling_strategies",
    "ray.util.serialization": "skate.util.serializers",
    "ray.util.state": "skate.util.state",
}
"""Modules of Ray, and the module of skate that each is: the same object."""

_LIBRARY = "skate is tasks, actors, objects and generators only"
_ONE_MACHINE = "skate runs in one process tree on one machine"
_FREED = "a value is freed at once with the last ref to it: `del ref`"

TABLE: dict[str, tuple[str, str]] = {
    # ── the session ───────────────────────────────────────────────────────────────────────────────
    "ray.init": (DIFFERS, "without an address, the node lives in this process: no daemon, no port"),
    "ray.shutdown": (SAME, ""),
    "ray.is_initialized": (SAME, ""),
    "ray.nodes": (SAME, ""),
    "ray.cluster_resources": (SAME, ""),
    "ray.available_resources": (SAME, ""),
    "ray.get_runtime_context": (SAME, ""),
    "ray.runtime_context": (SAME, ""),
    "ray.get_gpu_ids": (SAME, ""),
    "ray.timeline": (DIFFERS, "slices for items of generators and arrows for arguments, too"),
    "ray.profiling": (DIFFERS, "only `profile`"),
    "ray.LoggingConfig": (MISSING, "workers' lines come as they are; use `logging` in the tasks"),
    "ray.client": (DIFFERS, "without an address, the node lives in this process, as by `init`"),
    "ray.ClientBuilder": (SAME, ""),
    "ray.SCRIPT_MODE": (SAME, ""),
    "ray.WORKER_MODE": (SAME, ""),
    "ray.LOCAL_MODE": (SAME, ""),
    "ray.__version__": (DIFFERS, f"the version of Ray that skate follows, {RAY_VERSION}"),
    # ── tasks and actors ──────────────────────────────────────────────────────────────────────────
    "ray.remote": (SAME, ""),
    "ray.method": (SAME, ""),
    "ray.cancel": (DIFFERS, "items of a stream that were stored before stay readable"),
    "ray.kill": (SAME, ""),
    "ray.get_actor": (SAME, ""),
    "ray.actor": (SAME, ""),
    "ray.remote_function": (SAME, ""),
    "ray.Language": (SAME, ""),
    "ray.cross_language": (MISSING, "skate runs Python only; use `subprocess` in a task"),
    "ray.cpp_function": (MISSING, "skate runs Python only; use `subprocess` or `ctypes` in a task"),
    "ray.java_function": (MISSING, "skate runs Python only; use `subprocess` in a task"),
    "ray.java_actor_class": (MISSING, "skate runs Python only; use `subprocess` in a task"),
    # ── objects and generators ────────────────────────────────────────────────────────────────────
    "ray.get": (SAME, ""),
    "ray.put": (DIFFERS, "every value outlives the process that made it"),
    "ray.wait": (SAME, ""),
    "ray.ObjectRef": (SAME, ""),
    "ray.ObjectID": (SAME, ""),
    "ray.ObjectRefGenerator": (DIFFERS, "may be passed on, closed, read by several threads"),
    "ray.DynamicObjectRefGenerator": (DIFFERS, "live while the task runs; `len` waits for its end"),
    "ray._raylet": (DIFFERS, "only the classes of refs, generators and ids"),
    "ray.types": (SAME, ""),
    "ray.exceptions": (SAME, ""),
    "ray.internal": (DIFFERS, "only `free`"),
    "ray.internal.free": (IGNORED, _FREED),
    # ── ids ───────────────────────────────────────────────────────────────────────────────────────
    **dict.fromkeys(
        ("ray.ActorClassID", "ray.ActorID", "ray.ClusterID", "ray.FunctionID", "ray.JobID",
         "ray.NodeID", "ray.PlacementGroupID", "ray.TaskID", "ray.UniqueID", "ray.WorkerID"),
        (SAME, ""),
    ),
    # ── util ──────────────────────────────────────────────────────────────────────────────────────
    "ray.util": (SAME, ""),
    "ray.util.ActorPool": (SAME, ""),
    "ray.util.actor_pool": (SAME, ""),
    "ray.util.annotations": (SAME, ""),
    "ray.util.as_completed": (SAME, ""),
    "ray.util.map_unordered": (SAME, ""),
    "ray.util.queue": (SAME, ""),
    "ray.util.list_named_actors": (SAME, ""),
    "ray.util.placement_group": (DIFFERS, "sets resources aside on the one machine"),
    "ray.util.placement_group_table": (SAME, ""),
    "ray.util.get_placement_group": (SAME, ""),
    "ray.util.get_current_placement_group": (SAME, ""),
    "ray.util.remove_placement_group": (SAME, ""),
    "ray.util.scheduling_strategies": (DIFFERS, "there is one node, and its labels are its own"),
    "ray.util.scheduling_strategies.NodeLabelSchedulingStrategy": (
        MISSING, "there is one node: leave the strategy out"),
    "ray.util.register_serializer": (SAME, ""),
    "ray.util.deregister_serializer": (SAME, ""),
    "ray.util.inspect_serializability": (SAME, ""),
    "ray.util.check_serialize": (SAME, ""),
    "ray.util.helpers": (SAME, ""),
    "ray.util.serialization": (SAME, ""),
    "ray.util.multiprocessing": (DIFFERS, "a dead worker fails its calls; `imap` reads lazily"),
    "ray.util.joblib": (DIFFERS, "results can be taken as they come: return_as='generator'"),
    "ray.util.metrics": (DIFFERS, "no port: `prometheus_text()` gives the text"),
    "ray.util.dask": (DIFFERS, "`ray_dask_get` only, which is `skate.dask.get`"),
    "ray.util.actor_group": (SAME, ""),
    "ray.util.iter": (DIFFERS, "shards are remote generators, a few items ahead of their reader"),
    "ray.util.iter.from_actors": (MISSING, "call an actor's method that yields"),
    "ray.util.iter.ParallelIteratorWorker": (MISSING, "call an actor's method that yields"),
    "ray.util.log_once": (SAME, ""),
    "ray.util.disable_log_once_globally": (SAME, ""),
    "ray.util.enable_periodic_logging": (SAME, ""),
    "ray.util.get_node_ip_address": (DIFFERS, "127.0.0.1: there is one machine"),
    "ray.util.get_node_instance_id": (MISSING, "there is one machine, and no cloud"),
    "ray.util.state": (
        DIFFERS, "the node answers at once; also `why`, `list_streams`, `list_unhandled_errors`"),
    "ray.util.accelerators": (MISSING, "write the name: `accelerator_type='A100'`"),
    "ray.util.collective": (MISSING, "use those of your framework: torch.distributed"),
    "ray.util.pdb": (MISSING, "use `breakpoint()` in a run with `init(local_mode=True)`"),
    "ray.util.rpdb": (MISSING, "use `breakpoint()` in a run with `init(local_mode=True)`"),
    "ray.util.ray_debugpy": (MISSING, "use `breakpoint()` in a run with `init(local_mode=True)`"),
    "ray.util.debugpy": (MISSING, "use `breakpoint()` in a run with `init(local_mode=True)`"),
    "ray.util.tracing": (MISSING, "put spans of OpenTelemetry into the tasks themselves"),
    "ray.util.connect": (MISSING, f"{_ONE_MACHINE}; say `ray.init()`"),
    "ray.util.disconnect": (MISSING, f"{_ONE_MACHINE}; say `ray.shutdown()`"),
    "ray.util.client": (MISSING, f"{_ONE_MACHINE}; say `ray.init()`"),
    "ray.util.spark": (MISSING, _ONE_MACHINE),
    "ray.util.tpu": (MISSING, _ONE_MACHINE),
    "ray.util.sgd": (MISSING, _LIBRARY),
    "ray.util.horovod": (MISSING, _LIBRARY),
    "ray.util.lightgbm": (MISSING, _LIBRARY),
    "ray.util.xgboost": (MISSING, _LIBRARY),
    "ray.experimental": (DIFFERS, "only what is listed here"),
    "ray.experimental.internal_kv": (MISSING, "use a named actor that holds a dict"),
    "ray.experimental.channel": (MISSING, "pass a streaming generator"),
    "ray.experimental.rdt": (MISSING, "arrays are read in place from shared memory as they are"),
    "ray.experimental.dynamic_resources": (MISSING, "give `resources=` to `ray.init`"),
    "ray.experimental.set_resource": (MISSING, "give `resources=` to `ray.init`"),
    "ray.experimental.get_object_locations": (MISSING, "all objects are on this machine"),
    "ray.experimental.get_local_object_locations": (MISSING, "all objects are on this machine"),
    # ── all that is around Ray's core ─────────────────────────────────────────────────────────────
    "ray.cloudpickle": (SAME, ""),
    "ray.job_config": (MISSING, "pass what the job needs to `ray.init`"),
    "ray.job_submission": (MISSING, "start the program itself: `python prog.py`"),
    "ray.cluster_utils": (MISSING, f"{_ONE_MACHINE}; `ray.init(num_cpus=n)` is a node of any size"),
    "ray.autoscaler": (MISSING, _ONE_MACHINE),
    "ray.dashboard": (MISSING, "`skate.statistics()` and `skate.util.state` have the numbers"),
    "ray.widgets": (MISSING, "there is no dashboard to show in a notebook"),
    "ray.workflow": (MISSING, f"{_LIBRARY}; store results yourself"),
    "ray.dag": (SAME, ""),
    "ray.runtime_env": (DIFFERS, "only `RuntimeEnv`, which is a dict"),
    "ray.data": (MISSING, f"{_LIBRARY}; a remote generator streams blocks through tasks"),
    "ray.train": (MISSING, f"{_LIBRARY}; start one actor for each rank"),
    "ray.tune": (MISSING, f"{_LIBRARY}; submit one task for each trial and `ray.wait` for them"),
    "ray.air": (MISSING, _LIBRARY),
    "ray.serve": (MISSING, f"{_LIBRARY}; call actors from your web framework with `await`"),
    "ray.rllib": (MISSING, _LIBRARY),
    "ray.llm": (MISSING, _LIBRARY),
    "ray._private": (DIFFERS, "only `internal_api.free`; the rest is internal to Ray"),
    "ray._private.internal_api.free": (IGNORED, _FREED),
    **dict.fromkeys(
        ("ray._private.services", "ray._private.state", "ray._private.test_utils",
         "ray._private.utils", "ray._private.worker"),
        (MISSING, "it is internal to Ray; use the public names"),
    ),
}  # fmt: skip
"""Ray's name to its treatment and a note. A name without a row has that of its module."""


def row(name: str) -> tuple[str, str, str]:
    """The row that speaks of a name: its own, or the nearest above it.

    Returns:
        The name of the row, the treatment and the note. A name of which the table knows nothing
        belongs to `ray`, and is missing.
    """
    above = name
    while above != "ray":
        if above in TABLE:
            return above, *TABLE[above]
        above = above.rpartition(".")[0]
    return "ray", MISSING, "it is no public name of Ray's core; docs/compatibility.md lists those"


def sentence(name: str) -> str | None:
    """Why a name of Ray's is not there, and the nearest way; None if the table has no such row."""
    _, treatment, note = row(name)
    if treatment != MISSING or name.rpartition(".")[2].startswith("__"):
        return None
    return f"skate has no {name}: {note}"


def missing(module: str, name: str) -> AttributeError:
    """The error of a module of skate that does not have that name.

    Args:
        module: As skate calls it.
        name: What was looked for.
    """
    text = f"module '{module}' has no attribute '{name}'"
    ours = f"ray{module.removeprefix('skate')}.{name}"
    if ours in TABLE or row(ours)[0] != "ray":
        text = sentence(ours) or text
    return AttributeError(text)


def resolve(name: str) -> Any:
    """What a dotted name of Ray's is in skate.

    Raises:
        AttributeError, ImportError: it is missing.
    """
    from importlib import import_module

    module, rest = name, ""
    while module not in MODULES:
        module, _, last = module.rpartition(".")
        if not module:
            msg = f"{name} is no name of Ray's"
            raise AttributeError(msg)
        rest = f"{last}.{rest}" if rest else last
    found: Any = import_module(MODULES[module])
    for part in filter(None, rest.split(".")):
        found = getattr(found, part)
    return found


KEYWORDS_OF = frozenset({"ray.init", "ray.remote", "ray.method"})
"""Calls whose keywords have treatments of their own."""


def treatment_of(name: str) -> tuple[str, str]:
    """How skate treats a name, or a keyword written as `ray.init(num_cpus=)`.

    Returns:
        The treatment and the note. A name below a module of skate's that has no row is the same
        if it is there.
    """
    if name.endswith("=)"):
        call, _, keyword = name.removesuffix("=)").partition("(")
        return _treatment_of_keyword(call, keyword)
    above, treatment, note = row(name)
    if above == name or treatment == MISSING or above not in MODULES:
        return treatment, note
    try:
        resolve(name)
    except (AttributeError, ImportError):
        return MISSING, f"{above} of skate has no such name"
    return treatment, note


def _treatment_of_keyword(call: str, keyword: str) -> tuple[str, str]:
    if call == "ray.init":
        from skate._session import _EMPTY_ONLY, _WITHOUT_EFFECT, init

        if keyword in _WITHOUT_EFFECT:
            return IGNORED, "it is about what skate does not have: it has no effect"
        if keyword in _EMPTY_ONLY:
            return MISSING, "it may only be empty"
        return _present(keyword in (init.__kwdefaults__ or ()) or keyword in {"address", "_memory"})
    from skate import _actor_options, _options

    if call == "ray.method":
        return _present(keyword in _options.METHOD_TABLE)
    return _present(keyword in _options.TABLE or keyword in _actor_options.TABLE)


def _present(is_there: bool) -> tuple[str, str]:
    return (SAME, "") if is_there else (MISSING, "there is no such keyword")
