"""Show the running drivers: resources, workers, tasks and the store of each."""

from __future__ import annotations

from skate._plots import size
from skate.cli import Refused, _attach, _show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of which driver; of all without `--pid`."""
    _attach.arguments(parser)


def main(parsed: argparse.Namespace) -> int:
    """Prints a block for each driver. No driver is no error: the exit code is 0."""
    found = _attach.drivers()
    if parsed.pid is not None:
        with _attach.attach(parsed.pid):
            found = [each for each in found if each.pid == parsed.pid]
    shown = []
    for each in found:
        try:
            with _attach.Driver(each) as driver:
                status = _status(driver, each.command)
                shown.append((status, _lines(status)))
        except (Refused, ValueError) as error:
            if parsed.pid is not None:
                raise (error if isinstance(error, Refused) else driver.strange()) from None
            # It has ended meanwhile, or has only the name of a driver.
    if parsed.json:
        _show.say_json([status for status, _ in shown])
        return 0
    if not shown:
        _show.say("no driver is running")
    for place, (_, lines) in enumerate(shown):
        _show.say(*([""] if place else []), *lines)
    return 0


def _status(driver: _attach.Driver, command: str) -> dict[str, Any]:
    answer = driver.ask({"table": "history", "columns": ["resources"]})
    if not (answer["rows"] and answer["rows"][0] and isinstance(answer["rows"][0][0], dict)):
        raise driver.strange()
    return {
        "pid": driver.pid,
        "session": driver.session,
        "command": command,
        "resources": answer["rows"][0][0],
        "statistics": driver.statistics(),
    }


def _lines(status: dict[str, Any]) -> list[str]:
    counts = {name: f"{count:,}" for name, count in status["statistics"].items()}
    sizes = {name: size(count) for name, count in status["statistics"].items()}
    resources = ", ".join(
        f"{name} {_of(name, row['total'] - row['available'], row['total'])}"
        for name, row in status["resources"].items()
        if ":" not in name
    )
    workers = "{workers}, {workers_idle} idle, {workers_blocked} asleep in a call"
    tasks = (
        "{tasks_dispatched} at workers, {tasks_queued} queued, {tasks_waiting} wait for arguments"
    )
    objects = (
        "{actors_living} actors, {streams} streams, {objects} objects, {objects_pending} pending"
    )
    store = "{used_bytes} of {capacity_bytes} in use, {spilled_bytes} on disk"
    return [
        f"driver {status['pid']}: {status['command']}",
        f"  resources  {resources}",
        f"  workers    {workers.format(**counts)}",
        f"  tasks      {tasks.format(**counts)}",
        f"  values     {objects.format(**counts)}",
        f"  store      {store.format(**sizes)}",
    ]


def _of(name: str, used: float, total: float) -> str:
    if "memory" in name:
        return f"{size(used)} of {size(total)}"
    return f"{used:g} of {total:g}"
