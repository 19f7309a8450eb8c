"""How the zygote is started, and what it is told of the driver.

Invariant: workers import what the driver imports: the same interpreter with the same switches, the
same `sys.path`, the same directory. Both texts are plain ASCII, whatever the locale.
"""

from __future__ import annotations

import os
import sys

from skate import _settings
from skate._notebook import is_notebook
from skate._records import driver_level

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def zygote_argv() -> list[str]:
    """An interpreter like this one, that imports from where this one imports."""
    if not sys.executable:
        from skate.exceptions import RaySystemError

        msg = "sys.executable is empty, so no worker process can be started"
        raise RaySystemError(msg)
    flags = sys.flags
    switches = {
        "B": flags.dont_write_bytecode,
        "E": flags.ignore_environment,
        "I": flags.isolated,
        "O": flags.optimize,
        "P": flags.safe_path,
        "S": flags.no_site,
        "b": flags.bytes_warning,
        "s": flags.no_user_site,
    }
    argv = [
        sys.executable,
        *(f"-{letter * int(count)}" for letter, count in switches.items() if count),
    ]
    for name, value in sys._xoptions.items():  # noqa: SLF001 - documented in `sys`
        if name not in {"importtime", "showrefcount"}:  # they write to stderr
            argv += ["-X", name if value is True else f"{name}={value}"]
    for option in sys.warnoptions:
        argv += ["-W", option]
    # The zygote's own imports must not find a `json.py` of the user's beside the script: the
    # standard library comes first for them. `hello` gives workers the path as it is here.
    library = os.path.dirname(os.__file__)  # noqa: PTH120 - pathlib is slow to import
    own = {library, os.path.join(library, "lib-dynload")}  # noqa: PTH118 - the same
    path = sorted(_strings(sys.path), key=lambda entry: entry not in own)
    # Plain ASCII, whatever the locale of the interpreter that reads it.
    code = f"import sys; sys.path[:] = {path!a}; from skate._zygote import main; main()"
    return [*argv, "-c", code]


def hello(
    session: str,
    namespace: str,
    runtime_env: dict[str, Any] | None,
    preload: list[str],
    labels: dict[str, str],
) -> bytes:
    """The first message to the zygote: JSON by hand, because `json` takes 8 ms to import."""

    def text(value: str) -> str:
        escaped = (
            char if " " <= char <= "~" and char not in '"\\' else _escape(char) for char in value
        )
        return f'"{"".join(escaped)}"'

    def texts(values: list[str]) -> str:
        return f"[{','.join(text(value) for value in _strings(values))}]"

    pairs = ",".join(f"{text(name)}:{text(value)}" for name, value in labels.items())
    try:
        cwd = os.getcwd()  # noqa: PTH109 - pathlib is slow to import
    except OSError:  # it was removed: workers are in it all the same, as children of this process
        cwd = ""
    return (
        f'{{"op":"hello","session":{text(session)},"driver_pid":{os.getpid()},"cwd":{text(cwd)},'
        f'"namespace":{text(namespace)},"as_ray":{_is_as_ray()},'
        f'"runtime_env":{_environment(runtime_env)},"log_level":{driver_level()},'
        f'"inspect":{_flag(on=_settings.value("inspect"))},"cells":{_flag(on=is_notebook())},'
        f'"preload":{texts(preload)},"labels":{{{pairs}}},"sys_path":{texts(sys.path)},'
        f'"argv":{texts(getattr(sys, "argv", []))}}}'
    ).encode("ascii")


def _environment(runtime_env: dict[str, Any] | None) -> str:
    """A `runtime_env` of the whole session as JSON; its hook pickled."""
    if not runtime_env:
        return "null"
    import json

    from skate._runtime_env import plain

    hook = runtime_env.get("worker_process_setup_hook")
    packed = hook if isinstance(hook, str) or hook is None else _packed(hook)
    return json.dumps({"plain": plain(runtime_env), "hook": packed})


def _packed(hook: object) -> list[str]:
    from base64 import b85encode

    from skate._serialization import dumps_function

    return [b85encode(dumps_function(hook, "worker_process_setup_hook")).decode("ascii")]


def _flag(*, on: bool) -> str:
    return "true" if on else "false"


def _is_as_ray() -> str:
    """Whether `import ray` means skate here: JSON."""
    from_ray = sys.modules.get("skate._as_ray")  # it is imported by whoever installs the finder
    return _flag(on=from_ray is not None and from_ray.finder() is not None)


def _strings(values: list[Any]) -> list[str]:
    """Those that are strings. Programs put other things into `sys.path`, which imports ignore."""
    return [value for value in values if isinstance(value, str)]


def _escape(char: str) -> str:
    code = ord(char)
    if code > 0xFFFF:  # noqa: PLR2004 - JSON has UTF-16 escapes
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
    return f"\\u{code:04x}"
