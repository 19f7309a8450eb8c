"""List the names of Ray that a program uses, and how skate treats each.

same: as in Ray. differs: more, or otherwise on purpose. ignored: accepted without effect.
missing: not there; the note names the nearest way. The exit code is 1 if anything is missing.
"""

from __future__ import annotations

import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Programs."""
    parser.add_argument("programs", nargs="+", type=Path, metavar="PROGRAM")


def main(parsed: argparse.Namespace) -> int:
    """Prints a table for each program."""
    from skate._ray_uses import report, uses_in

    is_missing = False
    for path in parsed.programs:
        try:
            uses = uses_in(path.read_bytes(), str(path))
        except OSError as error:
            print(f"skate check: {path}: {error.strerror}", file=sys.stderr)  # noqa: T201
            return 2
        except (SyntaxError, ValueError) as error:
            print(f"skate check: {path} is no Python program: {error}", file=sys.stderr)  # noqa: T201
            return 2
        except RecursionError:
            print(f"skate check: {path} is nested too deeply to be read", file=sys.stderr)  # noqa: T201
            return 2
        lines, missing = report(str(path), uses)
        print("\n".join(lines))  # noqa: T201 - it is the result
        is_missing = is_missing or missing
    return 1 if is_missing else 0
