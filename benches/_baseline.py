"""`--check`: skate against the floor, compared with `baseline.json`.

Invariant: only ratios of one run are compared, never times of two runs. A ratio has fallen when it
is below the baseline by more than what the measurements of this run and of the baseline's scatter
by themselves.
"""

import json
from pathlib import Path

PATH = Path(__file__).parent / "baseline.json"
LEAST_NOISE = 0.15
"""What two runs of the same code differ by, even when each one scatters less."""


def noise(row):
    """How far the ratio may be off, as a share."""
    return max(LEAST_NOISE, row.spread("skate") + row.spread("floor"))


def load():
    """The baseline by row; empty before the first `--save-baseline`."""
    return json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}


def save(rows):
    """Adds this run: of each row the least ratio and the most noise of all runs are kept.

    So a lucky run sets no mark that others miss. A baseline that is to rise begins without a file.
    """
    known = load()
    for row in rows:
        if (ratio := row.ratio("floor")) is not None:
            before = known.get(row.name, {"ratio": ratio, "noise": 0.0})
            known[row.name] = {
                "ratio": float(f"{min(ratio, before['ratio']):.3g}"),
                "noise": max(round(noise(row), 2), before["noise"]),
            }
    PATH.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def check(rows):
    """Prints what has fallen; 1 if anything has or nothing could be compared, else 0."""
    known = load()
    fallen = 0
    compared = 0
    for row in rows:
        ratio, before = row.ratio("floor"), known.get(row.name)
        if ratio is None or before is None:
            continue
        compared += 1
        allowed = max(noise(row), before["noise"])
        least = before["ratio"] * (1 - min(allowed, 0.9))
        if ratio < least:
            fallen += 1
            print(
                f"FELL {row.name}: {ratio:.3g} of the floor; the baseline is "
                f"{before['ratio']:.3g}, and {least:.3g} would still be noise"
            )
    print(f"{compared} ratios compared with {PATH.name}, {fallen} fell")
    return 1 if fallen or not compared else 0
