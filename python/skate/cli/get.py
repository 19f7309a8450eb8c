"""Show one task, actor, object or worker of a running driver, by its id.

skate get task 5f67…0001
"""

from __future__ import annotations

from skate.cli import Refused, _attach, _show
from skate.cli.list import TABLES, table_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def _table(text: str) -> str:
    return table_name(text if text.endswith("s") else f"{text}s")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which table, and which row of it."""
    kinds = ", ".join(name.removesuffix("s") for name in TABLES)
    parser.add_argument("table", type=_table, metavar="KIND", help=kinds)
    parser.add_argument("id", metavar="ID", help="as `skate list` shows it")
    _attach.arguments(parser)


def main(parsed: argparse.Namespace) -> int:
    """Prints it; several attempts of a task one after the other."""
    from skate.util.state._listing import row_of

    with _attach.attach(parsed.pid) as driver:
        found = row_of(parsed.table, parsed.id, source=driver)
    if found is None:
        kind = parsed.table.removesuffix("s")
        raise Refused(f"there is no {kind} {parsed.id} in driver {driver.pid}")
    rows = [row.asdict() for row in (found if isinstance(found, list) else [found])]
    if parsed.json:
        _show.say_json(rows if len(rows) > 1 else rows[0])
        return 0
    for row in rows:
        _show.say(*_show.record(row), *([""] if len(rows) > 1 else []))
    return 0
