"""Draws `timeline.svg`: the trace of a small pipeline that has really run.

    python docs/figures/timeline.py

A generator makes arrays with a window of two, tasks double them, an actor adds them up. What is
drawn is what `skate.timeline()` says: slices, the items within, and an arrow for each argument.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import skate

if TYPE_CHECKING:
    from collections.abc import Iterator

ITEMS = 8
WIDTH, LEFT, ROW, TOP, BOTTOM = 860, 130, 64, 16, 34
COLOURS = {"produce": "#4878a8", "double": "#d98c3f", "Sum.add": "#5c9c60"}

Event = dict[str, Any]


@skate.remote(generator_backpressure_num_objects=2)
def produce(n: int) -> Iterator[np.ndarray]:
    """An array every 8 ms, if somebody takes it."""
    for k in range(n):
        time.sleep(0.008)
        yield np.full(100_000, k)


@skate.remote
def double(x: np.ndarray) -> np.ndarray:
    """Takes 12 ms."""
    time.sleep(0.012)
    return x * 2


@skate.remote
class Sum:
    """Adds up."""

    total = 0

    def add(self, x: np.ndarray) -> int:
        """Takes 4 ms."""
        time.sleep(0.004)
        self.total += int(x[0])
        return self.total


def run() -> list[Event]:
    """The pipeline once to warm up, and once to be drawn."""
    with skate.init(num_cpus=3, log_to_driver=False):
        total = Sum.remote()
        for _ in range(2):
            began_with = len(skate.timeline() or [])
            calls = [total.add.remote(double.remote(ref)) for ref in produce.remote(ITEMS)]
            skate.get(calls)
        events = skate.timeline() or []
    assert began_with
    last = max(e["ts"] for e in events if e["ph"] == "X" and e["name"] == "produce")
    return [event for event in events if event["ph"] == "M" or event["ts"] >= last - 2000]


def draw(events: list[Event]) -> str:
    """The figure."""
    slices = [event for event in events if event["ph"] == "X"]
    begin = min(each["ts"] for each in slices)
    end = max(each["ts"] + each["dur"] for each in slices)
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    rows = sorted({(each["pid"], each["tid"]) for each in slices})
    top = {row: TOP + place * ROW for place, row in enumerate(rows)}

    def x(us: float) -> float:
        return LEFT + (us - begin) / (end - begin) * (WIDTH - LEFT - 10)

    height = TOP + ROW * len(rows) + BOTTOM
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
    lines = [
        f'{head} font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for (pid, tid), y in top.items():
        lines.append(f'<text x="8" y="{y + 24}">{names[pid]}{f" ({tid})" if tid else ""}</text>')
    for each in slices:
        y, is_item = top[each["pid"], each["tid"]], each["cat"] == "yield"
        name = each["name"].split("[")[0]
        left, wide = x(each["ts"]), max(x(each["ts"] + each["dur"]) - x(each["ts"]), 0.5)
        lines.append(
            f'<rect x="{left:.1f}" y="{y + (27 if is_item else 6)}" width="{wide:.1f}" '
            f'height="{14 if is_item else 20}" fill="{COLOURS.get(name, "#999")}" '
            f'fill-opacity="{0.45 if is_item else 0.9}" stroke="white" stroke-width="0.7"/>'
        )
        if wide > 7 * len(each["name"]):
            y_text = y + (38 if is_item else 20)
            lines.append(f'<text x="{left + 3:.1f}" y="{y_text}">{each["name"]}</text>')
    starts = {event["id"]: event for event in events if event["ph"] == "s"}
    for event in events:
        if event["ph"] == "f" and (start := starts.get(event["id"])):
            row = start["pid"], start["tid"]
            is_item = any(
                each["cat"] == "yield" and each["ts"] <= start["ts"] <= each["ts"] + each["dur"]
                for each in slices
                if (each["pid"], each["tid"]) == row
            )
            y1, y2 = top[row] + (34 if is_item else 16), top[event["pid"], event["tid"]] + 16
            lines.append(
                f'<line x1="{x(start["ts"]):.1f}" y1="{y1}" x2="{x(event["ts"]):.1f}" y2="{y2}" '
                'stroke="#333" stroke-width="0.7"/>'
                f'<circle cx="{x(event["ts"]):.1f}" cy="{y2}" r="1.8" fill="#333"/>'
            )
    step = 20_000
    for tick in range(0, int(end - begin), step):
        at = x(begin + tick)
        lines.append(
            f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{height - BOTTOM}" stroke="#ddd"/>'
            f'<text x="{at:.1f}" y="{height - 14}" text-anchor="middle">{tick // 1000} ms</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    Path(__file__).with_name("timeline.svg").write_text(draw(run()))
