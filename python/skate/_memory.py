"""When memory counts as short: what the user says of it, in Ray's words.

Invariant: what is not said is as in Ray: a look every 250 ms, and short is what is above 95 %.
"""

from __future__ import annotations

from skate import _settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict

    class Watching(TypedDict):
        """What the Rust side is told."""

        threshold: int
        """Of 1000 parts, so many may be used."""
        refresh_ms: int
        """Between two looks; 0: nobody looks."""
        oom_retries: int
        """How often a task is run again that was stopped for it; -1: for ever."""
        root: str
        """Where the files of the kernel are: `/`, but in tests."""


def describe(system_config: dict[str, Any]) -> Watching:
    """What Ray's `_system_config` and the environment say of memory.

    Raises:
        ValueError: a setting is out of range.
    """

    def setting(name: str) -> float:
        return float(_settings.value(name, system_config.get(name)))

    threshold = setting("memory_usage_threshold")
    if not 0 <= threshold <= 1:
        msg = f"memory_usage_threshold must be from 0 to 1, but is {threshold!r}"
        raise ValueError(msg)
    refresh_ms = setting("memory_monitor_refresh_ms")
    if refresh_ms < 0:
        msg = f"memory_monitor_refresh_ms must be at least 0, but is {refresh_ms!r}"
        raise ValueError(msg)
    return {
        "threshold": round(threshold * 1000),
        "refresh_ms": round(refresh_ms),
        "oom_retries": max(round(setting("task_oom_retries")), -1),
        "root": _settings.value("memory_root"),
    }
