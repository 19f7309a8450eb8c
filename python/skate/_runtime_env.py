"""`runtime_env`: what a task, an actor or a whole session finds around it.

    init(runtime_env=...)     ─▶ every worker, when it starts, for good
    actor's option            ─▶ its process, before its class is unpickled, for good
    task's option             ─▶ its worker while it runs; taken back when it has ended
    what these start          ─▶ the same, with what it names itself on top
    pip, uv                   ─▶ one more directory on the search path: see `_packages`

Invariant: after a task its worker is as before: variables, directory, search path; modules that
were imported from its directories are forgotten. Files are used where they are: nothing is copied,
so `excludes` has nothing to exclude.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from types import ModuleType

from skate._packages import INSTALLERS, directory, spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

    _Before: TypeAlias = tuple[dict[str, Any], dict[str, str | None], list[str], int | None]

_KNOWN = frozenset({"env_vars", "working_dir", "py_modules", *INSTALLERS})
_OF_SESSIONS = "worker_process_setup_hook"
_IGNORED = frozenset({"config", "excludes", "_ray_release", "_ray_commit", "_inject_current_ray"})
_ELSEWHERE = ("conda", "py_executable", "image_uri", "container")
_namespace: Callable[[object], dict[str, Any] | None] = vars(ModuleType)["__dict__"].__get__
_PACKAGES = "packages"  # what `plain` makes of an installer's part

current: dict[str, Any] = {}
"""That of the session, the actor and the running task, merged: what they start inherits it."""


def check(  # noqa: C901 - one branch for each part
    name: str, value: Mapping[str, Any] | None, *, is_session: bool = False
) -> None:
    """Checks a `runtime_env`.

    Raises:
        TypeError: a part has the wrong type.
        ValueError: a part is unknown, cannot be had here, or names a directory that is not there; a
            variable cannot have that name or value.
    """
    for part, content in (value or {}).items():
        if not content or part in _IGNORED:
            continue
        if part == "env_vars":
            _check_variables(name, content)
        elif part == "working_dir":
            _directory(name, content)
        elif part == "py_modules":
            if isinstance(content, str):
                msg = f"{name}: py_modules must be a list, not {content!r}"
                raise TypeError(msg)
            for each in content:
                _module(name, each)
        elif part in INSTALLERS:
            spec(name, part, content)
        elif part == _PACKAGES:
            continue  # the context of a task has handed it out
        elif part != _OF_SESSIONS:
            msg = f"{name} with {part!r}: " + (
                "workers run the driver's interpreter: use 'pip' or 'uv', or install it there"
                if part in _ELSEWHERE
                else f"skate knows {sorted(_KNOWN)} and, for init, {_OF_SESSIONS!r}"
            )
            raise ValueError(msg)
        elif not is_session:
            msg = f"{name} with {part!r}: it belongs to init(runtime_env=...)"
            raise ValueError(msg)


def _check_variables(name: str, variables: Any) -> None:
    if not isinstance(variables, dict) or not all(
        isinstance(each, str) for pair in variables.items() for each in pair
    ):
        msg = f"{name}: env_vars must be of type Dict[str, str], but is {variables!r}"
        raise TypeError(msg)
    for variable, text in variables.items():
        if not variable or "=" in variable or not _is_plain(variable) or not _is_plain(text):
            msg = f"{name}: env_vars has {variable!r}, whose name or value no variable can have"
            raise ValueError(msg)


def _is_plain(text: str) -> bool:
    """Whether the system can have it: no NUL, nothing that is no character."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _directory(name: str, path: Any) -> str:
    text = str(os.fspath(path))
    if "://" in text or not os.path.isdir(text):  # noqa: PTH112 - pathlib is slow to import
        msg = f"{name}: {text!r} is no directory here; skate uses files where they are"
        raise ValueError(msg)
    return os.path.abspath(text)  # noqa: PTH100 - the same


def _module(name: str, given: Any) -> str:
    """The absolute path of a package or module of a `py_modules` list."""
    path = getattr(given, "__file__", None) or given
    if not isinstance(path, str | os.PathLike):
        msg = f"{name}: py_modules has {given!r}, which is neither a path nor a module"
        raise TypeError(msg)
    text = os.path.abspath(os.fspath(path))  # noqa: PTH100 - the same
    if os.path.basename(text) == "__init__.py":  # noqa: PTH119 - the same
        text = os.path.dirname(text)  # noqa: PTH120 - the same
    if not os.path.exists(text):  # noqa: PTH110 - the same
        msg = f"{name}: py_modules has {text!r}, which is not there"
        raise ValueError(msg)
    return text


def plain(value: Mapping[str, Any] | None) -> dict[str, Any]:
    """A checked `runtime_env` with absolute paths: strings, lists and dicts only; {} for none.

    What it gives it takes again and leaves as it is: inherited environments pass here once more.
    """
    found: dict[str, Any] = {}
    for part, content in (value or {}).items():
        if not content:
            continue
        if part == "env_vars":
            found[part] = dict(content)
        elif part == "working_dir":
            found[part] = _directory(part, content)
        elif part == "py_modules":
            found[part] = [_module(part, each) for each in content]
        elif part in INSTALLERS:
            found[_PACKAGES] = spec(part, part, content)
        elif part == _PACKAGES:
            found[part] = content
    return found


def prepare(value: Mapping[str, Any]) -> None:
    """Installs the packages of a session, so that a failure is an error of `init`."""
    if packages := plain(value).get(_PACKAGES):
        directory(packages)


def merged(outer: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    """The inner one on top of the outer: variables one by one, anything else as a whole."""
    together = {**outer, **inner}
    if "env_vars" in outer and "env_vars" in inner:
        together["env_vars"] = {**outer["env_vars"], **inner["env_vars"]}
    return together


def inherited(options: dict[str, Any]) -> dict[str, Any]:
    """Options of what is started here, with the environment of what starts it."""
    if not current:
        return options
    own = plain(options.get("runtime_env"))
    return {**options, "runtime_env": merged(current, own)}


class Applied:
    """An environment in force: until the end of a `with` block, or for good if it has none."""

    def __init__(self, env: dict[str, Any]) -> None:
        self._env = env
        self._directories: list[str] = []
        self._before: _Before | None = None

    def __enter__(self) -> None:
        variables = self._env.get("env_vars", {})
        self._before = (
            dict(current),
            {name: os.environ.get(name) for name in variables},
            list(sys.path),
            # Not its name: it may be moved or removed until it is returned to.
            os.open(".", os.O_PATH) if "working_dir" in self._env else None,
        )
        try:
            self.for_good()
        except BaseException:
            self.__exit__()
            raise

    def for_good(self) -> None:
        """Applies it."""
        self._directories = self._found()
        current.update(merged(current, self._env))
        os.environ.update(self._env.get("env_vars", {}))
        working_dir = self._env.get("working_dir")
        if working_dir:
            os.chdir(working_dir)
        sys.path[:0] = self._directories

    def _found(self) -> list[str]:
        """The directories for the search path; installs packages that are not there."""
        first = [self._env["working_dir"]] if "working_dir" in self._env else []
        modules = [os.path.dirname(each) for each in self._env.get("py_modules", [])]  # noqa: PTH120 - pathlib is slow to import
        packages = self._env.get(_PACKAGES)
        last = [directory(packages)] if packages else []
        return [*first, *modules, *last]

    # A cancel that comes here is late: see `_worker`.
    def __exit__(self, *_: object) -> None:
        assert self._before is not None  # noqa: S101 - it was entered
        before, variables, path, cwd = self._before
        if cwd is not None:
            with suppress(OSError):  # the task has closed all descriptors that there are
                os.fchdir(cwd)
                os.close(cwd)
        current.clear()
        current.update(before)
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        directories = [each for each in self._directories if each not in path]
        sys.path[:] = path
        for name, module in list(sys.modules.items()):
            file = _file(module)
            if isinstance(file, str) and any(
                file.startswith(each + os.sep) for each in directories
            ):
                sys.modules.pop(name, None)  # the end of another one may have taken it out


def _file(module: object) -> Any:
    """Where a module comes from. To ask it could run code: a lazy one imports itself, or raises."""
    if issubclass(type(module), ModuleType):
        return (_namespace(module) or {}).get("__file__")  # None: it was never made
    with suppress(Exception):
        return module.__file__  # type: ignore[attr-defined]  # what a module put in its own place
    return None


def in_env(
    function: Callable[..., Any], data: bytes, env: dict[str, Any], *, is_generator: bool
) -> Callable[..., Any]:
    """A function that runs in an environment; unpickled there, too.

    Args:
        function: The plain function, for its names.
        data: The same, pickled.
        env: From `plain`.
        is_generator: Whether its body has a `yield`.
    """
    from functools import partial

    from skate._within import within

    return within(partial(Applied, env), function, data, is_generator=is_generator)


class ClassInEnv:
    """A class that is unpickled in an environment, which then stays."""

    def __init__(self, data: bytes, env: dict[str, Any]) -> None:
        self._parts = data, env

    def __reduce__(self) -> tuple[Any, ...]:
        return _enter_for_good, self._parts


def _enter_for_good(data: bytes, env: dict[str, Any]) -> Any:
    import pickle

    Applied(env).for_good()
    return pickle.loads(data)


def enter_worker(plain: dict[str, Any], hook: str | list[str] | None) -> None:
    """The environment of a session, in a worker of it, before anything else is unpickled."""
    Applied(plain).for_good()
    if hook is None:
        return
    if isinstance(hook, str):
        from importlib import import_module

        module, _, name = hook.rpartition(".")
        getattr(import_module(module), name)()
        return
    import pickle
    from base64 import b85decode

    pickle.loads(b85decode(hook[0]))()
