"""`RuntimeEnv`: Ray's class for a `runtime_env`, which is a dict."""

from __future__ import annotations

from skate._runtime_env import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["RuntimeEnv"]


class RuntimeEnv(dict[str, "Any"]):
    """What a task, an actor or a whole session finds around it, checked when it is made.

    Args:
        parts: `env_vars`, `working_dir`, `py_modules`, `pip`, `uv`; for `init`, too,
            `worker_process_setup_hook`. None is as if it were not there.

    Raises:
        TypeError: a part has the wrong type.
        ValueError: a part is unknown, cannot be had here, or names a directory that is not there.
    """

    def __init__(self, **parts: Any) -> None:
        super().__init__({part: each for part, each in parts.items() if each is not None})
        check("RuntimeEnv", self, is_session=True)

    def to_dict(self) -> dict[str, Any]:
        """The same as a plain dict."""
        return dict(self)

    def env_vars(self) -> dict[str, str]:
        """The variables; {} for none."""
        return dict(self.get("env_vars") or {})

    def working_dir(self) -> str | None:
        """The directory, if one is named."""
        return self.get("working_dir")

    def py_modules(self) -> list[Any]:
        """The paths and modules; [] for none."""
        return list(self.get("py_modules") or [])
