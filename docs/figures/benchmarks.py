"""Draws `benchmarks.svg` from the tables of docs/performance.md: rates on a logarithmic scale.

    python docs/figures/benchmarks.py             draws it
    python docs/figures/benchmarks.py --check     fails if it is not as it would be drawn

`benches/report.py` writes the page from one result file, and then this figure; so the two cannot
disagree. A time is shown as what it allows in a second: everything is "more is better".
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE, FIGURE = HERE.parent / "performance.md", HERE / "benchmarks.svg"
ROWS = {
    "roundtrip_p50": "no-op tasks, one after the other",
    "tasks": "10,000 no-op tasks, submitted and got",
    "stream": "items of a stream, each got",
    "actor_calls": "calls of one actor",
    "start": "programs: start, first result, end",
}
SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6}
ENGINES = {"skate": "#00897b", "Ray": "#5c6bc0", "floor": "#b0bec5"}
WIDTH, LEFT, RIGHT, TOP, BAR, GAP, BOTTOM = 760, 250, 90, 46, 14, 16, 34
DECADES = (-1, 6)
FONT = 'font-family="sans-serif" font-size="12"'


def rates() -> dict[str, dict[str, float]]:
    """Per row and engine: how many in a second."""
    head: list[str] = []
    found: dict[str, dict[str, float]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0] == "row":
            head = cells
        name = cells[0].strip("`")
        if name in ROWS and len(cells) == len(head):
            taken = dict(zip(head, cells, strict=True))
            found[name] = {engine: _rate(taken[engine]) for engine in ENGINES if taken.get(engine)}
    return found


def _rate(cell: str) -> float:
    match = re.match(r"([\d.,]+) (\S+)", cell)
    assert match, cell
    number, unit = float(match[1].replace(",", "")), match[2]
    return 1 / (number * SECONDS[unit]) if unit in SECONDS else number


def _x(rate: float) -> float:
    first, last = DECADES
    share = (math.log10(rate) - first) / (last - first)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _text(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"  # noqa: PLR2004 - two digits at least


def draw() -> str:
    """The figure, as plain SVG."""
    rows = rates()
    height = TOP + len(rows) * (3 * BAR + GAP) + BOTTOM
    size, title = f"0 0 {WIDTH} {height}", "How many in a second (each mark: ten times as many)"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" {FONT}>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="12" y="20" font-weight="bold">{title}</text>',
    ]
    at = WIDTH - RIGHT - 130
    for engine, colour in ENGINES.items():
        parts.append(f'<rect x="{at}" y="11" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{at + 14}" y="20">{engine}</text>')
        at += 62
    bottom = height - BOTTOM
    for decade in range(DECADES[0], DECADES[1] + 1):
        x = _x(10.0**decade)
        label = f"{10**decade:,}" if decade >= 0 else f"{10.0**decade:g}"
        parts.append(f'<path d="M{x:.1f},{TOP - 8} V{bottom}" stroke="#e0e0e0"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{label}</text>')
    y = TOP
    for name, label in ROWS.items():
        if name not in rows:
            continue
        parts.append(f'<text x="{LEFT - 10}" y="{y + 26}" text-anchor="end">{label}</text>')
        for engine, colour in ENGINES.items():
            if engine in rows[name]:
                rate = rows[name][engine]
                width = _x(rate) - LEFT
                parts.append(
                    f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" '
                    f'fill="{colour}"/>'
                )
                parts.append(f'<text x="{LEFT + width + 5:.1f}" y="{y + 11}">{_text(rate)}</text>')
            y += BAR
        y += GAP
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Draws it, or checks that it is drawn."""
    drawn = draw()
    if "--check" in sys.argv:
        is_same = FIGURE.exists() and FIGURE.read_text(encoding="utf-8") == drawn
        sys.exit(0 if is_same else "docs/figures/benchmarks.svg is not up to date")
    FIGURE.write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
