"""Where values go that the store has no room for: what the user says of it, in Ray's words too.

    init(object_spilling_directory=…), else _system_config, else the environment, else the first on
    disk of TMPDIR, /var/tmp, /tmp

Invariant: a directory that the user has named is used, or `init` says why it cannot be; of the
    others the first that is on disk.
"""

from __future__ import annotations

import os

from skate import _checks, _settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict

    class Spilling(TypedDict):
        """What the Rust side is told."""

        directories: list[tuple[str, bool]]
        """To try, in order, and whether the user has named it."""
        quota: int | None
        """At most so many bytes."""
        kept: int
        """Of 1000 parts of the disk, so many are left free."""
        off: str | None
        """Why nothing is to be spilled."""


_BYTES_MAX = 2**63 - 1

USUAL = ("/var/tmp", "/tmp")  # noqa: S108 - a file without a name is made there
"""Tried after TMPDIR when nothing is said."""


def describe(
    directory: str | None, limit_bytes: int | None, system_config: dict[str, Any]
) -> Spilling:
    """What `init`, Ray's `_system_config` and the environment say of spilling.

    Args:
        directory: The parameter of `init`; it is made if it is not there.
        limit_bytes: At most so many bytes are spilled at once; None: as many as the disk takes.
        system_config: Ray's `_system_config`; keys that are not about this are ignored.

    Raises:
        TypeError: a setting is of another kind.
        ValueError: a setting is out of range, or names a storage other than directories.
    """

    def setting(name: str) -> Any:
        return _settings.value(name, system_config.get(name))

    in_config = system_config.get("object_spilling_config")
    named = directory or system_config.get("object_spilling_directory")
    if named or not in_config:
        named = _settings.value("object_spilling_directory", named)
    candidates = [named] if named else _of_config(setting("object_spilling_config"))
    directories = [(_made(path), True) for path in candidates[:1]]
    if not directories:
        temporary = os.environ.get("TMPDIR")
        directories = [(path, False) for path in (temporary, *USUAL) if path]
    limit_bytes = _settings.value("object_spilling_limit", limit_bytes)
    if limit_bytes is not None:
        _checks.within("init: object_spilling_limit", limit_bytes, 0, _BYTES_MAX)
    full_at = setting("local_fs_capacity_threshold")
    if not 0 < full_at <= 1:
        what = "init: local_fs_capacity_threshold"
        raise ValueError(_checks.refusal(what, full_at, "above 0 and at most 1"))
    is_on = setting("automatic_object_spilling_enabled")
    return {
        "directories": directories,
        "quota": None if limit_bytes is None else int(limit_bytes),
        "kept": round((1 - full_at) * 1000),
        "off": None if is_on else "spilling is switched off by automatic_object_spilling_enabled",
    }


def _of_config(config: dict[str, Any] | None) -> list[str]:
    """The directories of Ray's `object_spilling_config`."""
    if not config:
        return []
    kind = config.get("type")
    if kind != "filesystem":
        msg = (
            f"object_spilling_config: the type is {kind!r}, but skate spills to a directory of "
            "this machine only: use 'filesystem'"
        )
        raise ValueError(msg)
    params = config.get("params")
    paths = params.get("directory_path") if isinstance(params, dict) else None
    directories = [paths] if isinstance(paths, str) else paths
    if not isinstance(directories, list | tuple) or not all(
        isinstance(each, str) for each in directories
    ):
        expected = "a dict with 'directory_path', a path or a list of them"
        raise ValueError(_checks.refusal("init: object_spilling_config: params", params, expected))
    return list(directories)


def _made(directory: str) -> str:
    try:
        os.makedirs(directory, exist_ok=True)  # noqa: PTH103 - pathlib is slow
    except OSError as error:
        msg = f"init: values cannot be spilled to {directory}: {error.strerror or error}"
        raise ValueError(msg) from error
    return directory
