"""Writes the table of docs/ray.md from the names that skate itself uses.

python docs/ray_table.py           writes it
python docs/ray_table.py --check   fails if it is not as it would be written
"""

import sys
from pathlib import Path

from skate._ray_names import TABLE
from skate._session import _EMPTY_ONLY, _WITHOUT_EFFECT

PAGE = Path(__file__).parent / "ray.md"
BEGIN, END = "<!-- names: begin -->\n", "<!-- names: end -->\n"


def table() -> str:
    """The rows, sorted by name, in GitHub's Markdown."""
    rows = {f"`{name}`": treatment for name, treatment in TABLE.items()}
    lines = ["| name | skate | |", "|---|---|---|"]
    lines += [f"| {name} | {how} | {note} |" for name, (how, note) in sorted(rows.items())]
    ignored = ", ".join(f"`{name}`" for name in sorted(_WITHOUT_EFFECT))
    empty = ", ".join(f"`{name}`" for name in sorted(_EMPTY_ONLY))
    lines += ["", f"Parameters of `ray.init` that are ignored: {ignored}."]
    lines += ["", f"Parameters of `ray.init` that may only be empty: {empty}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Puts the table between the marks."""
    page = PAGE.read_text()
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    written = f"{head}{BEGIN}{table()}{END}{tail}"
    if "--check" in sys.argv:
        sys.exit("docs/ray.md is not up to date" if written != page else 0)
    PAGE.write_text(written)


if __name__ == "__main__":
    main()
