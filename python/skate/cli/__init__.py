"""The program `skate`: one subcommand for each module of this package.

    skate check prog.py ─▶ cli.check.arguments(parser) ─▶ cli.check.main(namespace) ─▶ exit code

Invariant: a module without an underscore is a subcommand. The first line of its docstring is its
help; `arguments` tells argparse what it takes; `main` does it and returns the exit code. One that
starts another program has a `split`, too: what it cuts off is `rest`, which argparse never sees.
Only the one that is asked for is imported, unless help is asked for. What cannot be done is
`Refused`: one line on stderr that says what is wrong, and the exit code 2. stdout and Ctrl-C are
those of the program, if one is started.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

_INTERRUPTED = 130
"""The exit code that shells give for Ctrl-C."""


class Refused(Exception):  # noqa: N818 - it is an answer, not a failure of the program
    """What was asked for cannot be done; the text is one line for people."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def commands() -> list[str]:
    """Names of the subcommands, sorted."""
    from pkgutil import iter_modules

    return sorted(each.name for each in iter_modules(__path__) if not each.name.startswith("_"))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand.

    Args:
        argv: Without the program's own name; by default that of this process.

    Returns:
        The exit code: 0, or what the subcommand says.
    """
    arguments = [*(sys.argv[1:] if argv is None else argv)]  # `list` is a subcommand here
    names = commands()
    asked = [arguments[0]] if arguments and arguments[0] in names else names
    parser = _Parser(
        prog="skate", description="Python functions and generators in parallel worker processes."
    )
    from skate._version import __version__

    parser.add_argument("--version", action="version", version=f"skate {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in asked:
        module = import_module(f"skate.cli.{name}")
        text = (module.__doc__ or "").strip()
        parts = text.split("\n\n")
        sub = subparsers.add_parser(
            name,
            help=parts[0].rstrip("."),
            description="\n\n".join(parts[:2]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.arguments(sub)
    rest: list[str] = []
    if len(asked) == 1:
        cut = getattr(import_module(f"skate.cli.{asked[0]}"), "split", None)
        if cut is not None:
            own, rest = cut(arguments[1:])
            arguments = [asked[0], *own]
    parsed = parser.parse_args(arguments, argparse.Namespace(rest=rest))
    command = import_module(f"skate.cli.{parsed.command}")
    starts_another = hasattr(command, "split")
    if not starts_another and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # bars and names, in a terminal of ASCII
    code = 0
    try:
        code = command.main(parsed)
        if not getattr(sys.stdout, "closed", True):  # a program may have closed it, or set None
            sys.stdout.flush()
    except Refused as refused:
        print(f"skate {parsed.command}: {refused}", file=sys.stderr)  # noqa: T201 - for people
        return 2
    except BrokenPipeError:  # `skate list tasks | head`: enough was seen
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - till the exit
    except KeyboardInterrupt:
        if starts_another:
            raise
        return _INTERRUPTED
    return code
