"""Writes the table of docs/settings.md from the one that skate itself reads.

python docs/settings_table.py           writes it
python docs/settings_table.py --check   fails if it is not as it would be written
"""

import sys
from pathlib import Path

from skate._settings import TABLE

PAGE = Path(__file__).parent / "settings.md"
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"


def table() -> str:
    """The rows, in the order of the module."""
    lines = ["| setting | argument | environment | default | |", "|---|---|---|---|---|"]
    for row in TABLE.values():
        argument = f"`{row.argument}`" if row.argument else ""
        variables = ", ".join(f"`{each}`" for each in row.variables)
        lines.append(f"| {row.name} | {argument} | {variables} | {row.usual} | {row.meaning} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Puts the table between the marks."""
    page = PAGE.read_text()
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    written = f"{head}{BEGIN}{table()}{END}{tail}"
    if "--check" in sys.argv:
        sys.exit("docs/settings.md is not up to date" if written != page else 0)
    PAGE.write_text(written)


if __name__ == "__main__":
    main()
