"""The one current session of this process: how it begins, is found, and ends.

    none ─ init / first call ─▶ client ─ shutdown / atexit ─▶ none        (driver)
           └─ of the node, or (`local_mode`) of this process alone, or (`address`) of a Ray
              cluster: chosen in `init`
    none ─ _worker.main ──────▶ client                                    (worker, for life)
    any ─ os.fork in user code ─▶ forked: every call raises RaySystemError, for good

Invariant: `client` is the only state. Whoever caches something of a session compares the cached
client with it, so nothing outlives its session. `init` and `shutdown` take turns under `_lock`.
"""

from __future__ import annotations

import os
import sys
from _thread import RLock

from skate import _checks, _native, _settings
from skate._frames import HIDDEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from skate._context import Context
    from skate._engine import Client
    from skate._machine import Machine
    from skate._memory import Watching
    from skate._spilling import Spilling

client: Client | None = None
"""The current session, or None."""

caching: Client | None = None
"""Of which session a remembered template must be: the current one. None, so that none will do,
while the running task captures its children for its placement group, and in local mode."""

machine: Machine | None = None
"""What `init` was told of this machine; None in workers."""

labels: dict[str, str] = {}
"""What `init` said of them, in workers; in the driver `machine` has them."""

current_namespace: str = ""
"""Namespace of the current session."""

_ending: set[Client] = set()  # being shut down: what that wakes must not begin a session
_refusal = ""  # why no session may begin or be used here
_is_hooked = False
_lock = RLock()

_ERRORS_SHOWN = 100
"""At most, of those that were not fetched when the session ends."""

_TWICE = (
    "Maybe you called ray.init twice by accident? This error can be suppressed by passing in "
    "'ignore_reinit_error=True' or by calling 'ray.shutdown()' prior to 'ray.init()'."
)
_NOT_STARTED = "Ray has not been started yet. You can start Ray with 'ray.init()'."
_ENDING = "the session is being shut down, and no other one begins by itself meanwhile."
_FORKED = (
    "this process was forked from one that uses skate, and the session belongs to the parent. Use "
    "skate "
    "in the parent only, or start processes that use it with multiprocessing.get_context('spawn')."
)
# Parameters of Ray's `init` that are about what skate does not have: a dashboard, log files, a
# place for sockets. They are taken and have no effect, whatever their value.
_WITHOUT_EFFECT = frozenset({
    "include_dashboard", "dashboard_host", "dashboard_port", "dashboard_agent_listen_port",
    "configure_logging", "logging_level", "logging_format", "logging_config",
    "_temp_dir", "_node_name", "_node_ip_address", "_redis_username", "_redis_password",
    "_metrics_export_port", "_driver_object_store_memory", "_tracing_startup_hook",
    "_enable_object_reconstruction",
})  # fmt: skip
# Those that would change what programs do, and that this version cannot honour: only empty values.
_EMPTY_ONLY = frozenset({
    "job_config", "_plasma_directory",
    "enable_resource_isolation", "system_reserved_cpu",
    "system_reserved_memory", "cgroup_path", "_cgroup_path", "proxy_server_url",
})  # fmt: skip

# Those that count, though they are not in the signature.
_HONOURED = frozenset({"_memory", "_object_spilling_directory", "_system_config"})


def is_initialized() -> bool:
    """Whether there is a session: between `init` and `shutdown`, and in every worker."""
    return client is not None


def connect() -> Client:
    """The current session; starts one when there is none.

    Raises:
        RaySystemError: in a forked child, while a session is being shut down, or when starting by
            itself is switched off by `RAY_ENABLE_AUTO_CONNECT=0` or `SKATE_ENABLE_AUTO_CONNECT=0`.
    """
    current = client  # read once: another thread may end it
    if current is not None:
        return current
    _check_may_begin()
    with _lock:
        return _begin()


def of(what: object) -> Client:
    """The current session, for a ref, a generator or an actor: it came from one, so begins none.

    Raises:
        RaySystemError: there is no session, so the one it came from has ended.
    """
    current = client
    if current is not None:
        return current
    _check_may_begin()  # what it says tells more
    from skate.exceptions import RaySystemError

    msg = f"{what!r} belongs to an earlier session: it was made before the last shutdown"
    raise RaySystemError(msg)


def _check_may_begin() -> None:
    from skate.exceptions import RaySystemError

    if _refusal:
        raise RaySystemError(_refusal)
    if not _settings.value("enable_auto_connect"):
        raise RaySystemError(_NOT_STARTED)


def init(
    address: str | None = None,
    *,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    resources: dict[str, float] | None = None,
    labels: dict[str, str] | None = None,
    object_store_memory: int | None = None,
    object_spilling_directory: str | None = None,
    object_spilling_limit: int | None = None,
    local_mode: bool | None = None,
    ignore_reinit_error: bool = False,
    log_to_driver: bool | None = None,
    namespace: str | None = None,
    runtime_env: dict[str, Any] | None = None,
    preload: Sequence[str] | None = None,
    **others: Any,
) -> Context:
    """Starts a session: a node in this process, and workers when there is work.

    Args:
        address: None or `"local"`: this machine is all there is. `"auto"` and `"ip:port"` are Ray
            clusters, which need the extra `skate[ray]`; see docs/ray.md.
            None takes what `SKATE_ADDRESS` says, or `RAY_ADDRESS` if Ray is installed.
        num_cpus: How many CPUs tasks may use at once; by default those that this process may use.
        num_gpus: Likewise; by default those that the driver of the machine lists.
        resources: Amounts of custom resources by name.
        labels: Of this node, for `label_selector`: texts by name. `nodes` shows them, and its id as
            `"ray.io/node-id"`.
        object_store_memory: Bytes of shared memory for values, at least 78,643,200; by default 30 %
            of the memory that this process may use, at most 200 GB.
        object_spilling_directory: Where values go that the store has no room for; made if it is not
            there. By default the first of `SKATE_SPILL_DIR`, `TMPDIR`, /var/tmp and /tmp that is on
            disk. The file there has no name.
        object_spilling_limit: At most so many bytes are spilled at once; by default as many as
            leave 5 % of the disk free.
        local_mode: Whether everything runs in this process, tasks inside of `.remote()`, for
            debuggers and coverage; see docs/local_mode.md. `SKATE_LOCAL_MODE=1` says so from
            outside.
        ignore_reinit_error: Whether a second `init` is no error.
        log_to_driver: Whether what workers write to stdout and stderr appears here.
        namespace: For names of actors; by default a fresh one.
        runtime_env: What workers find around them: `env_vars`, `working_dir`, `py_modules` and
            `worker_process_setup_hook`. Tasks and actors may add to it.
        preload: Names of modules, such as `["pandas"]`, that are imported once, before workers are
            forked, and not by each of them: what actors cost that need pandas is then a fork. They
            see the environment of the driver, without a `runtime_env`. For modules that start no
            threads when imported. What they make there, workers share or begin with alike: open
            files, and generators of random numbers, of which only the global ones of `random` and
            NumPy are seeded anew. Without workers, in `local_mode`, it has no effect.
        others: The rest of Ray's parameters. Those about dashboards, log files and directories have
            no effect; `job_config` must be empty. Of `_system_config` the keys about spilling and
            the memory monitor count.

    Returns:
        The session as a context manager, which ends it, and as a mapping of addresses.

    Raises:
        RuntimeError: there is a session already, or a keyword is unknown.
        ValueError: an amount is out of range, or is given together with a cluster; a variable of
            the environment makes no sense.
        TypeError: an argument is of another kind.
        ModuleNotFoundError: `preload` names a module that is not there.
        ImportError: a cluster is named, and Ray is not installed.
        ConnectionError: no cluster answers at the address.
        RaySystemError: in a forked child, or the system refuses memory or processes.

    Rule: semantics.md 5.1; wording of Ray 2.60.
    """
    from skate import _launch, _machine, _memory, _preload, _spilling
    from skate.exceptions import RaySystemError

    with HIDDEN:
        system_config = _checked_others(others)
    said = {
        "address": address,
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "object_store_memory": object_store_memory,
        "object_spilling_directory": object_spilling_directory,
        "object_spilling_limit": object_spilling_limit,
        "local_mode": local_mode,
        "log_to_driver": log_to_driver,
        "namespace": namespace,
        "preload": preload,
        **system_config,
    }
    _settings.check(said)
    is_local = _settings.value("local_mode", local_mode)
    cluster = _cluster_of(address)
    if runtime_env and cluster is None:
        from skate._runtime_env import check, prepare

        check(
            "init: runtime_env", _checks.mapping("init: runtime_env", runtime_env), is_session=True
        )
        prepare(runtime_env)
        if is_local:
            msg = "init: runtime_env is for workers, and local_mode has none: leave it out"
            raise ValueError(msg)
    global client, caching, machine, current_namespace  # noqa: PLW0603 - the one current session
    with _lock:
        if _refusal:
            raise RaySystemError(_refusal)
        if client is not None:
            if ignore_reinit_error:
                return _context(client)
            with HIDDEN:
                raise RuntimeError(_TWICE)
        if cluster is not None:
            from skate._cluster.connect import connect as join

            here_only = {
                "num_cpus": num_cpus,
                "num_gpus": num_gpus,
                "resources": resources,
                "labels": labels,
                "object_store_memory": object_store_memory,
                "object_spilling_directory": object_spilling_directory,
                "object_spilling_limit": object_spilling_limit,
                "local_mode": local_mode or None,
                "preload": preload,
            }
            _hook()
            client, current_namespace = join(
                cluster,
                _checked_namespace(namespace),
                here_only,
                log_to_driver=_settings.value("log_to_driver", log_to_driver),
                runtime_env=runtime_env,
            )
            _settings.remember(said)
            caching = client
            return _context(client)
        here = _machine.describe(
            _settings.value("num_cpus", num_cpus),
            _settings.value("num_gpus", num_gpus),
            resources,
            _settings.value("object_store_memory", object_store_memory),
            others.get("_memory"),
            labels,
        )
        spilling = _spilling.describe(
            object_spilling_directory or others.get("_object_spilling_directory"),
            object_spilling_limit,
            system_config,
        )
        watching = _memory.describe(system_config)
        session = os.urandom(8).hex()
        namespace = _checked_namespace(namespace) or session
        _settings.remember(said)
        _hook()
        try:
            if is_local:
                from skate._local.client import Client as Local

                client = Local(session, here)
            else:
                hello = _launch.hello(
                    session, namespace, runtime_env, _preload.check(preload), here.labels
                )
                client = _start(
                    session, hello, here, spilling, watching,
                    log_to_driver=_settings.value("log_to_driver", log_to_driver),
                )  # fmt: skip
            # In one process a call comes now from the driver, now from a task that captures.
            caching = None if is_local else client
            machine, current_namespace = here, namespace
            return _context(client)
        except BaseException:  # a KeyboardInterrupt may come at any line
            shutdown()
            raise


def _start(
    session: str,
    hello: bytes,
    here: Machine,
    spilling: Spilling,
    watching: Watching,
    *,
    log_to_driver: bool,
) -> Client:
    from skate import _launch, _standard

    _standard.reserve()
    return _native.start(
        session,
        _launch.zygote_argv(),
        hello,
        here.resources,
        here.store_bytes,
        here.workers_at_once,
        log_to_driver,
        spilling,
        watching,
        _settings.value("inspect"),
    )


def _context(current: Client) -> Context:
    from skate._context import Context  # the zygote starts meanwhile
    from skate._notebook import register

    register(current)
    if not getattr(current, "can_spill", True):
        start_helper(current)  # it may have to say so, whatever the program does
    return Context(current)


def _begin() -> Client:
    if client is None:  # another thread may have been faster
        if _ending:
            from skate.exceptions import RaySystemError

            raise RaySystemError(_ENDING)
        init()
    assert client is not None  # noqa: S101 - init has set it
    return client


def shutdown(_exiting_interpreter: bool = False, *, wait_for_processes: bool = False) -> None:
    """Ends the session: kills the workers, frees the store, shows what workers still had to say.

    Without a session, and in a worker, it does nothing. Runs by itself when the program ends.

    Args:
        wait_for_processes: Accepted for compatibility: all have ended when it returns.
    """
    _checks.flag("shutdown: wait_for_processes", wait_for_processes)
    end()


def end(only: Client | None = None) -> None:
    """Ends the session; or this one, if it is still the current one."""
    global client, caching, machine  # noqa: PLW0603 - the one current session
    ended, is_closed = None, False
    unseen: tuple[list[Any], int] = ([], 0)
    try:
        with _lock:
            if client is None or not client.is_driver:
                return
            if only is not None and only is not client:
                return
            ended = client
            # Never neither: between these two Python looks for no signal and no other thread.
            client = caching = machine = None
            _ending.add(ended)
            unseen = ended.unseen(_ERRORS_SHOWN)  # they are read while the session is there
            ended.close()
            is_closed = True
    finally:  # after a KeyboardInterrupt, too
        if ended is not None:
            try:
                if not is_closed:
                    ended.close()
                _wake_waiters(ended)  # not under the lock: a callback may be waiting for it
                _show_unseen(*unseen)
            except BaseException:  # a KeyboardInterrupt: not all may have been woken
                _wake_waiters(ended, in_haste=True)
                raise
            finally:
                _ending.discard(ended)
                _forget_helper(ended)


def is_ending(session: Client) -> bool:
    """Whether it is being shut down, and its helper will be taken away when that is done."""
    return session in _ending


def _wake_waiters(ended: Client, *, in_haste: bool = False) -> None:
    """Whoever waits for something of the session without a thread of its own hears of its end."""
    from skate import _helper

    if asynchronous := sys.modules.get("skate._async"):
        asynchronous.finish(ended)
    _helper.finish(ended, in_haste=in_haste)


def _forget_helper(ended: Client) -> None:
    from skate import _helper

    _helper.forget(ended)


def _show_unseen(errors: list[Any], count: int) -> None:
    """Shows the errors that nobody fetched and nobody will."""
    if not count:
        return
    from skate._display import UNHANDLED, Display

    display = Display()
    for error in errors:
        display.show(UNHANDLED, error)
    display.more_unhandled(count - len(errors))
    display.flush()


def start_helper(current: Client) -> None:
    """Makes sure that what workers write is shown. Called before the first submission."""
    if current.is_driver:
        from skate import _helper

        _helper.of(current)


def enter_worker(joined: Client, namespace: str, of_node: dict[str, str] | None = None) -> None:
    """Makes this process a worker of a session."""
    global client, caching, current_namespace, labels  # noqa: PLW0603 - the one current session
    client = caching = joined
    current_namespace, labels = namespace, of_node or {}
    _hook()


def capture(is_capturing: bool) -> None:
    """What this worker runs from now on captures its children, or does not."""
    global caching  # noqa: PLW0603 - the one current session
    caching = None if is_capturing else client


def refuse(why: str) -> None:
    """No session may begin here, for that reason, until it is empty."""
    global _refusal  # noqa: PLW0603 - of the one current session
    _refusal = why


def _hook() -> None:
    """Once: end with the interpreter, and be refused in forked children."""
    global _is_hooked  # noqa: PLW0603 - once
    if _is_hooked:
        return
    _is_hooked = True
    import atexit

    atexit.register(shutdown)
    os.register_at_fork(after_in_child=_disable_in_child)


def _disable_in_child() -> None:
    global client, caching, machine, _refusal, _lock  # noqa: PLW0603 - the one current session
    # Another thread of the parent may have been within `init` or `shutdown`.
    _lock = RLock()
    _ending.clear()
    if client is None:
        return  # nothing was running: the child may start a session of its own
    _native.disable_in_child()
    client = caching = machine = None
    _refusal = _FORKED


def _checked_others(others: dict[str, Any]) -> dict[str, Any]:
    """Checks what is not in the signature, and gives back `_system_config`."""
    unknown = [
        name
        for name in others
        if name not in _WITHOUT_EFFECT and name not in _EMPTY_ONLY and name not in _HONOURED
    ]
    if unknown:
        from inspect import signature

        from skate._options import did_you_mean

        parameters = [*signature(init).parameters, *_WITHOUT_EFFECT]
        meant = did_you_mean(unknown[0], parameters)
        msg = f"Unknown keyword argument(s): {', '.join(unknown)}.{meant}".removesuffix(".")
        raise RuntimeError(msg)
    for name in _EMPTY_ONLY & others.keys():
        if others[name]:
            msg = f"init: {name}={others[name]!r} is not part of this version of skate"
            raise ValueError(msg)
    config = dict(_checks.mapping("init: _system_config", others.get("_system_config") or {}))
    if unknown := sorted(map(str, config.keys() - _settings.SYSTEM_CONFIG)):
        msg = f"init: _system_config: {', '.join(unknown)} is not part of this version of skate"
        raise ValueError(msg)
    return config


def _checked_namespace(namespace: str | None) -> str | None:
    if namespace == "":
        expected = "a name, or None for a fresh one"
        raise ValueError(_checks.refusal("init: namespace", namespace, expected))
    found: str | None = _settings.value("namespace", namespace)
    return found


def _cluster_of(address: str | None) -> str | None:
    """The address of a Ray cluster to work on; None for this machine."""
    if _settings.value("address", address) in {None, "local"}:
        return None
    from skate._cluster.connect import address_of

    return address_of(address)
