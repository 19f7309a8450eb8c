"""What a run says: one table for people, one JSON file for programs.

Invariant: every number shown is the median of measurements of this run, and the spread beside it
(in the JSON: minimum and maximum) is of the same measurements.
"""

import json
import os
import platform
import statistics
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from _workload import is_more_better

SHOWN = {"skate": "skate", "ray": "Ray", "peer": "futures", "floor": "floor"}


@dataclass
class Row:
    """One line: measurements of each engine, or why there are none."""

    name: str
    unit: str
    workload: object
    goal: float | None
    samples: dict[str, list[float]]
    failures: dict[str, str]

    def median(self, engine):
        """None if the engine has no measurement."""
        samples = self.samples.get(engine)
        return statistics.median(samples) if samples else None

    def ratio(self, engine):
        """How many times better skate is than that engine."""
        ours, theirs = self.median("skate"), self.median(engine)
        if not ours or not theirs:
            return None
        return ours / theirs if is_more_better(self.unit) else theirs / ours

    def spread(self, engine):
        """Half of the distance from minimum to maximum, as a share of the median."""
        samples = self.samples.get(engine) or [0.0]
        middle = statistics.median(samples)
        return (max(samples) - min(samples)) / 2 / abs(middle) if middle else 0.0

    def is_met(self):
        """Whether skate reaches its goal; None if there is none, or nothing was measured."""
        ours, floor = self.median("skate"), self.median("floor")
        if ours is None:
            return None
        if self.goal is not None:
            return ours >= self.goal if is_more_better(self.unit) else ours <= self.goal
        if self.workload.goal_of_floor is not None and floor is not None:
            return self.ratio("floor") >= self.workload.goal_of_floor
        return None

    def as_json(self):
        """Everything about this line."""
        work = self.workload
        return {
            "unit": self.unit,
            "theme": work.theme,
            "question": work.question,
            "floor": work.floor_text,
            "goal": self.goal,
            "goal_of_floor": work.goal_of_floor,
            "is_met": self.is_met(),
            "failures": self.failures,
            "engines": {
                engine: {
                    "median": self.median(engine),
                    "min": min(samples),
                    "max": max(samples),
                    "samples": samples,
                }
                for engine, samples in self.samples.items()
                if samples
            },
            "ratios": {
                engine: ratio
                for engine in ("ray", "peer", "floor")
                if (ratio := self.ratio(engine)) is not None
            },
        }


def number(value):
    """Three significant digits, thousands with commas."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"


def goal_text(row):
    """What skate must reach, and whether it does."""
    work = row.workload
    if row.goal is not None:
        text = f"{'≥' if is_more_better(row.unit) else '≤'} {number(row.goal)}"
    elif work.goal_of_floor is not None:
        text = f"≥ {work.goal_of_floor:g} floor"
    else:
        return ""
    met = row.is_met()
    return text if met is None else f"{text} {'✓' if met else '✗'}"


def _times(ratio):
    return "-" if ratio is None else f"{number(ratio)} x"


def lines(rows, engines):
    """The table; ratios say how many times better skate is."""
    others = [engine for engine in ("ray", "peer", "floor") if engine in engines]
    head = ["workload", "unit", "skate", "±%", *(SHOWN[each] for each in others)]
    head += [f"vs {SHOWN[each]}" for each in others] + ["goal"]
    body = []
    for row in rows:
        spread = f"{100 * row.spread('skate'):.0f}" if len(row.samples.get("skate", [])) > 1 else ""
        cells = [row.name, row.unit, number(row.median("skate")), spread]
        cells += [number(row.median(each)) for each in others]
        cells += [_times(row.ratio(each)) for each in others]
        body.append([*cells, goal_text(row)])
    widths = [max(len(line[at]) for line in [head, *body]) for at in range(len(head))]
    text = {0, 1, len(head) - 1}
    for line in [head, ["-" * width for width in widths], *body]:
        yield "  ".join(
            cell.ljust(width) if at in text else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
    for row in rows:
        for engine, why in row.failures.items():
            yield f"  {row.name}: {SHOWN[engine]}: {why}"


def conditions():
    """What the numbers depend on, apart from the code."""
    versions = {}
    for name in ("skate", "ray", "numpy", "cloudpickle"):
        if util.find_spec(name):
            versions[name] = metadata.version(name)
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")]
    return {
        "cpus": len(models),
        "cpu": models[0] if models else platform.machine(),
        "is_virtual": any("hypervisor" in line for line in cpuinfo if line.startswith("flags")),
        "load": round(os.getloadavg()[2], 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": versions,
    }


def save(path, rows):
    """Writes the JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"conditions": conditions(), "rows": {row.name: row.as_json() for row in rows}}
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
