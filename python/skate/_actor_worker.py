"""An actor's process: its one instance, and how its calls reach it. Called by the Rust side.

    constructor ─ makes ─▶ _instance ◀─ method ─ each call
                               └─ end ─▶ __ray_shutdown__ ─▶ __del__ ─▶ atexit

Invariant: there is one instance, made by the first task of the process. `exit_actor`, a call of
`__ray_terminate__` and `sys.exit(0)` are ways out that the node is told of, so the actor is not
started again; any other end of the process is a crash. Whoever leaves the process by itself ends
the instance first, on the main thread; who is killed does not.
"""

from __future__ import annotations

import pickle
import sys

from skate._title import set_title
from skate.exceptions import ActorDiedError, AsyncioActorExit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Lock
    from typing import Any

    from skate._native import Client, Serving

_EXIT_ACTOR, _TERMINATE, _EXIT_CODE_ZERO = 0, 1, 2
"""Ways out, as the Rust side numbers them."""

CLOSING_S = 30
"""Seconds that an actor has for its own end, as Ray's."""

RETRY_S = 1.0
"""Seconds until it is tried again to start a thread that could not be started."""

_instance: Any = None
_label = ""


class ActorExit(SystemExit):
    """Leaves the actor. Not an `Exception`: user code that catches these must not stop it."""

    def __init__(self, way: int) -> None:
        super().__init__(0)
        self.way = way


def constructor(data: bytes) -> Callable[..., None]:
    """What the actor's first task calls: makes the instance of the exported class."""
    cls = pickle.loads(data)

    def construct(*args: Any, **kwargs: Any) -> None:
        global _instance, _label  # noqa: PLW0603 - the one instance of this process
        _label = cls.__name__
        set_title(f"ray::{_label}")
        _instance = cls(*args, **kwargs)
        if cls.__repr__ is not object.__repr__:
            _label = _repr(_instance, _label)

    construct.__name__ = f"{cls.__name__}.__init__"
    construct.__module__ = cls.__module__
    return construct


def _repr(instance: object, otherwise: str) -> str:
    try:
        return repr(instance)
    except Exception:
        return otherwise


def label() -> str:
    """What stands before lines that the actor writes: its class, or its own `repr`; "" if none."""
    return _label


def method(name: str) -> Callable[..., Any]:
    """What a call of that method calls."""
    special = _SPECIAL.get(name)
    if special is not None:
        return special
    found: Callable[..., Any] = getattr(_instance, name)
    return found


def _ready() -> bool:
    return True


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(_instance, *args, **kwargs)


def _terminate() -> None:
    raise ActorExit(_TERMINATE)


_SPECIAL: dict[str, Callable[..., Any]] = {
    "__ray_ready__": _ready,
    "__ray_call__": _call,
    "__ray_terminate__": _terminate,
}


def exit_actor() -> None:
    """Ends the actor that this code runs in, once the caller's code has been left."""
    if _is_loop_running():
        raise AsyncioActorExit
    raise ActorExit(_EXIT_ACTOR)


def _is_loop_running() -> bool:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def way_out(exc: BaseException) -> int | None:
    """Which way out of the actor an exception is; None if it is none."""
    if isinstance(exc, ActorExit):
        return exc.way
    if isinstance(exc, AsyncioActorExit):
        return _EXIT_ACTOR
    if isinstance(exc, SystemExit) and exc.code == 0 and exc.code is not None:
        return _EXIT_CODE_ZERO
    return None


def init_error(cause: BaseException, actor_id: str) -> ActorDiedError:
    """What calls of an actor raise whose constructor raised `cause`, or did not run for it."""
    text = f"The actor died because of an error raised in its creation task, {cause}"
    return ActorDiedError(actor_id, text, True, cause=cause)  # noqa: FBT003 - Ray's signature


def serve(serving: Serving) -> int:
    """Executes calls several at once until the actor ends. Returns the exit code."""
    if serving.is_loop:
        from skate._actor_loop import serve_loops

        return serve_loops(serving)
    return _serve_threads(serving)


def _serve_threads(serving: Serving) -> int:
    import time
    from _thread import start_new_thread
    from threading import Lock

    once = Lock()
    pause_s = 0.0
    while True:
        try:
            time.sleep(pause_s)
            # By another thread: this one runs the handlers of signals, which may raise at any line.
            start_new_thread(_start_lanes, (serving, once))
            return serving.wait()
        except SystemExit:
            raise
        except BaseException:  # it has no call to end in
            print_exception()
            pause_s = 0.0 if once.locked() else RETRY_S  # no thread was to be had


def _start_lanes(serving: Serving, once: Lock) -> None:
    """The first thread of each."""
    import time

    if once.acquire(blocking=False):
        for lane in range(serving.lanes):
            while not _try_to_start(serving, lane):
                time.sleep(RETRY_S)


def _try_to_start(serving: Serving, lane: int) -> bool:
    try:
        _start_lane(serving, lane)
    except Exception:  # nobody else would start it, and its calls would wait for ever
        print_exception()
        return False
    return True


def _start_lane(serving: Serving, lane: int) -> None:
    from threading import Thread

    Thread(target=_serve_lane, args=(serving, lane), name=f"skate-lane-{lane}", daemon=True).start()


def _serve_lane(serving: Serving, lane: int) -> None:
    try:
        serving.serve(lane, lambda: _start_lane(serving, lane))
    except SystemExit as exit_:
        code = exit_code(exit_)
    except BaseException:
        print_exception()
        code = 1
    else:
        return
    serving.leave(code)  # when the exception has gone, whose frames hold the instance


def end(client: Client) -> None:
    """Ends the instance, if there is one, as Ray does: `__ray_shutdown__`, then its destructors.

    What they raise is printed, and ends nothing but them.
    """
    global _instance  # noqa: PLW0603 - the one instance of this process
    if _instance is None:
        return
    import faulthandler

    # What hangs there would hold the actor's CPU for the session. It is shown where that was.
    faulthandler.dump_traceback_later(CLOSING_S, exit=True, file=2)
    try:
        shutdown = getattr(_instance, "__ray_shutdown__", None)
        if shutdown is not None:
            shutdown()
    except BaseException:  # `sys.exit`, too: how the process ends is settled
        print_exception()
    shutdown = _instance = None
    client.let_go()
    import gc

    gc.collect()  # `os._exit` leaves cycles as they are


def print_exception() -> None:
    """Of which nothing else can be told."""
    import traceback

    traceback.print_exc()


def exit_code(exit_: SystemExit) -> int:
    """As the interpreter does: None is 0, a number is itself, anything else is printed and is 1."""
    if exit_.code is None:
        return 0
    if isinstance(exit_.code, int):
        return exit_.code & 0xFF
    print(exit_.code, file=sys.stderr)  # noqa: T201 - what the interpreter does
    return 1
