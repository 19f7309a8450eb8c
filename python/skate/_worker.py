"""A worker process, from the fork to its end, and what the Rust side asks of Python there.

    zygote ─ fork ─▶ main: cwd, path, signals, streams ─▶ join ─▶ Client.run ─▶ leave

Invariant: the process leaves by `os._exit` alone, so nothing of the zygote above it on the stack
ever runs. SIGINT means cancel: it raises KeyboardInterrupt only while the running task is
cancelled, later if it writes a line just then, and again if a finalizer swallowed that. `sys.exit`
in a task propagates out of `run` and ends the process with its code: the node sees a death and
retries or fails the task as for any crash (semantics.md 2.18).
"""

from __future__ import annotations

import os
import pickle
import sys
from _thread import get_ident

from skate import _actor_worker, _cells, _devices, _native, _stacks, _threads
from skate._devices import use as use_devices
from skate._errors import task_error, task_error_as_text
from skate._max_calls import Counted
from skate._output import Labelled, before_result
from skate._runtime_env import Applied
from skate._session import capture
from skate._threads import use_cpus
from skate._title import set_title

__all__ = [
    "before_result",
    "capture",
    "find_modules_like_the_driver",
    "is_retryable",
    "load_function",
    "main",
    "task_error",
    "task_error_as_text",
    "use_cpus",
    "use_devices",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import CodeType, FrameType
    from typing import Any, NoReturn, TypeAlias

    from skate._native import Client

    Descriptors: TypeAlias = tuple[int, int, int, int, int | None]


def load_function(data: bytes) -> Callable[..., Any]:
    """Unpickles an exported function. The Rust side keeps the result."""
    function: Callable[..., Any] = pickle.loads(data)
    return function


def is_retryable(exc: BaseException, pickled_classes: bytes) -> bool:
    """Whether `retry_exceptions` names the class of the exception, or a base of it."""
    try:
        return isinstance(exc, pickle.loads(pickled_classes))
    except BaseException as error:  # user code: the import of a module, or a metaclass
        reason = f"{type(error).__name__}: {error}"
        exc.add_note(
            f"It was not retried: retry_exceptions could not be compared with it ({reason})"
        )
        return False


_WHEN_IT_HAS_ENDED = (
    Applied.__exit__,
    Counted.__exit__,
    before_result,
    is_retryable,
    task_error,
    task_error_as_text,
)
_AFTER_THE_END = {function.__code__ for function in _WHEN_IT_HAS_ENDED}
"""The task is over: its end is put into words, what it changed is taken back. A cancel is late."""


def main(hello: dict[str, Any], client_id: int, descriptors: Descriptors) -> NoReturn:
    """Becomes worker `client_id` of the session, in a child just forked; never returns.

    Args:
        hello: What the driver said of itself: `session`, `namespace`, `cwd` (empty if it was
            removed), `sys_path`, `preload`, `argv`, `as_ray`, `runtime_env`, `log_level`,
            `inspect`, `cells`, `labels`.
        client_id: From 1.
        descriptors: Of the hub, the data segment, this worker's control segment, the
            driver's process, and the spill file, if there is one.
    """
    code = 1
    try:
        set_title("ray::worker")
        _like_the_driver(hello)
        _reseed()
        _devices.enter_worker()
        code = _run(hello, client_id, descriptors)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        _leave(code)


def _run(hello: dict[str, Any], client_id: int, descriptors: Descriptors) -> int:
    from skate import _output, _records, _session

    client = _native.join(*descriptors, client_id, hello["session"], hello["inspect"])
    _session.enter_worker(client, hello.get("namespace", ""), hello["labels"])
    label = _label_with_task if hello["cells"] else _label
    _output.install(lambda: label(client))
    _records.install(hello["log_level"])
    _handle_signals(client)
    if hello["inspect"]:
        _stacks.may_be_dumped()
    try:
        serving = client.run()
        return 0 if serving is None else _actor_worker.serve(serving)
    except SystemExit as exit_:
        return _actor_worker.exit_code(exit_)
    finally:
        _actor_worker.end(client)


def _label(client: Client) -> str:
    return _actor_worker.label() or _task_name(client)


def _label_with_task(client: Client) -> str:
    """Says as well of which task it is: the driver is a notebook, and finds the cell."""
    task = client.current_task()
    return f"{_label(client)}{_cells.MARK}{task[0] if task else ''}"


def _task_name(client: Client) -> str:
    task = client.current_task()
    return task[1] if task else ""


def _like_the_driver(hello: dict[str, Any]) -> None:
    from types import ModuleType

    if hello["cwd"]:
        try:
            os.chdir(hello["cwd"])
        except OSError as error:
            print(f"skate worker: cwd of the driver: {error}", file=sys.stderr)  # noqa: T201
    find_modules_like_the_driver(hello)
    sys.argv[:] = hello["argv"]
    if hello["runtime_env"]:
        from skate import _runtime_env

        _runtime_env.enter_worker(**hello["runtime_env"])
    _threads.enter_worker((hello["runtime_env"] or {}).get("plain", {}))
    # The zygote's own `__main__` is none of the user's business. What the driver's `__main__`
    # defines comes by value, with its functions.
    sys.modules["__main__"] = ModuleType("__main__")


def find_modules_like_the_driver(hello: dict[str, Any]) -> None:
    """The search path, and what `import ray` means; in the zygote, too, before it preloads."""
    sys.path[:] = hello["sys_path"]
    if hello["as_ray"]:
        from skate import _as_ray

        _as_ray.install_in_worker()


def _handle_signals(client: Client) -> None:
    import faulthandler
    import signal

    # Where no interrupt is raised: in writes of lines, and where one of the task was swallowed.
    # That may be any code, so the next task can be interrupted there.
    spared_task, spared = None, {Labelled.write.__code__}
    main_thread, usual = get_ident(), sys.unraisablehook

    def spared_now() -> set[CodeType]:
        nonlocal spared_task, spared
        if (task := client.current_task()) != spared_task:
            spared_task, spared = task, {Labelled.write.__code__}
        return spared

    def cancel(_signal: int, frame: FrameType | None) -> bool:
        if not client.is_canceled():
            return False
        # This first: asked at each look for signals, it need not walk a stack to its bottom.
        is_spared = _is_within(spared_now(), frame)
        if is_spared or _is_within(_AFTER_THE_END, frame):
            return is_spared
        raise KeyboardInterrupt

    def unraisable(lost: sys.UnraisableHookArgs) -> bool:
        """A finalizer or a callback was interrupted, and Python goes on with the task."""
        if not (
            isinstance(lost.exc_value, KeyboardInterrupt)
            and get_ident() == main_thread
            and client.is_canceled()
        ):
            usual(lost)
            return False
        if lost.exc_traceback is not None:
            spared_now().add(lost.exc_traceback.tb_frame.f_code)
        return True

    def nudge(_signal: int, _frame: FrameType | None) -> None:
        """It has ended a system call that did not notice SIGINT: rust/native/src/nudge.rs."""

    signal.signal(signal.SIGINT, _native.and_again(cancel))
    sys.unraisablehook = _native.and_again(unraisable)
    signal.signal(signal.SIGURG, nudge)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    faulthandler.enable(file=2)


def _is_within(codes: Collection[CodeType], frame: FrameType | None) -> bool:
    while frame is not None and codes:
        if frame.f_code in codes:
            return True
        frame = frame.f_back
    return False


def _reseed() -> None:
    """Forked processes would otherwise all draw the same numbers."""
    if random := sys.modules.get("random"):
        random.seed()
    if numpy_random := sys.modules.get("numpy.random"):
        numpy_random.seed()


def _leave(code: int) -> NoReturn:
    import atexit

    from skate import _output

    try:
        atexit._run_exitfuncs()  # noqa: SLF001 - `os._exit` skips them
        _output.flush()
    finally:
        os._exit(code)
