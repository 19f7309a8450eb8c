"""Plots as plain SVG, for pages that have to work without anything else.

    curves   values over time, one line each        rows   slices of a trace, one row per place

Invariant: axes have units, and a plot that leaves something out says how much. All text is escaped.
"""

from __future__ import annotations

import math
from html import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    Point = tuple[float, float]

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 960, 120, 16, 10, 26
HEIGHT = 190
COLOURS = (
    "#4878a8", "#d98c3f", "#5c9c60", "#b65555", "#8470ab", "#8c6d5a", "#c983b4", "#6f7f80",
)  # fmt: skip
MOST_SLICES = 6_000
_ROW = 30
_GAPS = 6


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:  # noqa: PLR2004 - between two units
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def ticks(most: float, count: int = _GAPS) -> list[float]:
    """Round numbers from 0 to about the most."""
    if most <= 0:
        return [0.0]
    power = 10 ** math.floor(math.log10(most / count))
    step = next(step * power for step in (1, 2, 5, 10) if step * power * count >= most)
    return [step * place for place in range(int(most / step + 1e-9) + 1)]


def seconds(value: float) -> str:
    """A time on an axis."""
    return f"{value:g} s" if value >= 1 or value == 0 else f"{value * 1000:g} ms"


def _x(at_s: float, end_s: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (at_s / end_s if end_s else 0.0)


def _time_axis(end_s: float, height: float) -> list[str]:
    lines = []
    for tick in ticks(end_s):
        x = _x(tick, end_s)
        lines.append(
            f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{height - BOTTOM}" class="grid"/>'
            f'<text x="{x:.1f}" y="{height - 9}" text-anchor="middle">{seconds(tick)}</text>'
        )
    return lines


def _svg(height: float, lines: Iterable[str], label: str) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">'
    return "\n".join([head, *lines, "</svg>"])


def curves(
    series: Mapping[str, Sequence[Point]], end_s: float, shown: Callable[[float], str], label: str
) -> str:
    """Values over time: each holds from its moment to the next. Of bytes, if `shown` is `size`."""
    most = max((y for points in series.values() for _, y in points), default=0) or 1
    unit = 1024 ** int(math.log(max(most, 1), 1024)) if shown is size else 1
    scale = [tick * unit for tick in ticks(most / unit, 4)]
    top = max(most, scale[-1])

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top

    lines = _time_axis(end_s, HEIGHT)
    for tick in scale:
        lines.append(
            f'<line x1="{LEFT}" y1="{y(tick):.1f}" x2="{WIDTH - RIGHT}" y2="{y(tick):.1f}" '
            f'class="grid"/><text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">'
            f"{escape(shown(tick))}</text>"
        )
    for place, (name, points) in enumerate(series.items()):
        steps: list[str] = []
        for at_s, value in points:
            steps.append(f"{'H' if steps else 'M'}{_x(at_s, end_s):.1f}")
            steps.append(f"{'V' if len(steps) > 1 else ' '}{y(value):.1f}")
        colour = COLOURS[place % len(COLOURS)]
        lines.append(
            f'<path d="{"".join(steps)}" fill="none" stroke="{colour}" stroke-width="1.4">'
            f"<title>{escape(name)}</title></path>"
        )
    return _legend(series) + _svg(HEIGHT, lines, label)


def _legend(names: Iterable[str]) -> str:
    parts = [
        f'<span><i style="background:{COLOURS[place % len(COLOURS)]}"></i>{escape(name)}</span>'
        for place, name in enumerate(names)
    ]
    return f'<p class="legend">{"".join(parts)}</p>'


def rows(events: list[dict[str, Any]], end_s: float) -> str:
    """The slices of a trace; of very many the longest."""
    slices = [event for event in events if event["ph"] == "X" and event["cat"] != "span"]
    drawn = sorted(slices, key=lambda each: each["dur"], reverse=True)[:MOST_SLICES]
    said = [event for event in events if event["ph"] == "M"]  # a task may be called as these are
    names = {each["pid"]: each["args"]["name"] for each in said if each["name"] == "process_name"}
    labels = {each["tid"]: each["args"]["name"] for each in said if each["name"] == "thread_name"}
    places = sorted({(each["pid"], each["tid"]) for each in slices})
    tops = {place: TOP + number * _ROW for number, place in enumerate(places)}
    height = TOP + _ROW * len(places) + BOTTOM
    functions: dict[str, int] = {}
    for each in slices:
        functions.setdefault(each["name"].split("[")[0], len(functions))
    lines = _time_axis(end_s, height)
    for (pid, tid), top in tops.items():
        name = names[pid] + ("" if tid == pid else labels[tid].removeprefix("tasks"))
        lines.append(f'<text x="6" y="{top + 15}">{escape(name[:20])}</text>')
    for each in sorted(drawn, key=lambda each: each["cat"] == "yield"):
        top, is_item = tops[each["pid"], each["tid"]], each["cat"] == "yield"
        left = _x(each["ts"] / 1e6, end_s)
        wide = max(_x((each["ts"] + each["dur"]) / 1e6, end_s) - left, 0.4)
        colour = COLOURS[functions[each["name"].split("[")[0]] % len(COLOURS)]
        text = f"{each['name']}: {each['dur'] / 1000:,.3f} ms"
        lines.append(
            f'<rect x="{left:.2f}" y="{top + (17 if is_item else 3)}" width="{wide:.2f}" '
            f'height="{7 if is_item else 13}" fill="{colour}" '
            f'opacity="{0.5 if is_item else 1}"><title>{escape(text)}</title></rect>'
        )
    left_out = len(slices) - len(drawn)
    note = f"<p>The {left_out:,} shortest slices are not drawn.</p>" if left_out else ""
    return _legend(functions) + _svg(height, lines, "what ran when and where") + note
