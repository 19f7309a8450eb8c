"""`list_*`, `get_*` and `summarize_*`: the tables of the session.

Every answer is exact and of one moment: the node, which owns the tables, makes it when it is asked,
in the driver as in tasks. What has ended is kept for a while: the latest 8,192 attempts of tasks.

Invariant: each function has Ray's name and arguments; `address`, `timeout` and
`raise_on_missing_output` are taken and have no effect: there is one node, which answers at once.
"""

from __future__ import annotations

from skate import _ids
from skate.util.state import common
from skate.util.state._asking import MOST, Here, Rows, constants, counted, listed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from skate.util.state._asking import Source
    from skate.util.state.common import Row

    Filters = Sequence[tuple[str, str, Any]] | None

TABLES: dict[str, type[Row]] = {
    "tasks": common.TaskState,
    "actors": common.ActorState,
    "objects": common.ObjectState,
    "workers": common.WorkerState,
    "streams": common.StreamState,
    "placement_groups": common.PlacementGroupState,
    "nodes": common.NodeState,
    "jobs": common.JobState,
}
"""What can be listed, and the class of its rows."""

KEYS = {name: kind.keys()[0] for name, kind in TABLES.items()}
"""The column that names a row."""


def rows_of(
    table: str,
    filters: Filters = None,
    limit: int = 100,
    detail: bool = False,
    source: Source | None = None,
    function: str | None = None,
) -> Rows[Any]:
    """The rows of any table; `source` is the session of this process, or a driver elsewhere."""
    function = function or f"list_{table}"
    if table in {"nodes", "jobs"}:
        from skate.util.state._asking import check_limit, checked

        check_limit(function, limit)
        conditions = checked(function, TABLES[table], filters)
        source = source or Here()
        row: Any = _node(source) if table == "nodes" else _job(source)
        passes = all(
            (row[key] == value) == (operator == "=") for key, operator, value in conditions
        )
        rows: Rows[Any] = Rows([row] if passes else [])
        rows.total = len(rows)
        return rows
    return listed(function, table, TABLES[table], source, filters, limit, detail)


def _node(source: Source) -> common.NodeState:
    from skate._machine import IP

    answer = source.ask({"table": "history", "columns": ["resources"]})
    amounts = answer["rows"][0][0]
    return common.NodeState(
        node_id=constants(source)["node_id"],
        node_ip=IP,
        is_head_node=True,
        state="ALIVE",
        node_name=IP,
        resources_total={name: row["total"] for name, row in amounts.items()},
        resources_available={name: row["available"] for name, row in amounts.items()},
    )


def _job(source: Source) -> common.JobState:
    from pathlib import Path

    question = {"table": "workers", "columns": ["pid"], "filters": [["worker_type", "=", "DRIVER"]]}
    pid = source.ask(question)["rows"][0][0]
    words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    return common.JobState(
        job_id=constants(source)["job_id"],
        type="DRIVER",
        status="RUNNING",
        entrypoint=" ".join(word.decode(errors="replace") for word in words),
        driver_pid=pid,
    )


def row_of(table: str, id: Any, source: Source | None = None, function: str | None = None) -> Any:
    """The row with that id, with details; None if there is none, a list if there are several."""
    function = function or f"get_{table.removesuffix('s')}"
    key = _ids.text(id)
    if not isinstance(key, str):
        msg = f"{function}: id is {id!r}, but must be a str of hex digits, as list_{table} has them"
        raise ValueError(msg)  # noqa: TRY004 - like every wrong argument here
    rows = rows_of(table, [(KEYS[table], "=", key)], MOST, detail=True, source=source)
    if len(rows) > 1:
        return sorted(rows, key=lambda row: row["attempt_number"]) if table == "tasks" else rows
    return rows[0] if rows else None


def list_tasks(
    address: str | None = None,
    filters: Filters = None,
    limit: int = 100,
    timeout: float = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> Rows[common.TaskState]:
    """Tasks that have not ended, oldest first; then attempts that have, latest first.

    Args:
        address: Without effect, like `timeout` and `raise_on_missing_output`.
        filters: `(key, "=" or "!=", value)`, all of which must hold. Keys are fields of the rows.
        limit: At most so many rows, and in a task at most 100,000; `total` of the result says how
            many there are.
        timeout: Without effect.
        detail: Whether the fields in `TaskState.DETAILS` are filled, too.
        raise_on_missing_output: Without effect: nothing is missing.

    Raises:
        ValueError: an argument is not as described.
        RaySystemError: in `local_mode`, which has no node, and on a Ray cluster, whose tables
            `ray.util.state` asks for.
    """
    return rows_of("tasks", filters, limit, detail)


def list_actors(
    address: str | None = None,
    filters: Filters = None,
    limit: int = 100,
    timeout: float = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> Rows[common.ActorState]:
    """Actors in the order of their creation, the dead that nobody holds last. As `list_tasks`."""
    return rows_of("actors", filters, limit, detail)


def list_objects(
    address: str | None = None,
    filters: Filters = None,
    limit: int = 100,
    timeout: float = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> Rows[common.ObjectState]:
    """Objects, the largest first: where they are and who keeps or pins them. As `list_tasks`."""
    return rows_of("objects", filters, limit, detail)


def list_workers(
    address: str | None = None,
    filters: Filters = None,
    limit: int = 100,
    timeout: float = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> Rows[common.WorkerState]:
    """Processes, the driver first. As `list_tasks`."""
    return rows_of("workers", filters, limit, detail)


def list_streams(
    filters: Filters = None, limit: int = 100, detail: bool = False
) -> Rows[common.StreamState]:
    """Generators that run or that somebody can read, with their buffers. As `list_tasks`."""
    return rows_of("streams", filters, limit, detail)


def list_placement_groups(
    address: str | None = None,
    filters: Filters = None,
    limit: int = 100,
    timeout: float = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> Rows[common.PlacementGroupState]:
    """Placement groups, the removed ones included. As `list_tasks`."""
    return rows_of("placement_groups", filters, limit, detail)


def list_nodes(
    address: str | None = None,
    filters: Filters = None,
    limit: int = 100,
    timeout: float = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> Rows[common.NodeState]:
    """The one node. As `list_tasks`."""
    return rows_of("nodes", filters, limit, detail)


def list_jobs(
    address: str | None = None,
    filters: Filters = None,
    limit: int = 100,
    timeout: float = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> Rows[common.JobState]:
    """The one job: the driver. As `list_tasks`."""
    return rows_of("jobs", filters, limit, detail)


def get_task(
    id: str, address: str | None = None, timeout: float = 30
) -> common.TaskState | list[common.TaskState] | None:
    """The task with that id, with details; a list if there were several attempts, or None."""
    found: common.TaskState | list[common.TaskState] | None = row_of("tasks", id)
    return found


def get_actor(id: str, address: str | None = None, timeout: float = 30) -> common.ActorState | None:
    """The actor with that id, with details, or None."""
    found: common.ActorState | None = row_of("actors", id)
    return found


def get_objects(
    id: str, address: str | None = None, timeout: float = 30
) -> list[common.ObjectState]:
    """A list of the object with that id, with details; empty if there is none."""
    found = row_of("objects", id, function="get_objects")
    return [found] if found is not None else []


def get_worker(
    id: str, address: str | None = None, timeout: float = 30
) -> common.WorkerState | None:
    """The process with that id, with details, or None."""
    found: common.WorkerState | None = row_of("workers", id)
    return found


def get_placement_group(
    id: str, address: str | None = None, timeout: float = 30
) -> common.PlacementGroupState | None:
    """The placement group with that id, with details, or None."""
    found: common.PlacementGroupState | None = row_of("placement_groups", id)
    return found


def get_node(id: str, address: str | None = None, timeout: float = 30) -> common.NodeState | None:
    """The node, if that is its id, or None."""
    found: common.NodeState | None = row_of("nodes", id)
    return found


def get_job(id: str, address: str | None = None, timeout: float = 30) -> common.JobState | None:
    """The job, if that is its id, or None."""
    found: common.JobState | None = row_of("jobs", id)
    return found


def summarize_tasks(
    address: str | None = None,
    timeout: float = 30,
    raise_on_missing_output: bool = True,
    *,
    _source: Source | None = None,
) -> dict[str, Any]:
    """How many tasks of each function are in which state, as Ray nests it."""
    columns = ["func_or_class_name", "type", "state"]
    summary: dict[str, Any] = {}
    totals = dict.fromkeys(("NORMAL_TASK", "ACTOR_TASK", "ACTOR_CREATION_TASK"), 0)
    for name, kind, state, count in counted(_source, "tasks", columns):
        row = summary.setdefault(
            name, {"func_or_class_name": name, "type": kind, "state_counts": {}}
        )
        row["state_counts"][state] = row["state_counts"].get(state, 0) + count
        totals[kind] += count
    return _nested(
        summary,
        summary_by="func_name",
        total_tasks=totals["NORMAL_TASK"],
        total_actor_tasks=totals["ACTOR_TASK"],
        total_actor_scheduled=totals["ACTOR_CREATION_TASK"],
    )


def summarize_actors(
    address: str | None = None,
    timeout: float = 30,
    raise_on_missing_output: bool = True,
    *,
    _source: Source | None = None,
) -> dict[str, Any]:
    """How many actors of each class are in which state, as Ray nests it."""
    summary: dict[str, Any] = {}
    for name, state, count in counted(_source, "actors", ["class_name", "state"]):
        row = summary.setdefault(name, {"class_name": name, "state_counts": {}})
        row["state_counts"][state] = count
    total = sum(sum(row["state_counts"].values()) for row in summary.values())
    return _nested(summary, summary_by="class", total_actors=total)


def summarize_objects(
    address: str | None = None,
    timeout: float = 30,
    raise_on_missing_output: bool = True,
    *,
    _source: Source | None = None,
) -> dict[str, Any]:
    """How many objects are where, in which state, and how many bytes they have.

    Ray groups by the line that made an object, which skate does not record: here it is by place.
    """
    summary: dict[str, Any] = {}
    for place, state, size, count in counted(_source, "objects", ["place", "state", "object_size"]):
        row = summary.setdefault(
            place or "PENDING", {"state_counts": {}, "total_objects": 0, "total_size_bytes": 0}
        )
        row["state_counts"][state] = row["state_counts"].get(state, 0) + count
        row["total_objects"] += count
        row["total_size_bytes"] += size * count
    return _nested(
        summary,
        summary_by="place",
        total_objects=sum(row["total_objects"] for row in summary.values()),
        total_size_bytes=sum(row["total_size_bytes"] for row in summary.values()),
    )


def _nested(summary: dict[str, Any], **totals: Any) -> dict[str, Any]:
    return {"cluster": {"summary": summary, **totals}}
