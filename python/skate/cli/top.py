"""Watch a running driver: workers, tasks, streams with their buffers, and the store.

A live view where `rich` is installed (`pip install 'skate[cli]'`), plain lines elsewhere. It ends
with the driver, or by Ctrl-C.
"""

from __future__ import annotations

import sys
import time

from skate._plots import size
from skate.cli import Refused, _attach, _show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

_LEAST_S = 0.1
_MOST_S = 86_400.0


def _interval(text: str) -> float:
    seconds = float(text)
    if not _LEAST_S <= seconds <= _MOST_S:
        raise ValueError
    return seconds


def arguments(parser: argparse.ArgumentParser) -> None:
    """How often, and for how long."""
    parser.add_argument(
        "--interval", type=_interval, default=1.0, metavar="S", help="seconds between looks (1)"
    )
    parser.add_argument("-n", "--looks", type=int, default=0, metavar="N", help="end after N looks")
    parser.add_argument("--plain", action="store_true", help="lines, although rich is installed")
    _attach.arguments(parser)


def main(parsed: argparse.Namespace) -> int:
    """Shows one look after the other. That the driver ends is no error: the exit code is 0."""
    driver = _attach.attach(parsed.pid)
    looks = _looks(driver, parsed.interval, parsed.looks)
    try:
        with driver:
            if parsed.json:
                _as_json(looks)
            elif sys.stdout.isatty() and not parsed.plain and _has_rich():
                _live(looks)
            else:
                for look in looks:
                    _show.say(*lines(look), "")
                    sys.stdout.flush()
    except Refused as ended:
        print(f"skate top: {ended}", file=sys.stderr)  # noqa: T201 - a note beside the result
    except KeyboardInterrupt:
        pass
    return 0


def _has_rich() -> bool:
    from importlib.util import find_spec

    return find_spec("rich") is not None


def _looks(driver: _attach.Driver, interval_s: float, most: int) -> Iterator[dict[str, Any]]:
    """One look after the other, each with what has changed since the one before."""
    before: tuple[float, int] | None = None
    count = 0
    while True:
        look = look_at(driver)
        now, done = time.monotonic(), look.pop("ended")
        rate = (done - before[1]) / (now - before[0]) if before else None
        before = (now, done)
        yield {**look, "tasks_per_s": rate}
        count += 1
        if count == most:
            return
        time.sleep(interval_s)


def look_at(driver: _attach.Driver) -> dict[str, Any]:
    """What is shown of one moment, as plain data."""
    from skate.util.state._listing import rows_of

    history = driver.ask({"table": "history"})
    past = dict(zip(history["columns"], history["rows"][0], strict=True))
    return {
        "pid": driver.pid,
        "statistics": driver.statistics(),
        "resources": past["resources"],
        "ended": past["num_attempts"] + past["num_attempts_forgotten"],
        "workers": [row.asdict() for row in rows_of("workers", source=driver)],
        "streams": [row.asdict() for row in rows_of("streams", limit=20, source=driver)],
    }


def lines(look: dict[str, Any]) -> list[str]:
    """A look as lines."""
    return [
        *head(look),
        "",
        *_show.table(WORKER_HEADS, worker_rows(look)),
        *(["", *_show.table(STREAM_HEADS, stream_rows(look))] if look["streams"] else []),
    ]


def head(look: dict[str, Any]) -> list[str]:
    """What is true of the whole session."""
    counts = {name: f"{count:,}" for name, count in look["statistics"].items()}
    sizes = {name: size(count) for name, count in look["statistics"].items()}
    rate = look["tasks_per_s"]
    speed = "" if rate is None else f", {rate:,.0f} ended per s"
    cpus = look["resources"].get("CPU", {"total": 0, "available": 0})
    full = bar(look["statistics"]["used_bytes"], look["statistics"]["capacity_bytes"])
    tasks = (
        "{tasks_dispatched} at workers, {tasks_queued} queued, {tasks_waiting} wait for arguments"
    )
    store = "{used_bytes} of {capacity_bytes}, {spilled_bytes} on disk"
    return [
        f"driver {look['pid']}   CPU {cpus['total'] - cpus['available']:g} of {cpus['total']:g}",
        f"tasks  {tasks.format(**counts)}{speed}",
        f"store  {full} {store.format(**sizes)}, {counts['objects']} objects",
    ]


def bar(value: float, whole: float, size: int = 20) -> str:
    """How much of the whole, as a bar."""
    filled = round(size * min(value / whole, 1)) if whole else 0
    return "█" * filled + "░" * (size - filled)


WORKER_HEADS = ("pid", "state", "running", "queued", "task", "asleep in")


def worker_rows(look: dict[str, Any]) -> list[list[Any]]:
    """A row for each process but the driver."""
    return [
        [row["pid"], row["state"], row["num_running"], row["num_queued"], row["task_name"],
         row["sleeps_in"]]
        for row in look["workers"] if row["worker_type"] != "DRIVER"
    ]  # fmt: skip


STREAM_HEADS = ("stream", "state", "yielded", "unread", "buffer", "bytes", "readers")


def stream_rows(look: dict[str, Any]) -> list[list[Any]]:
    """A row for each stream, with its buffer as a bar if it has a window."""
    rows = []
    for row in look["streams"]:
        window = row["window"]
        buffer = f"{bar(row['num_unread'], window, 10)} of {window:,}" if window else "no window"
        rows.append([
            row["name"], row["state"], row["num_yielded"], row["num_unread"], buffer,
            size(row["unread_bytes"]), row["num_readers_waiting"],
        ])  # fmt: skip
    return rows


def _as_json(looks: Iterator[dict[str, Any]]) -> None:
    """A line of JSON for each look."""
    import json

    for look in looks:
        sys.stdout.write(json.dumps(look) + "\n")
        sys.stdout.flush()


def _live(looks: Iterator[dict[str, Any]]) -> None:
    """The same on a screen of its own, by rich."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    def grid(heads: tuple[str, ...], rows: list[list[Any]]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for place, name in enumerate(heads):
            is_number = bool(rows) and isinstance(rows[0][place], int)
            table.add_column(name.upper(), justify="right" if is_number else "left", no_wrap=True)
        for row in rows:
            table.add_row(
                *(Text.from_ansi(_show.coloured(f" {_show.cell(each)}")[1:]) for each in row)
            )
        return table

    def page(look: dict[str, Any]) -> Group:
        parts: list[Any] = [Text("\n".join(head(look))), Text("")]
        parts.append(grid(WORKER_HEADS, worker_rows(look)))
        if look["streams"]:
            parts += [Text(""), grid(STREAM_HEADS, stream_rows(look))]
        return Group(*parts)

    console = Console()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for look in looks:
            live.update(page(look), refresh=True)
