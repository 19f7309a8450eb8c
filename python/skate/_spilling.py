"""Where values go that the store has no room for: what the user says of it, in Ray's words too.

    init(object_spilling_directory=…), else _system_config, else the environment, else the first on
    disk of TMPDIR, /var/tmp, /tmp

Invariant: a directory that the user has named is used, or `init` says why it cannot be; of the
    others the first that is on disk.
"""

from __future__ import annotations

import os

from skate import _settings

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
        TypeError: a directory is no string.
        ValueError: a setting is out of range, or names a storage other than directories.
    """

    def setting(name: str) -> Any:
        return _settings.value(name, system_config.get(name))

    in_config = system_config.get("object_spilling_config")
    named = directory or system_config.get("object_spilling_directory")
    if named or not in_config:
        named = _settings.value("object_spilling_directory", named)
    candidates = _named(named) or _of_config(setting("object_spilling_config"))
    directories = [(_made(path), True) for path in candidates[:1]]
    if not directories:
        temporary = os.environ.get("TMPDIR")
        directories = [(path, False) for path in (temporary, *USUAL) if path]
    limit_bytes = _settings.value("object_spilling_limit", limit_bytes)
    if limit_bytes is not None and limit_bytes < 0:
        msg = f"init: object_spilling_limit must be at least 0, but is {limit_bytes!r}"
        raise ValueError(msg)
    full_at = float(setting("local_fs_capacity_threshold"))
    if not 0 < full_at <= 1:
        msg = f"local_fs_capacity_threshold must be above 0 and at most 1, but is {full_at!r}"
        raise ValueError(msg)
    is_on = str(setting("automatic_object_spilling_enabled")).lower() not in {"0", "false"}
    return {
        "directories": directories,
        "quota": limit_bytes,
        "kept": round((1 - full_at) * 1000),
        "off": None if is_on else "spilling is switched off by automatic_object_spilling_enabled",
    }


def _named(directory: Any) -> list[str]:
    if not directory:
        return []
    if not isinstance(directory, str | os.PathLike):
        msg = f"init: object_spilling_directory must be a path, but is {directory!r}"
        raise TypeError(msg)
    return [os.fspath(directory)]


def _of_config(config: Any) -> list[str]:
    """The directories of Ray's `object_spilling_config`: JSON, or what it stands for."""
    if not config:
        return []
    if isinstance(config, str):
        import json

        config = json.loads(config)
    kind = config.get("type")
    if kind != "filesystem":
        msg = (
            f"object_spilling_config: the type is {kind!r}, but skate spills to a directory of "
            "this machine only: use 'filesystem'"
        )
        raise ValueError(msg)
    paths = config["params"]["directory_path"]
    return [paths] if isinstance(paths, str) else list(paths)


def _made(directory: str) -> str:
    try:
        os.makedirs(directory, exist_ok=True)  # noqa: PTH103 - pathlib is slow
    except OSError as error:
        msg = f"init: values cannot be spilled to {directory}: {error.strerror or error}"
        raise ValueError(msg) from error
    return directory
