"""Count the tasks, actors or objects of a running driver by function, class or place."""

from __future__ import annotations

from skate.cli import _attach, _show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of what."""
    parser.add_argument("table", choices=("tasks", "actors", "objects"))
    _attach.arguments(parser)


def main(parsed: argparse.Namespace) -> int:
    """Prints a line for each function, class or place."""
    from skate.util.state import _listing

    summarize = getattr(_listing, f"summarize_{parsed.table}")
    with _attach.attach(parsed.pid) as driver:
        counted: dict[str, Any] = summarize(_source=driver)["cluster"]
    if parsed.json:
        _show.say_json(counted)
        return 0
    summary = counted.pop("summary")
    states = sorted({state for row in summary.values() for state in row["state_counts"]})
    heads = [counted.pop("summary_by"), *states]
    rows = [
        [name, *(row["state_counts"].get(state, 0) for state in states)]
        for name, row in summary.items()
    ]
    if parsed.table == "objects":
        heads.append("bytes")
        rows = [[*row, summary[row[0]]["total_size_bytes"]] for row in rows]
    if rows:
        _show.say(*_show.table(heads, rows))
    _show.say(", ".join(f"{name.replace('_', ' ')}: {count:,}" for name, count in counted.items()))
    return 0
