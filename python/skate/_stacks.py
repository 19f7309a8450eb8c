"""What the Python code of this process is doing now, for whoever asks from another process.

    skate stack ─ "stacks" ─▶ a thread of the listener takes the GIL ─▶ `here`: threads, coroutines
                └─ no answer: C code keeps the GIL ─ signal ─▶ faulthandler ─▶ a memfd: threads
                                                               (in workers; `may_be_dumped`)

Invariant: looking stops nobody: `here` only reads frames, and the signal is handled in C and lets
system calls go on. Frames are from the outermost to the innermost, and without those of skate.
"""

from __future__ import annotations

import signal
import sys

from skate._frames import is_full, is_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Iterable, Iterator
    from types import FrameType
    from typing import Any

SIGNAL = signal.SIGRTMAX - 1
FILE = "skate-stacks"
_ABOVE_WORKERS = "_zygote.py"
_BEGINNING = {
    name
    for method in ("_bootstrap", "_bootstrap_inner", "run")
    for name in (method, f"Thread.{method}")
}
"""Functions of `threading` that are below everything; faulthandler leaves the class out."""


def here() -> str:
    """The stacks of all threads but this one, and of the coroutines of running loops, as JSON."""
    import json
    import threading

    own = threading.get_ident()
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    threads: list[dict[str, Any]] = []
    coroutines: list[dict[str, Any]] = []
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 - the public way
        if ident == own:
            continue
        frames = [*_walk(frame)][::-1]
        name = names.get(ident, "a thread of C code")
        threads.append({"name": name, "frames": users([_row(*place) for place in frames])})
        for loop in _loops(frame for frame, _ in frames):
            coroutines += _coroutines(loop)
    threads.sort(key=lambda thread: thread["name"] != "MainThread")
    return json.dumps({"threads": threads, "coroutines": coroutines})


def users(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Frames without those of skate and those that every thread begins with."""
    if is_full():
        return frames
    import threading

    for place, frame in enumerate(frames):
        if is_own(frame["file"]) and frame["file"].endswith(_ABOVE_WORKERS):
            frames = frames[place + 1 :]
            break
    frames = [frame for frame in frames if not is_own(frame["file"])]
    while (
        frames and frames[0]["file"] == threading.__file__ and frames[0]["function"] in _BEGINNING
    ):
        del frames[0]
    return frames


def _walk(frame: FrameType | None) -> Iterator[tuple[FrameType, int]]:
    """Frames and their lines, the innermost first."""
    while frame is not None:
        yield frame, frame.f_lineno
        frame = frame.f_back


def _row(frame: FrameType, line: int) -> dict[str, Any]:
    import linecache

    code = frame.f_code
    return {
        "function": code.co_qualname,
        "file": code.co_filename,
        "line": line,
        "code": linecache.getline(code.co_filename, line or 0, frame.f_globals).strip(),
    }


def _loops(frames: Iterable[FrameType]) -> Iterator[AbstractEventLoop]:
    """The event loops that these frames run."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return
    for frame in frames:
        loop = frame.f_code.co_name == "run_forever" and frame.f_locals.get("self")
        if isinstance(loop, asyncio.AbstractEventLoop):
            yield loop


def _coroutines(loop: AbstractEventLoop) -> Iterator[dict[str, Any]]:
    """The tasks of a loop that wait, each down to what it awaits."""
    import asyncio

    for task in asyncio.all_tasks(loop):
        frames = [_row(frame, frame.f_lineno) for frame in _awaited(task.get_coro())]
        yield {"name": task.get_name(), "frames": users(frames)}


def _awaited(awaitable: Any) -> Iterator[FrameType]:
    """The frames of a coroutine, of what it awaits, and so on."""
    while awaitable is not None:
        for frame, inner in (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"),
                             ("ag_frame", "ag_await")):  # fmt: skip
            if hasattr(awaitable, frame):
                if (found := getattr(awaitable, frame)) is not None:
                    yield found
                awaitable = getattr(awaitable, inner)
                break
        else:
            return


def may_be_dumped() -> None:
    """In a worker: `SIGNAL` has its stacks written, although C code keeps the GIL."""
    import faulthandler
    import os

    made = os.memfd_create(FILE)
    # Whoever asks empties it first, so it is written at its end. Never closed.
    file = os.open(f"/proc/self/fd/{made}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    os.close(made)
    faulthandler.register(SIGNAL, file=file, all_threads=True)
