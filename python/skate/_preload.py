"""Modules that the zygote imports once, so that no worker has to.

    init(preload=["pandas"]) ─▶ hello ─▶ zygote imports it ─ fork ─▶ every worker has it

Invariant: preloading changes when a module is imported, never whether a program works. What cannot
be imported ahead of the workers is said on stderr, if that takes it, and imported where it is used,
as ever. No session begins meanwhile.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from contextlib import suppress

from skate import _checks, _settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_REFUSAL = "a module that init preloads is imported before there are workers, and has no session."


def check(preload: Sequence[str] | None) -> list[str]:
    """In the driver: the modules to preload, from the argument of `init` or the environment.

    Raises:
        TypeError: not a list of names.
        ModuleNotFoundError: there is no such module.
    """
    names, source = _settings.find("preload", preload)
    is_list = isinstance(names, Collection) and not isinstance(names, str)
    if not is_list or not all(isinstance(name, str) for name in names):
        raise TypeError(_checks.refusal("init: preload", names, "a list of modules' names"))
    if names:
        for name in names:
            # Of a submodule only the package is looked for: to look inside would import it.
            if not _is_there(name.partition(".")[0]):
                msg = f"init: preload names {name!r} ({source}), and there is no such module"
                raise ModuleNotFoundError(msg, name=name)
    return list(names)


def _is_there(name: str) -> bool:
    from importlib.util import find_spec

    try:
        return bool(name) and find_spec(name) is not None
    except ValueError:  # it is imported, and has no spec: `__main__`, or a module made by hand
        return True


def preload(hello: dict[str, Any]) -> None:
    """In the zygote, which finds what a worker would find."""
    from importlib import import_module

    from skate import _session, _worker

    own_path = sys.path[:]
    _worker.find_modules_like_the_driver(hello)
    _session.refuse(_REFUSAL)
    for name in hello["preload"]:
        threads = _threads()
        try:
            import_module(name)
        except BaseException as error:
            _say(name, f"cannot be imported ahead of the workers: {_text(error)}")
        if (started := _threads() - threads) > 0:
            _say(name, f"started {started} thread(s) when it was imported: workers have none")
    _session.refuse("")
    sys.path[:] = own_path  # the zygote itself must not find a `json.py` of the user's


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - pathlib is not imported here


def _text(error: BaseException) -> str:
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except BaseException:  # it is user code, too
        return name


def _say(name: str, what: str) -> None:
    line = f"skate: init: preload: {name} {what}\n"
    # Past `sys.stderr`, which would keep what it cannot write for each worker to say again.
    with suppress(OSError):  # a full disk, or a pipe whose reader has gone
        os.write(2, line.encode(errors="backslashreplace"))
