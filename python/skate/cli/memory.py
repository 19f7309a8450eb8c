"""Show what fills the store of a running driver: the largest values, and who keeps them."""

from __future__ import annotations

from skate._plots import size
from skate.cli import _attach, _show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """How many values."""
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="at most N values (20)")
    _attach.arguments(parser)


def main(parsed: argparse.Namespace) -> int:
    """Prints the store and the values."""
    from skate.cli import Refused
    from skate.util.state._listing import rows_of

    with _attach.attach(parsed.pid) as driver:
        try:
            rows = rows_of(
                "objects", None, parsed.limit, detail=True, source=driver, function="memory"
            )
        except ValueError as error:
            raise Refused(str(error).removeprefix("memory: ")) from None
        counters = driver.statistics()
    if parsed.json:
        _show.say_json({"statistics": counters, "objects": [row.asdict() for row in rows]})
        return 0
    used, capacity = counters["used_bytes"], counters["capacity_bytes"]
    _show.say(
        f"store: {size(used)} of {size(capacity)} in use, "
        f"{counters['pins']:,} views; on disk: {size(counters['spilled_bytes'])} "
        f"in {counters['spilled_objects']:,} values"
    )
    heads = ("object_id", "size", "place", "made_by", "kept by")
    shown = [
        (row.object_id, size(row.object_size), row.place, row.made_by, _keepers(row))
        for row in rows
    ]
    if shown:
        _show.say("", *_show.table(heads, shown))
    _show.say(f"{len(rows):,} of {rows.total:,} objects")
    return 0


def _keepers(row: object) -> str:
    words = {
        "REF": "refs of", "VIEW": "views of", "GET": "get of", "ARGUMENT": "argument of",
        "CONTAINED": "inside", "UNREAD": "unread in",
    }  # fmt: skip
    parts = []
    for holder in row["held_by"] or []:  # type: ignore[index]
        if holder["kind"] == "OTHERS":
            parts.append(f"{holder['count']:,} others")
            continue
        who = f"pid {holder['pid']}" if holder["pid"] else holder["by"]
        count = f"{holder['count']} " if holder["kind"] in {"REF", "VIEW"} else ""
        parts.append(f"{count}{words[holder['kind']]} {who}")
    return "; ".join(parts)
