"""List the tasks, actors, objects, workers or streams of a running driver.

skate list tasks --filter state=RUNNING
skate list objects --detail --limit 5
"""

from __future__ import annotations

from skate.cli import Refused, _attach, _show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

TABLES = ("tasks", "actors", "objects", "workers", "streams", "placement_groups", "nodes", "jobs")
_SHOWN = {
    "tasks": ("task_id", "name", "state", "worker_pid", "sleeps_in", "error_type"),
    "actors": ("actor_id", "class_name", "name", "state", "pid", "num_restarts", "death_cause"),
    "objects": ("object_id", "state", "object_size", "place", "num_holders", "pinned_by"),
    "workers": ("pid", "worker_type", "state", "task_name", "num_queued", "sleeps_in", "worker_id"),
    "placement_groups": ("placement_group_id", "name", "state", "strategy"),
}
"""Columns for people; the other tables are narrow."""


def table_name(text: str) -> str:
    """A table, as it is said on a command line: placement-groups, too."""
    name = text.replace("-", "_")
    if name not in TABLES:
        import argparse

        msg = f"there is no table {text!r}; there are {', '.join(TABLES)}"
        raise argparse.ArgumentTypeError(msg)
    return name


def condition(text: str) -> tuple[str, str, str]:
    """A filter as it is said on a command line."""
    for operator in ("!=", "="):
        key, found, value = text.partition(operator)
        if found and key:
            return key.strip(), operator, value.strip()
    import argparse

    msg = f"{text!r} is no condition: expected KEY=VALUE or KEY!=VALUE"
    raise argparse.ArgumentTypeError(msg)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which table, and which of its rows."""
    parser.add_argument("table", type=table_name, metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument(
        "-f", "--filter", action="append", type=condition, metavar="KEY=VALUE",
        help="only rows with that value (or KEY!=VALUE); may be said several times",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="at most N rows (100)")
    parser.add_argument("--detail", action="store_true", help="all columns, a block for each row")
    _attach.arguments(parser)


def main(parsed: argparse.Namespace) -> int:
    """Prints the rows."""
    from skate.util.state._listing import rows_of

    name: str = parsed.table
    is_detailed = parsed.detail or parsed.json
    with _attach.attach(parsed.pid) as driver:
        try:
            rows = rows_of(name, parsed.filter, parsed.limit, detail=is_detailed, source=driver)
        except ValueError as error:
            raise Refused(str(error).removeprefix(f"list_{name}: ")) from None
    dicts: list[dict[str, Any]] = [row.asdict() for row in rows]
    if parsed.json:
        _show.say_json(dicts)
        return 0
    if parsed.detail:
        for row in dicts:
            _show.say(*_show.record(row), "")
    elif dicts:
        heads = _SHOWN.get(name) or tuple(dicts[0])
        _show.say(*_show.table(heads, ([row[head] for head in heads] for row in dicts)))
    _show.say(f"{len(rows):,} of {rows.total:,} {name}")
    return 0
