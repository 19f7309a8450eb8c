"""Packages of a `runtime_env`: installed once into a directory, which workers search first.

    {"pip": [...]} ─ spec ─▶ hash ─▶ CACHE/packages/HASH ─ there ─▶ first on sys.path
                                        └─ lock, install beside it, rename ─┘

Invariant: a directory of the cache is complete or absent, whoever dies while it is made, and never
changes. The lock is the kernel's, so it goes with its last holder: the process that wants the
packages and the installer that it has started. What a worker has imported already stays imported:
an environment for a whole session is the place for what everybody imports.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict

    class Spec(TypedDict):
        """What is to be installed, and how."""

        installer: str
        packages: list[str]
        options: list[str]


INSTALLERS = ("pip", "uv")
_OPTIONS = {"pip": "pip_install_options", "uv": "uv_pip_install_options"}
_TOLD = 2000  # characters of what the installer said, in an error


def spec(name: str, installer: str, content: Any) -> Spec:
    """What a `runtime_env` asks for, checked; a requirements file is read.

    Args:
        name: Where it stands, for messages.
        installer: `pip` or `uv`.
        content: A list of requirements, the path of a file of them, or a dict with `packages`.

    Raises:
        TypeError: it is something else.
        ValueError: a key is unknown, or the file is not there.
    """
    options: list[str] = []
    if isinstance(content, dict):
        known = {"packages", _OPTIONS[installer], f"{installer}_check"}
        if unknown := sorted(content.keys() - known):
            msg = f"{name}: {installer} has {unknown}; skate knows {sorted(known)}"
            raise ValueError(msg)
        options = list(content.get(_OPTIONS[installer], []))
        content = content.get("packages", [])
    if isinstance(content, str):
        try:
            with open(content, encoding="utf-8") as file:  # noqa: PTH123 - pathlib is slow
                lines = [line.partition(" #")[0].strip() for line in file]
        except OSError as error:
            msg = f"{name}: {installer}: requirements file {content!r}: {error.strerror}"
            raise ValueError(msg) from None
        content = [line for line in lines if line and not line.startswith("#")]
    if not isinstance(content, list) or not all(isinstance(each, str) for each in content):
        msg = (
            f"{name}: {installer} must be a list of requirements, the path of a requirements file "
            f"or a dict with 'packages', but is {content!r}"
        )
        raise TypeError(msg)
    return {"installer": installer, "packages": [_absolute(each) for each in content],
            "options": options}  # fmt: skip


def _absolute(requirement: str) -> str:
    return os.path.abspath(requirement) if os.path.exists(requirement) else requirement  # noqa: PTH100, PTH110


def directory(wanted: Spec) -> str:
    """Where the packages are; installs them if nobody has.

    Raises:
        RuntimeEnvSetupError: the installer failed, or is not there; the text has what it said. Or
            the cache cannot be written.
    """
    from skate import _settings

    cache = os.path.join(_settings.value("cache_dir") or _usual_cache(), "packages")  # noqa: PTH118
    place = os.path.join(cache, _key(wanted))  # noqa: PTH118
    if os.path.isdir(place):  # noqa: PTH112
        return place
    import fcntl

    try:
        os.makedirs(cache, exist_ok=True)  # noqa: PTH103
        with open(f"{place}.lock", "w", encoding="ascii") as lock:  # noqa: PTH123
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.isdir(place):  # noqa: PTH112 - another may have made it
                _install(wanted, place, lock.fileno())
    except OSError as error:
        from skate.exceptions import RuntimeEnvSetupError

        what = wanted["installer"]
        msg = f"{what} cannot install to {cache} (SKATE_CACHE_DIR names another place): {error}"
        raise RuntimeEnvSetupError(msg) from None
    return place


def _install(wanted: Spec, place: str, lock: int) -> None:
    import shutil
    import subprocess

    from skate.exceptions import RuntimeEnvSetupError

    beside = f"{place}.partial"
    shutil.rmtree(beside, ignore_errors=True)
    argv = [*_command(wanted["installer"]), "--target", beside, *wanted["options"]]
    done = subprocess.run(  # noqa: S603 - what the user asked for
        [*argv, *wanted["packages"]],
        capture_output=True,
        text=True,
        check=False,
        pass_fds=[lock],  # one that outlives this process still keeps others away
    )
    if done.returncode:
        shutil.rmtree(beside, ignore_errors=True)
        what = " ".join(wanted["packages"])
        said = (done.stderr or done.stdout).strip()[-_TOLD:]
        msg = (
            f"{wanted['installer']} could not install {what} (exit code {done.returncode}):\n{said}"
        )
        raise RuntimeEnvSetupError(msg)
    os.makedirs(beside, exist_ok=True)  # noqa: PTH103 - an empty list installs nothing
    os.rename(beside, place)  # noqa: PTH104


def _command(installer: str) -> list[str]:
    from importlib.util import find_spec
    from shutil import which

    from skate.exceptions import RuntimeEnvSetupError

    if installer == "pip" and find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if installer == "uv":
        if find_spec("uv") is not None:
            return [
                sys.executable,
                "-m",
                "uv",
                "pip",
                "install",
                "--quiet",
                "--python",
                sys.executable,
            ]
        if found := which("uv"):
            return [found, "pip", "install", "--quiet", "--python", sys.executable]
    other = "uv" if installer == "pip" else "pip"
    msg = f"{installer} is not installed here: install it, or write {other!r} instead"
    raise RuntimeEnvSetupError(msg)


def _key(wanted: Spec) -> str:
    """Of what is installed: the words, the interpreter, and the state of local files.

    Not that of local directories: installers write into those that they install from.
    """
    from hashlib import sha256

    parts = [wanted["installer"], *wanted["options"], "--", *wanted["packages"]]
    parts += [sys.version, os.uname().machine]
    for each in wanted["packages"]:
        if os.path.isfile(each):  # noqa: PTH113
            state = os.stat(each)  # noqa: PTH116
            parts.append(f"{state.st_size} {state.st_mtime_ns}")
    return sha256("\0".join(parts).encode()).hexdigest()[:32]


def _usual_cache() -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return os.path.join(base, "skate")  # noqa: PTH118
