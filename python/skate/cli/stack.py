"""Show what the Python code of a driver and its workers is doing.

Each process answers for itself, and goes on meanwhile; coroutines of async actors are shown, too.
With --native py-spy (`pip install py-spy`) shows them from outside, with the frames of C code.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import which

from skate.cli import Refused, _attach, _show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

_PATIENCE_S = 30
_AT_ONCE = 32


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of which process."""
    parser.add_argument(
        "--worker", type=int, metavar="PID", help="only of the process with that pid"
    )
    parser.add_argument(
        "--native", action="store_true", help="with the frames of C code, by py-spy"
    )
    _attach.arguments(parser)


def main(parsed: argparse.Namespace) -> int:
    """Prints the stacks of each process. The exit code is 1 if one of them could not be had."""
    from skate.util.state._listing import rows_of

    spy = which("py-spy") or which("py-spy", path=str(Path(sys.executable).parent))
    if parsed.native and spy is None:
        raise Refused("--native needs py-spy, which is not installed: pip install py-spy")
    with _attach.attach(parsed.pid) as driver:
        processes = rows_of("workers", None, 100_000, source=driver)
        running = rows_of("tasks", [("state", "=", "RUNNING")], 100_000, source=driver)
    rows = [row for row in processes if row.pid and parsed.worker in {None, row.pid}]
    if not rows:
        raise Refused(f"driver {driver.pid} has no process {parsed.worker}")
    names: dict[int | None, list[str]] = {}
    for task in running:
        names.setdefault(task.worker_pid, []).append(task.name)

    def look(row: Any) -> dict[str, Any]:
        shown = {**row.asdict(), "tasks": names.get(row.pid, [])}
        if parsed.native and spy is not None:
            return {**shown, **_native(spy, row.pid)}
        from skate.cli import _stacks

        return {**shown, **_stacks.of(row.pid, driver)}

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        shown = list(pool.map(look, rows))
    if parsed.json:
        _show.say_json(shown)
    else:
        for process in shown:
            _show.say(*_lines(process))
    return int(any(process["trouble"] for process in shown))


def _native(spy: str, pid: int) -> dict[str, Any]:
    """The stacks of a process by py-spy, or why there are none."""
    command = [spy, "dump", "--native", "--pid", str(pid)]
    try:
        done = subprocess.run(  # noqa: S603 - the program was looked up, the pid is a number
            command, check=False, capture_output=True, text=True, timeout=_PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"native": None, "trouble": str(error)}
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["py-spy failed"]
        return {"native": None, "trouble": said[-1]}
    return {"native": done.stdout.rstrip(), "trouble": None}


def _lines(process: dict[str, Any]) -> Iterator[str]:
    names = list(dict.fromkeys(process["tasks"]))
    doing = f" {', '.join(names)}" if names else ""
    asleep = f", asleep in {process['sleeps_in']}" if process["sleeps_in"] else ""
    kind = process["worker_type"].lower()
    yield f"── {kind} {process['pid']}: {process['state']}{doing}{asleep}"
    if process["trouble"]:
        yield f"  {process['trouble']}"
    if native := process.get("native"):
        yield from native.splitlines()
    for kind in ("threads", "coroutines"):
        for each in process.get(kind) or ():
            yield f"  {kind[:-1]} {each['name']}{'' if each['frames'] else ': in skate'}"
            for frame in each["frames"]:
                yield f'    File "{frame["file"]}", line {frame["line"]}, in {frame["function"]}'
                if frame["code"]:
                    yield f"      {frame['code']}"
