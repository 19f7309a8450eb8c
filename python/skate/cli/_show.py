"""Tables, amounts and colours for a terminal; nothing of it when the output goes elsewhere.

Invariant: colours are used only on a terminal, and not where `NO_COLOR` is set; a line is cut to
the width of the terminal, and whole when there is none.
"""

from __future__ import annotations

import os
import shutil
import sys
from itertools import zip_longest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

_COLOURS = {
    "RUNNING": "32", "ALIVE": "32", "READY": "32", "CREATED": "32",
    "FAILED": "31", "DEAD": "31", "ERROR": "31", "DYING": "31",
    "PAUSED": "33", "BLOCKED": "33", "RESTARTING": "33",
}  # fmt: skip
_GAP = "  "


def say(*lines: str) -> None:
    """Prints the result."""
    for line in lines:
        sys.stdout.write(f"{line}\n")


def say_json(value: Any) -> None:
    """Prints the result for programs."""
    import json

    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def is_coloured() -> bool:
    """Whether the output takes colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def width() -> int | None:
    """Columns of the terminal; None if the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def one_line(text: str) -> str:
    """Text without line ends, and without what a terminal would obey."""
    return "".join(each if each.isprintable() else " " for each in text)


def cell(value: Any) -> str:
    """A value in one line."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {cell(each)}" for name, each in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(cell, value)) or "-"
    return one_line(str(value))


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Lines of a table, numbers to the right."""
    rows = list(rows)
    shown = [[cell(value) for value in row] for row in rows]
    widths = [
        max([len(head), *(len(text) for text in column)])
        for head, column in zip_longest(heads, zip(*shown, strict=True), fillvalue=())
    ]
    is_number = [
        any(isinstance(row[place], int | float) for row in rows)
        and all(isinstance(row[place], int | float | None) for row in rows)
        for place in range(len(heads))
    ]
    limit = width()
    lines = []
    for texts in [[head.upper().replace("_", " ") for head in heads], *shown]:
        padded = [
            text.rjust(size) if right else text.ljust(size)
            for text, size, right in zip(texts, widths, is_number, strict=True)
        ]
        lines.append(_GAP.join(padded).rstrip()[:limit])
    return [lines[0], *(coloured(line) for line in lines[1:])] if is_coloured() else lines


def coloured(line: str) -> str:
    """A line with its states in colour."""
    for word, colour in _COLOURS.items():
        line = line.replace(f" {word}", f" \x1b[{colour}m{word}\x1b[0m")
    return line


def record(row: dict[str, Any]) -> list[str]:
    """One row as lines of name and value."""
    size = max(map(len, row))
    return [f"{name.ljust(size)}  {cell(value)}" for name, value in row.items()]
