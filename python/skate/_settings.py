"""Every setting, and where its value comes from.

    argument of `init` ─▶ SKATE_NAME ─▶ RAY_NAME, where it means the same ─▶ default

Invariant: no other module reads a SKATE_ or RAY_ variable, so the table is complete: the page of
the documents and `skate doctor` are made from it. A value that makes no sense is an error that
names the variable or the argument.
"""

from __future__ import annotations

import os

from skate import _checks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_ON = frozenset({"1", "true", "yes", "on"})
_OFF = frozenset({"0", "false", "no", "off", ""})


class Setting:
    """One row.

    Attributes:
        name: Of the setting; that of the argument, if it has one.
        argument: How a program says it, or "".
        variables: Of the environment; the first that is set counts.
        parse: From the text of a variable.
        default: The text when nobody says anything; None if it is worked out, as `usual` says.
        meaning: What it does.
        usual: The default, for people.
    """

    __slots__ = ("argument", "default", "meaning", "name", "parse", "usual", "variables")

    def __init__(  # noqa: PLR0917 - rows of one table
        self,
        name: str,
        argument: str,
        variables: str,
        parse: Callable[[str], Any],
        default: str | None,
        meaning: str,
        usual: str = "",
    ) -> None:
        self.name = name
        self.argument = argument
        self.variables = variables.split()
        self.parse = parse
        self.default = default
        self.meaning = meaning
        self.usual = usual or default or ""


def _flag(text: str) -> bool:
    if text.lower() in _ON:
        return True
    if text.lower() in _OFF:
        return False
    msg = "must be 1 or 0"
    raise ValueError(msg)


def _number(text: str) -> float:
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        msg = "must be a number"
        raise ValueError(msg) from None


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _config(text: str) -> dict[str, Any]:
    import json

    try:
        config = json.loads(text or "{}")
    except ValueError:
        config = None
    if not isinstance(config, dict):
        msg = "must be a dict as JSON"
        raise ValueError(msg)  # noqa: TRY004 - like every text that makes no sense
    return config


_TAKES: dict[Callable[[str], Any], Callable[[str, Any], Any]] = {
    _flag: _checks.flag,
    _number: _checks.number,
    _config: _checks.mapping,
    str: _checks.text,
    os.fspath: _checks.path,
}
"""How an argument is checked whose variable is parsed so."""


def _system(key: str) -> tuple[str, str, str]:
    """A key of Ray's `_system_config`, which its environment knows by the same name."""
    return key, f"_system_config={{'{key}': …}}", f"SKATE_{key} RAY_{key}"


_ROWS = (
    Setting("address", "address=", "SKATE_ADDRESS RAY_ADDRESS", str, None,
            "`local`, or the Ray cluster to work on; RAY_ADDRESS counts if Ray is installed",
            "local"),
    Setting("num_cpus", "num_cpus=", "SKATE_NUM_CPUS", _number, None,
            "How many CPUs tasks may use at once", "those that this process may use"),
    Setting("num_gpus", "num_gpus=", "SKATE_NUM_GPUS", _number, None,
            "How many GPUs tasks may use at once", "those that the driver lists"),
    Setting("object_store_memory", "object_store_memory=", "SKATE_OBJECT_STORE_MEMORY", _number,
            None, "Bytes of shared memory for values",
            "30 % of the memory that this process may use, at most 200 GB"),
    Setting("object_spilling_directory", "object_spilling_directory=",
            "SKATE_SPILL_DIR SKATE_object_spilling_directory RAY_object_spilling_directory",
            os.fspath, None, "Where values go that the store has no room for",
            "the first on disk of TMPDIR, /var/tmp, /tmp"),
    Setting("object_spilling_limit", "object_spilling_limit=", "SKATE_SPILL_LIMIT", _number, None,
            "At most so many bytes are spilled at once", "what leaves 5 % of the disk free"),
    Setting("local_mode", "local_mode=", "SKATE_LOCAL_MODE", _flag, "0",
            "Everything runs in this process, for debuggers"),
    Setting("log_to_driver", "log_to_driver=", "SKATE_LOG_TO_DRIVER", _flag, "1",
            "What workers write appears here"),
    Setting("dedup_logs", "", "SKATE_DEDUP_LOGS RAY_DEDUP_LOGS", _flag, "1",
            "Of lines that several workers write alike within 5 s one is shown, then their number"),
    Setting("color_prefix", "", "SKATE_COLOR_PREFIX RAY_COLOR_PREFIX", _flag, "1",
            "On a terminal labels of lines have colours; NO_COLOR switches them off, too"),
    Setting("preload", "preload=", "SKATE_PRELOAD", _names, "",
            "Modules that are imported once, before workers are forked, and not by each; commas "
            "between their names", "none"),
    Setting("namespace", "namespace=", "SKATE_NAMESPACE", str, None, "For names of actors",
            "a fresh one for each session"),
    Setting("enable_auto_connect", "", "SKATE_ENABLE_AUTO_CONNECT RAY_ENABLE_AUTO_CONNECT", _flag,
            "1", "The first call starts a session when there is none"),
    Setting("ignore_unhandled_errors", "",
            "SKATE_IGNORE_UNHANDLED_ERRORS RAY_IGNORE_UNHANDLED_ERRORS", _flag, "0",
            "Errors that nobody fetched are not printed"),
    Setting("error_arguments", "", "SKATE_ERROR_ARGUMENTS", _flag, "1",
            "Errors of tasks show plain arguments, cut; of others kind and size"),
    Setting("inspect", "", "SKATE_INSPECT", _flag, "1",
            "`skate status`, `list`, `top`, ... of the same user may look at this session"),
    Setting("full_traceback", "", "SKATE_FULL_TRACEBACK", _flag, "0",
            "Tracebacks keep the frames of skate itself"),
    Setting("as_ray", "install_as_ray()", "SKATE_AS_RAY", str, "",
            "`1`: `import ray` means skate; `shadow`: even if Ray is installed", "off"),
    Setting("noset_cuda_visible_devices", "",
            "SKATE_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES "
            "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES", _flag, "0",
            "Workers leave CUDA_VISIBLE_DEVICES as it is"),
    Setting(*_system("memory_usage_threshold"), _number, "0.95",
            "Above this share of the machine's memory tasks are held back, or stopped"),
    Setting(*_system("memory_monitor_refresh_ms"), _number, "250",
            "Milliseconds between two looks at memory; 0: nobody looks"),
    Setting(*_system("task_oom_retries"), _number, "-1",
            "How often a task is run again that was stopped for memory; -1: for ever"),
    Setting(*_system("automatic_object_spilling_enabled"), _flag, "1",
            "Values may go to disk at all"),
    Setting(*_system("local_fs_capacity_threshold"), _number, "0.95",
            "Up to this share the disk may be filled"),
    Setting(*_system("object_spilling_config"), _config, None,
            "Ray's JSON that names a directory: "
            '`{"type": "filesystem", "params": {"directory_path": "/d"}}`', "none"),
    Setting("cache_dir", "", "SKATE_CACHE_DIR", str, None,
            "Where packages of a runtime_env are installed", "$XDG_CACHE_HOME/skate"),
    Setting("memory_root", "", "SKATE_MEMORY_ROOT", str, "/",
            "Where the kernel's files about memory are; for tests"),
)  # fmt: skip
TABLE = {row.name: row for row in _ROWS}
"""All of them, by name."""

SYSTEM_CONFIG = {
    "object_spilling_directory",
    *(row.name for row in _ROWS if row.argument.startswith("_system_config")),
}
"""Keys of Ray's `_system_config` that are honoured."""

_said: dict[str, Any] = {}  # by the program, in its last `init`


def remember(said: dict[str, Any]) -> None:
    """Remembers what the program said, for `rows`."""
    _said.clear()
    _said.update(said)


def check(said: dict[str, Any]) -> None:
    """Checks all settings, given what the program says: many are first read long after `init`.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: a variable of the environment makes no sense.
    """
    for name in TABLE:
        find(name, said.get(name))


def value(name: str, argument: Any = None) -> Any:
    """What a setting is, given what the program says of it; None if the default is worked out.

    Raises:
        TypeError: the argument is of another kind.
        ValueError: a variable of the environment makes no sense.
    """
    return find(name, argument)[0]


def find(name: str, argument: Any = None) -> tuple[Any, str]:
    """The same, and where it comes from: the argument, a variable's name, or `default`."""
    row = TABLE[name]
    if argument is not None:
        return _taken(row, argument), row.argument
    for variable in row.variables:
        text = os.environ.get(variable)
        if text is None or (not text and row.parse is not _flag):
            continue
        try:
            return row.parse(text), variable
        except ValueError as error:
            msg = f"{variable}={text!r} {error}"
            raise ValueError(msg) from None
    return None if row.default is None else row.parse(row.default), "default"


def _taken(row: Setting, argument: Any) -> Any:
    what = f"init: {row.name}"
    if isinstance(argument, str) and row.name in SYSTEM_CONFIG:  # Ray's keys may be texts
        try:
            return row.parse(argument)
        except ValueError as error:
            msg = f"{what}={argument!r} {error}"
            raise ValueError(msg) from None
    take = _TAKES.get(row.parse)
    return argument if take is None else take(what, argument)


def rows() -> list[tuple[str, str, str]]:
    """Name, value and source of every setting, as they are now: for `skate doctor`.

    The source is the argument of the last `init`, a variable of the environment, or `default`.
    """
    found = []
    for row in _ROWS:
        try:
            now, source = find(row.name, _said.get(row.name))
        except (TypeError, ValueError) as error:
            found.append((row.name, "?", str(error)))
            continue
        is_usual = source == "default"
        found.append((row.name, row.usual if is_usual else str(now), source))
    return found
