"""Run a program written for Ray on skate, unchanged.

`import ray` means skate in it and in its workers. What follows the program is for the program.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def split(argv: list[str]) -> tuple[list[str], list[str]]:
    """What is for `skate run`, and from the program's name on what is for the program."""
    for place, word in enumerate(argv):
        if word == "-m":
            return argv[: place + 2], argv[place + 2 :]
        if not word.startswith("-"):
            return argv[:place], argv[place:]
    return argv, []


def arguments(parser: argparse.ArgumentParser) -> None:
    """Program, its arguments, and what is installed."""
    parser.add_argument(
        "--shadow", action="store_true", help="do so although Ray itself is installed here"
    )
    parser.add_argument("-m", dest="module", metavar="MODULE", help="a module instead of a file")
    parser.usage = "skate run [--shadow] (PROGRAM | -m MODULE) [ARGUMENT ...]"


def main(parsed: argparse.Namespace) -> int:
    """Runs the program as `python` would."""
    from skate._as_ray import install_as_ray

    rest: list[str] = parsed.rest
    if parsed.module is None and not rest:
        print("skate run: say which program: skate run prog.py", file=sys.stderr)  # noqa: T201
        return 2
    try:
        install_as_ray(shadow=parsed.shadow)
    except ImportError as error:
        print(f"skate run: {error}", file=sys.stderr)  # noqa: T201 - a program's own words
        return 2
    if parsed.module is not None:
        return _run_module(parsed.module, rest)
    return _run_file(Path(rest[0]), rest)


def _run_module(name: str, rest: list[str]) -> int:
    import runpy

    sys.argv[:] = [name, *rest]
    sys.path.insert(0, str(Path.cwd()))
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except Exception as error:
        return _failed(error)
    return 0


def _run_file(path: Path, argv: list[str]) -> int:
    """The file as `__main__`, which stays so for callbacks and functions that outlive its end."""
    try:
        code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except OSError as error:
        print(f"skate run: {path}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 2
    except SyntaxError as error:
        sys.excepthook(type(error), error, None)
        return 1
    sys.argv[:] = argv
    sys.path.insert(0, str(path.resolve().parent))
    program = ModuleType("__main__")
    program.__dict__.update(__file__=str(path), __builtins__=__builtins__)
    sys.modules["__main__"] = program
    try:
        exec(code, program.__dict__)  # noqa: S102 - it is what was asked for
    except Exception as error:
        return _failed(error)
    return 0


def _failed(error: Exception) -> int:
    """Shows the program's error as `python` would: without what runs the program."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__") in {__name__, "runpy"}:
        trace = trace.tb_next
    error.__traceback__ = trace
    sys.excepthook(type(error), error, trace)
    return 1
