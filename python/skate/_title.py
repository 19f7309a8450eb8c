"""What `top`, `ps -e` and `pgrep` call a process: the kernel keeps 15 bytes.

    skate-zygote ─ fork ─▶ ray::worker ─ constructor of a class Counter ─▶ ray::Counter

Invariant: a process is named once for what it is, not for each task that it runs: the system call
takes as long as a short task.
"""

from __future__ import annotations

from contextlib import suppress


def set_title(text: str) -> None:
    """Names this process. Where /proc is read-only it keeps the name that it had."""
    with suppress(OSError), open("/proc/self/comm", "wb") as file:  # noqa: PTH123 - pathlib is slow
        file.write(text.encode())
