"""`timeline`: what ran when and where, as a Chrome trace; Perfetto (ui.perfetto.dev) opens it.

    a process per worker ─ rows ─ a slice per attempt of a task ─ a slice per item that it yielded
                                          └─ arrow from what made an argument to who got it

Invariant: slices of one row are nested or apart: calls that run at once (of an actor) lie in rows
of their own. Times are µs with whole ns, since the first of these began, as the workers saw them:
counted from 1970 they would have more digits than a float, and viewers that round to ns would see
neighbours overlap. What the node has had to forget is counted, and said in the trace.

Viewers know a row by its `tid` alone, whatever its process, so each has one of its own; and they
tie an arrow to the slice that has begun last, in the order of the file where times are equal. So a
slice is followed by the arrows that end at it, then by what lies within.
"""

from __future__ import annotations

import json
from pathlib import Path

from skate.util.state._asking import Here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from skate.util.state._asking import Source

    Event = dict[str, Any]

_TASK_COLUMNS = [
    "task_id", "attempt_number", "name", "state", "type", "actor_id", "worker_id", "worker_pid",
    "parent_task_id", "error_type", "creation_time_ms", "start_time_ms", "end_time_ms",
    "num_yielded", "used_bytes", "arguments",
]  # fmt: skip


def timeline(filename: str | None = None) -> list[Event] | None:
    """The latest 8,192 attempts of tasks and 16,384 yields as a Chrome trace.

    Args:
        filename: Where to write the trace as JSON, for ui.perfetto.dev or chrome://tracing.

    Returns:
        The events, if there is no file name.

    Raises:
        OSError: the file cannot be written.
        RaySystemError: in `local_mode`, which has no node.

    Rule: Ray API reference, `ray.timeline`.
    """
    events, dropped = trace_of(Here())
    if filename is None:
        return events
    write(filename, events, dropped)
    return None


def write(filename: str, events: list[Event], dropped: dict[str, int]) -> None:
    """Writes a trace, with what is not in it beside the events."""
    trace = {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"dropped": dropped}}
    Path(filename).write_text(json.dumps(trace), encoding="utf-8")


def trace_of(source: Source) -> tuple[list[Event], dict[str, int]]:
    """The events of a trace, and how many attempts and yields are too old to be in it."""
    history = _one(source, "history")
    now_ms: float = history["now_ms"]
    tasks = [row for row in _table(source, "tasks", _TASK_COLUMNS) if row["start_time_ms"]]
    tasks.sort(key=lambda row: row["start_time_ms"])
    origin_ms: float = tasks[0]["start_time_ms"] if tasks else now_ms
    for row in tasks:
        end_ms = max(row["end_time_ms"] or now_ms, row["start_time_ms"])
        row["from_us"] = _us(row["start_time_ms"] - origin_ms)
        row["to_us"] = _us(end_ms - origin_ms)
    rows = _Rows()
    places = _places(tasks, rows)
    items = _items_by_attempt(tasks, _table(source, "yields"), origin_ms)
    driver = _one(source, "workers", ["pid"])["pid"]

    slices, made = _slices(tasks, places, items)
    spans = _spans(_table(source, "spans"), tasks, places, rows, origin_ms)
    events = [_name("process_name", driver, driver, f"driver {driver}"), *_names(tasks, rows)]
    number = 0
    for row, own, inner in slices:
        events.append(own)
        for argument in row["arguments"]:
            if argument in made:
                number += 1
                events += _arrow(number, made[argument], own)
        events += inner
    events += spans
    dropped = {
        "attempts": history["num_attempts_forgotten"],
        "yields": history["num_yields_forgotten"],
        "spans": history["num_spans_forgotten"],
    }
    if any(dropped.values()):
        events.append(_note(dropped, driver))
    return events, dropped


_FEW = 8
"""Returns of a plain function that arrows may begin at; most have one."""


def _us(ms: float) -> float:
    """A time in µs, with whole ns."""
    return round(ms * 1e6) / 1000


def _slices(
    tasks: list[dict[str, Any]],
    places: dict[tuple[str, int], tuple[int, int]],
    items: dict[tuple[str, int], list[dict[str, Any]]],
) -> tuple[list[tuple[dict[str, Any], Event, list[Event]]], dict[str, Event]]:
    """Each attempt with its slice and those of its items; and the slice that made each object."""
    slices = []
    made: dict[str, Event] = {}
    for row in tasks:
        attempt = row["task_id"], row["attempt_number"]
        own, inner = _slice(row, places[attempt]), []
        for index in range(_FEW):
            made[_object(row["task_id"], index)] = own
        before_us: float = row["from_us"]
        for item in items.get(attempt, ()):
            at_us = min(max(item["at_us"], before_us), row["to_us"])
            inner.append(_item(row, item, places[attempt], before_us, at_us))
            made[item["object_id"]] = inner[-1]
            before_us = at_us
        slices.append((row, own, inner))
    return slices, made


def _items_by_attempt(
    tasks: list[dict[str, Any]], yields: list[dict[str, Any]], origin_ms: float
) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """The items of each attempt, in order: an item is of the last one that had begun.

    If none had, by clocks that are read one after the other, it is of the first.
    """
    attempts: dict[str, list[dict[str, Any]]] = {}
    for row in tasks:
        attempts.setdefault(row["task_id"], []).append(row)
    items: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for item in yields:
        at_us = _us(item["time_ms"] - origin_ms)
        known = attempts.get(item["task_id"], [])
        begun = [row for row in known if row["from_us"] <= at_us] or known[:1]
        if begun:
            attempt = begun[-1]["task_id"], begun[-1]["attempt_number"]
            items.setdefault(attempt, []).append({**item, "at_us": at_us})
    return items


def _table(source: Source, table: str, columns: list[str] | None = None) -> list[dict[str, Any]]:
    answer = source.ask({"table": table, "columns": columns or []})
    return [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]


def _one(source: Source, table: str, columns: list[str] | None = None) -> dict[str, Any]:
    return _table(source, table, columns)[0]


def _object(task_id: str, index: int) -> str:
    """The id of a task's return."""
    return task_id + (index + 1).to_bytes(4, "little").hex()


class _Rows:
    """The rows of all processes: the first has the process's own number, as its main thread has."""

    def __init__(self) -> None:
        self._tids: dict[tuple[int, str], int] = {}

    def tid(self, pid: int, name: str) -> int:
        """Of the row with that name."""
        known = _ABOVE_PIDS + len(self._tids)
        return self._tids.setdefault((pid, name), pid if name == _FIRST else known)

    def __iter__(self) -> Iterator[tuple[int, int, str]]:
        return iter((pid, tid, name) for (pid, name), tid in self._tids.items())


_FIRST = "tasks"
_ABOVE_PIDS = 1 << 22
"""Linux gives no process or thread such a number."""


def _places(tasks: list[dict[str, Any]], rows: _Rows) -> dict[tuple[str, int], tuple[int, int]]:
    """Process and row of each attempt: the first row of its worker that is free then."""
    places = {}
    free: dict[int, list[float]] = {}
    for row in tasks:
        pid = row["worker_pid"] or 0
        ends = free.setdefault(pid, [])
        lane = next((lane for lane, end in enumerate(ends) if end <= row["from_us"]), len(ends))
        ends[lane : lane + 1] = [row["to_us"]]
        tid = rows.tid(pid, f"{_FIRST}, row {lane}" if lane else _FIRST)
        places[row["task_id"], row["attempt_number"]] = (pid, tid)
    return places


def _slice(row: dict[str, Any], place: tuple[int, int]) -> Event:
    shown = (
        "task_id", "attempt_number", "state", "error_type", "parent_task_id", "num_yielded",
        "used_bytes",
    )  # fmt: skip
    return {
        "ph": "X",
        "name": row["name"],
        "cat": row["type"].lower(),
        "pid": place[0],
        "tid": place[1],
        "ts": row["from_us"],
        "dur": _us((row["to_us"] - row["from_us"]) / 1000),
        **({"cname": "terrible"} if row["state"] == "FAILED" else {}),
        "args": {
            **{name: row[name] for name in shown if row[name] is not None},
            "waited_ms": row["start_time_ms"] - (row["creation_time_ms"] or row["start_time_ms"]),
        },
    }


def _item(
    row: dict[str, Any], item: dict[str, Any], place: tuple[int, int], from_us: float, to_us: float
) -> Event:
    index = int.from_bytes(bytes.fromhex(item["object_id"][-8:]), "little") - 1
    return {
        "ph": "X",
        "name": f"{row['name']}[{index}]",
        "cat": "yield",
        "pid": place[0],
        "tid": place[1],
        "ts": from_us,
        "dur": _us((to_us - from_us) / 1000),
        "args": {
            name: item[name] for name in ("object_id", "object_size", "used_bytes", "num_unread")
        },
    }


def _names(tasks: list[dict[str, Any]], rows: _Rows) -> list[Event]:
    """Names of processes and rows."""
    actors = {row["worker_pid"]: row for row in tasks if row["type"] == "ACTOR_CREATION_TASK"}
    events = []
    for pid in sorted({row["worker_pid"] or 0 for row in tasks}):
        of = f"actor {actors[pid]['name']}" if pid in actors else "worker"
        events.append(_name("process_name", pid, pid, f"{of} {pid}"))
    return [*events, *(_name("thread_name", pid, tid, name) for pid, tid, name in rows)]


def _name(kind: str, pid: int, tid: int, name: str) -> Event:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}


def _spans(
    spans: list[dict[str, Any]],
    tasks: list[dict[str, Any]],
    places: dict[tuple[str, int], tuple[int, int]],
    rows: _Rows,
    origin_ms: float,
) -> list[Event]:
    """Slices that code has named, in a row of their own below that of their task."""
    where = {row["task_id"]: places[row["task_id"], row["attempt_number"]] for row in tasks}
    events: list[Event] = []
    open_until: dict[tuple[int, int], list[list[float]]] = {}  # of the spans of each row
    for span in sorted(spans, key=lambda span: (span["start_time_ms"], -span["end_time_ms"])):
        pid, tid = where.get(span["task_id"], (span["pid"], span["pid"]))
        from_us = max(_us(span["start_time_ms"] - origin_ms), 0.0)
        to_us = max(_us(span["end_time_ms"] - origin_ms), from_us)
        depth = _fit(open_until.setdefault((pid, tid), []), from_us, to_us)
        name = "spans" if tid == pid else f"spans of row {tid}"
        row = rows.tid(pid, f"{name}, row {depth}" if depth else name)
        extra = json.loads(span["extra"], parse_constant=str)  # viewers know no NaN
        events.append({
            "ph": "X", "name": span["name"], "cat": "span", "pid": pid, "tid": row,
            "ts": from_us, "dur": _us((to_us - from_us) / 1000),
            "args": {"task_id": span["task_id"], "extra": extra},
        })  # fmt: skip
    return events


def _fit(rows: list[list[float]], from_us: float, to_us: float) -> int:
    """The first row in which a span is within the open ones; those come by their beginnings."""
    for place, ends in enumerate(rows):
        while ends and ends[-1] <= from_us:
            ends.pop()
        if not ends or to_us <= ends[-1]:
            ends.append(to_us)
            return place
    rows.append([to_us])
    return len(rows) - 1


def _arrow(number: int, made: Event, got: Event) -> list[Event]:
    """From the slice that made an argument to the beginning of the one that got it."""
    base = {"name": "argument", "cat": "argument", "id": number}
    # Well within the slice, whose end belongs to the next one; never backwards.
    within_us = min(made["ts"] + made["dur"] - min(made["dur"] / 2, 1.0), got["ts"])
    return [
        {**base, "ph": "s", "pid": made["pid"], "tid": made["tid"], "ts": _us(within_us / 1000)},
        {**base, "ph": "f", "bp": "e", "pid": got["pid"], "tid": got["tid"], "ts": got["ts"]},
    ]


def _note(dropped: dict[str, int], pid: int) -> Event:
    name = f"not shown: {', '.join(f'{count:,} earlier {what}' for what, count in dropped.items())}"
    return {"ph": "i", "s": "g", "name": name, "pid": pid, "tid": pid, "ts": 0.0}
