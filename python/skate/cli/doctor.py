"""Show versions, limits, and where each setting comes from; say what is wrong.

It starts a session of its own for a moment, to see what the system gives it.
"""

from __future__ import annotations

import os
import platform
import sys

from skate._plots import size
from skate.cli import _attach, _show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    """How it is shown."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(parsed: argparse.Namespace) -> int:
    """Prints what there is. The exit code is 1 if something is wrong."""
    session, troubles = _session()
    blocks = {"versions": _versions(), "machine": _machine(), "session": session}
    settings = _settings_here()
    drivers = _attach.drivers()
    if parsed.json:
        found = {"drivers": [each._asdict() for each in drivers], "troubles": troubles}
        _show.say_json({**blocks, "settings": settings, **found})
        return 1 if troubles else 0
    for title, block in blocks.items():
        _show.say(title, *(f"  {line}" for line in _show.record(block)), "")
    heads = ("name", "value", "from")
    lines = _show.table(heads, [[row[head] for head in heads] for row in settings])
    _show.say("settings", *(f"  {line}" for line in lines), "")
    _show.say(f"drivers  {', '.join(str(each.pid) for each in drivers) or 'none'}")
    _show.say(*(f"wrong: {trouble}" for trouble in troubles) if troubles else ["all is well"])
    return 1 if troubles else 0


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version(), "kernel": platform.release()}
    for name in ("skate", "numpy", "cloudpickle", "rich", "ray", "py-spy"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _machine() -> dict[str, Any]:
    import resource

    files, processes = (
        resource.getrlimit(what)[0] for what in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)
    )
    unlimited = resource.RLIM_INFINITY
    return {
        "cpus": os.cpu_count(),
        "usable_cpus": len(os.sched_getaffinity(0)),
        "open_files": "unlimited" if files == unlimited else files,
        "processes": "unlimited" if processes == unlimited else processes,
    }


def _settings_here() -> list[dict[str, str]]:
    from skate._settings import rows

    return [{"name": name, "value": value, "from": source} for name, value, source in rows()]


def _session() -> tuple[dict[str, Any], list[str]]:
    """What a session gets here, and what is wrong with that."""
    import skate
    from skate import _session as current
    from skate import _spilling

    troubles = []
    try:
        skate.init(address="local", log_to_driver=False)
        try:
            counters = skate.statistics()
            resources = skate.cluster_resources()
            can_spill = bool(getattr(current.client, "can_spill", True))
            answer = skate.get(skate.remote(lambda: 6 * 7).remote()) == 42  # noqa: PLR2004
        finally:
            skate.shutdown()
    except Exception as error:
        return {"starts": False}, [f"no session starts: {error}"]
    spilling = _spilling.describe(None, None, {})
    directories = [path for path, _ in spilling["directories"]]
    if not counters.get("huge_pages"):
        troubles.append(
            "the store has pages of 4 KiB: writing to fresh memory is about half as fast; see "
            "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
        )
    if not can_spill:
        troubles.append(f"no directory takes spilled values: {', '.join(directories)}")
    if not answer:
        troubles.append("a task gave a wrong answer")
    pages = "2 MiB (tmpfs)" if counters.get("huge_pages") else "4 KiB (memfd)"
    return {
        "starts": True,
        "cpus": resources.get("CPU", 0),
        "gpus": resources.get("GPU", 0),
        "store": size(counters["capacity_bytes"]),
        "pages": pages,
        "spills_to": ", ".join(directories) if can_spill else "nothing",
        "python": sys.executable,
    }, troubles
