"""`report`: one page about what has run, that needs nothing but a browser.

    trace (_timeline) ─┬─▶ timeline, throughput, memory, buffers of streams (_plots)
    tables ────────────┴─▶ counts, functions, the slowest attempts

Invariant: the page is one file without scripts and without anything from elsewhere; it is made from
what the node remembers, and says what that has forgotten.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from skate import _plots
from skate._timeline import trace_of
from skate.util.state._asking import Here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from skate.util.state._asking import Source

_BINS = 60
_STREAMS = 6
_SLOWEST = 15

_STYLE = """
body { font: 14px system-ui, sans-serif; margin: 2em auto; max-width: 1000px; color: #222; }
h1 { font-size: 1.4em; } h2 { font-size: 1.1em; margin-top: 2em; }
svg { width: 100%; font: 11px system-ui, sans-serif; } .grid { stroke: #e4e4e4; }
table { border-collapse: collapse; } td, th { padding: 2px 12px 2px 0; text-align: left; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.legend span { margin-right: 1.2em; white-space: nowrap; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
code { background: #f4f4f4; padding: 1px 4px; }
"""


def report(filename: str) -> None:
    """Writes a page about what the session has run so far.

    It shows when and where tasks ran and items were yielded, how many ended in a second, the store
    over time, how full the streams were, and which attempts took longest.

    Args:
        filename: Where to: an HTML file that any browser opens.

    Raises:
        OSError: the file cannot be written.
        RaySystemError: in `local_mode`, which has no node.
    """
    write(filename, Here(), "")


def write(filename: str, source: Source, command: str) -> None:
    """The same of any driver; `command` is its command line."""
    Path(filename).write_text(page(source, command), encoding="utf-8")


def page(source: Source, command: str) -> str:
    """The page as text."""
    events, dropped = trace_of(source)
    slices = [event for event in events if event["ph"] == "X"]
    tasks = [each for each in slices if each["cat"] not in {"yield", "span"}]
    items = [each for each in slices if each["cat"] == "yield"]
    end_s = max((_end_s(each) for each in slices), default=0.0)
    samples = _samples(tasks, items)
    parts = [
        _summary(tasks, items, end_s, command, dropped),
        _section("Timeline", _plots.rows(events, end_s)),
        _section("Throughput", _throughput(tasks, items, end_s)),
        _section(
            "Store",
            _plots.curves(
                {"bytes in use": samples}, end_s, _plots.size, "bytes of the store in use"
            ),
        ),
        _section("Unread items of streams", _buffers(items, end_s)) if items else "",
        _section("Functions", _functions(tasks)),
        _section("Slowest attempts", _slowest(tasks)),
    ]
    head = f'<meta charset="utf-8"><title>skate: {escape(command or "report")}</title>'
    body = "\n".join(parts) if tasks else "<p>Nothing has run.</p>"
    head += f"<style>{_STYLE}</style>"
    return f"<!DOCTYPE html>\n<html><head>{head}</head><body>{body}</body></html>\n"


def _end_s(each: dict[str, Any]) -> float:
    end: float = (each["ts"] + each["dur"]) / 1e6
    return end


def _section(title: str, body: str) -> str:
    return f"<h2>{title}</h2>\n{body}"


def _summary(
    tasks: list[dict[str, Any]],
    items: list[dict[str, Any]],
    end_s: float,
    command: str,
    dropped: dict[str, int],
) -> str:
    failed = sum(each["args"]["state"] == "FAILED" for each in tasks)
    running = sum(each["args"]["state"] == "RUNNING" for each in tasks)
    busy_s = sum(each["dur"] for each in tasks) / 1e6
    processes = len({each["pid"] for each in tasks})
    said = f"<p><code>{escape(command)}</code></p>" if command else ""
    forgotten = ", ".join(f"{count:,} {what}" for what, count in dropped.items() if count)
    note = f"<p>Too old to be here: {forgotten}.</p>" if forgotten else ""
    return (
        f"<h1>What has run</h1>{said}<p>{len(tasks):,} attempts of tasks ({failed:,} failed, "
        f"{running:,} still running) and {len(items):,} items in {end_s:,.2f} s, in {processes:,} "
        f"processes that were busy for {busy_s:,.2f} s.</p>{note}"
    )


def _samples(tasks: list[dict[str, Any]], items: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """The store whenever something ended, thinned out to what can be seen."""
    known = [
        (_end_s(each), float(each["args"]["used_bytes"]))
        for each in (*tasks, *items)
        if each["args"].get("used_bytes") is not None
    ]
    known.sort()
    step = max(len(known) // 2000, 1)
    return [
        max(known[at : at + step], key=lambda sample: sample[1])
        for at in range(0, len(known), step)
    ]


def _throughput(tasks: list[dict[str, Any]], items: list[dict[str, Any]], end_s: float) -> str:
    series = {"tasks ended per s": tasks}
    if items:
        series["items yielded per s"] = items
    width_s = end_s / _BINS or 1.0

    def rate(slices: Iterable[dict[str, Any]]) -> Sequence[tuple[float, float]]:
        counts = [0] * (_BINS + 1)
        for each in slices:
            counts[min(int(_end_s(each) / width_s), _BINS - 1)] += 1
        return [(place * width_s, count / width_s) for place, count in enumerate(counts)]

    curves = {name: rate(slices) for name, slices in series.items()}
    return _plots.curves(curves, end_s, lambda value: f"{value:,.0f}", "tasks and items per second")


def _buffers(items: list[dict[str, Any]], end_s: float) -> str:
    streams: dict[str, list[tuple[float, float]]] = {}
    names: dict[str, str] = {}
    for each in items:
        task = each["args"]["object_id"][:48]
        streams.setdefault(task, []).append((_end_s(each), float(each["args"]["num_unread"])))
        names[task] = each["name"].split("[")[0]
    longest = sorted(streams, key=lambda task: len(streams[task]), reverse=True)[:_STREAMS]
    curves = {
        f"{names[task]} {place + 1}" if len(longest) > 1 else names[task]: streams[task]
        for place, task in enumerate(longest)
    }
    left_out = len(streams) - len(longest)
    note = (
        f"<p>The {left_out:,} streams with the fewest items are not drawn.</p>" if left_out else ""
    )
    return (
        _plots.curves(curves, end_s, lambda value: f"{value:g}", "unread items of each stream")
        + note
    )


def _functions(tasks: list[dict[str, Any]]) -> str:
    groups: dict[str, list[dict[str, Any]]] = {}
    for each in tasks:
        groups.setdefault(each["name"], []).append(each)
    rows = []
    for name, group in groups.items():
        times = [each["dur"] / 1000 for each in group]
        waits = [each["args"]["waited_ms"] for each in group]
        failed = sum(each["args"]["state"] == "FAILED" for each in group)
        rows.append((
            name, len(group), failed, sum(times), sum(times) / len(times), max(times),
            sum(waits) / len(waits),
        ))  # fmt: skip
    rows.sort(key=lambda row: -row[3])
    heads = (
        "function",
        "attempts",
        "failed",
        "in all, ms",
        "mean, ms",
        "longest, ms",
        "waited, ms",
    )
    return _table(heads, rows)


def _slowest(tasks: list[dict[str, Any]]) -> str:
    slowest = sorted(tasks, key=lambda each: each["dur"], reverse=True)[:_SLOWEST]
    rows = [
        (
            each["name"], each["dur"] / 1000, each["args"]["waited_ms"], each["args"]["state"],
            each["pid"], each["args"]["task_id"],
        )
        for each in slowest
    ]  # fmt: skip
    return _table(("task", "ran, ms", "waited, ms", "state", "process", "id"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def cell(value: Any, tag: str = "td") -> str:
        if isinstance(value, float):
            return f'<{tag} class="n">{value:,.2f}</{tag}>'
        if isinstance(value, int):
            return f'<{tag} class="n">{value}</{tag}>'
        return f"<{tag}>{escape(str(value))}</{tag}>"

    numbers = [
        bool(rows) and isinstance(value, int | float) for value in (rows[0] if rows else heads)
    ]
    head = "".join(
        f'<th class="n">{escape(name)}</th>' if number else f"<th>{escape(name)}</th>"
        for name, number in zip(heads, numbers, strict=True)
    )
    lines = ["<tr>" + "".join(cell(value) for value in row) + "</tr>" for row in rows]
    return f"<table><tr>{head}</tr>\n" + "\n".join(lines) + "</table>"
