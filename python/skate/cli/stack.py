"""Show what the Python code of a driver and its workers is doing, by py-spy.

py-spy (`pip install py-spy`) reads a process from outside; without it, the states of the workers
are shown.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from shutil import which

from skate.cli import Refused, _attach, _show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

_PATIENCE_S = 30


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of which process."""
    parser.add_argument(
        "--worker", type=int, metavar="PID", help="only of the process with that pid"
    )
    _attach.arguments(parser)


def main(parsed: argparse.Namespace) -> int:
    """Prints the stacks of each process. The exit code is 1 if there is no py-spy."""
    from skate.util.state._listing import rows_of

    with _attach.attach(parsed.pid) as driver:
        processes = rows_of("workers", None, 100_000, source=driver)
    rows = [row for row in processes if row.pid and parsed.worker in {None, row.pid}]
    if not rows:
        raise Refused(f"driver {driver.pid} has no process {parsed.worker}")
    spy = which("py-spy") or which("py-spy", path=str(Path(sys.executable).parent))
    shown: list[dict[str, Any]] = []
    for row in rows:
        stack, trouble = _stack(spy, row.pid) if spy else (None, None)
        shown.append({**row.asdict(), "stack": stack, "trouble": trouble})
    if parsed.json:
        _show.say_json(shown)
    for row in [] if parsed.json else shown:
        doing = f" {row['task_name']}" if row["task_name"] else ""
        asleep = f", asleep in {row['sleeps_in']}" if row["sleeps_in"] else ""
        _show.say(f"── {row['worker_type'].lower()} {row['pid']}: {row['state']}{doing}{asleep}")
        _show.say(*(row["stack"] or row["trouble"] or "").splitlines())
    if spy is None:
        print("skate stack: py-spy is not installed: pip install py-spy", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _stack(spy: str, pid: int) -> tuple[str | None, str | None]:
    """The stacks of a process, or why there are none."""
    command = [spy, "dump", "--pid", str(pid)]
    try:
        done = subprocess.run(  # noqa: S603 - the program was looked up, the pid is a number
            command, check=False, capture_output=True, text=True, timeout=_PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    if done.returncode:
        return None, done.stderr.strip().splitlines()[-1] if done.stderr else "py-spy failed"
    return done.stdout.rstrip(), None
