"""The stacks of one process: as it tells them itself, or as its faulthandler writes them.

    connect ─ "stacks" ─▶ an answer within `PATIENCE_S`      threads with names, coroutines
                      └─▶ silence, and it is a worker ─ signal ─▶ its memfd ─▶ threads

Invariant: it ends within a few times `PATIENCE_S`, with stacks or with `trouble`, a line that says
why there are none.
"""

from __future__ import annotations

import linecache
import os
import re
import time
from pathlib import Path

from skate._stacks import FILE, SIGNAL, users
from skate.cli import Refused, _attach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATIENCE_S = 2.0
_LOOK_S = 0.02
_QUIET_LOOKS = 5
_THREAD = re.compile(r"(Current thread|Thread) (0x[0-9a-f]+)")
_FRAME = re.compile(r'  File "(.*)", line (\d+) in (.*)')


def of(pid: int, driver: _attach.Driver) -> dict[str, Any]:
    """`threads`, `coroutines` and `trouble` of a driver or worker."""
    is_worker = pid != driver.pid
    found = _attach.Found(pid, driver.session, "")
    suffix = "-worker" if is_worker else ""
    trouble = None
    try:
        with _attach.Driver(found, suffix=suffix, patience_s=PATIENCE_S) as process:
            return {**process.stacks(), "trouble": None}
    except (Refused, ValueError) as error:
        trouble = str(error)
    state = _state(pid)
    if state is None:
        trouble = "it has ended"
    elif state in "tT":
        trouble = "it is stopped: SIGCONT lets it go on"
    elif is_worker and (threads := _dumped(pid)):
        return {"threads": threads, "coroutines": [], "trouble": None}
    elif not is_worker:
        trouble = "C code keeps its interpreter from answering: py-spy could look (--native)"
    return {"threads": [], "coroutines": [], "trouble": trouble}


def _state(pid: int) -> str | None:
    """The letter of /proc/<pid>/stat; None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[0]


def _dumped(pid: int) -> list[dict[str, Any]]:
    """What the worker's faulthandler writes when told to; nothing if it cannot be told."""
    try:
        [path, *_] = [
            path
            for path in Path(f"/proc/{pid}/fd").iterdir()
            if f"memfd:{FILE}" in os.readlink(path)  # noqa: PTH115 - it leads nowhere
        ]
        with path.open("r+b", buffering=0) as file:
            file.truncate(0)
            os.kill(pid, SIGNAL)
            return threads_of(_when_whole(file))
    except (OSError, ValueError):
        return []


def _when_whole(file: Any) -> str:
    """The text when it has stopped growing: it has no end of its own."""
    size, quiet, until = 0, 0, time.monotonic() + PATIENCE_S
    while quiet < _QUIET_LOOKS and time.monotonic() < until:
        time.sleep(_LOOK_S)
        before, size = size, os.fstat(file.fileno()).st_size
        quiet = quiet + 1 if size and size == before else 0
    return bytes(file.read()).decode(errors="replace")


def threads_of(text: str) -> list[dict[str, Any]]:
    """Threads as faulthandler writes them; the kernel gives the signal to the main one."""
    threads: list[dict[str, Any]] = []
    for line in text.splitlines():
        if match := _THREAD.match(line):
            name = "MainThread" if match[1] == "Current thread" else match[2]
            threads.append({"name": name, "frames": []})
        elif threads and (match := _FRAME.match(line)):
            file, number = match[1], int(match[2])
            code = linecache.getline(file, number).strip()
            row = {"function": match[3], "file": file, "line": number, "code": code}
            threads[-1]["frames"].insert(0, row)
    for thread in threads:
        thread["frames"] = users(thread["frames"])
    # Without a name and frames it is one of those that wait for the interpreter to answer.
    return sorted(
        (each for each in threads if each["frames"] or each["name"] == "MainThread"),
        key=lambda thread: thread["name"] != "MainThread",
    )
