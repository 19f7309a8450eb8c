"""When memory counts as short: what the user says of it, in Ray's words.

Invariant: what is not said is as in Ray: a look every 250 ms, and short is what is above 95 %.
"""

from __future__ import annotations

from skate import _checks, _settings

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


_MS_MAX = 2**32 - 1
_RETRIES_MAX = 2**31 - 1


def describe(system_config: dict[str, Any]) -> Watching:
    """What Ray's `_system_config` and the environment say of memory.

    Raises:
        TypeError: a setting is no number.
        ValueError: it is out of range.
    """

    def setting(name: str, least: int, most: int) -> float:
        value: float = _settings.value(name, system_config.get(name))
        _checks.within(f"init: {name}", value, least, most)
        return value

    return {
        "threshold": round(setting("memory_usage_threshold", 0, 1) * 1000),
        "refresh_ms": round(setting("memory_monitor_refresh_ms", 0, _MS_MAX)),
        "oom_retries": round(setting("task_oom_retries", -1, _RETRIES_MAX)),
        "root": _settings.value("memory_root"),
    }
