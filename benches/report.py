"""Writes the measured tables of README.md and docs/performance.md, and the figure, from one file.

    python benches/run.py --json benches/results/full.json
    python benches/report.py benches/results/full.json

Invariant: no number in either file is typed by hand. All of one table are from one run.
"""

import json
import subprocess
import sys
from pathlib import Path

from _table import number

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
FIGURE = "Tasks, items, calls and starts in a second: skate, Ray and the floor"
ENGINES = {"skate": "skate", "ray": "Ray", "peer": "futures", "floor": "floor"}
README_ROWS = {
    "start": "fresh process: import, init, first result, shutdown",
    "roundtrip_p50": "no-op task, there and back (p50)",
    "tasks": "10,000 no-op tasks, submitted and got",
    "tasks_10kb": "the same with 10 KB in and out",
    "queue_100k_out": "100,000 queued tasks, drained",
    "put_100mb": "put of a 100 MB array, again",
    "put_1gb": "put of a 1 GB array, again",
    "argument_100mb": "task with a 100 MB array as argument, by ref",
    "return_100mb": "task returns a 100 MB array, got",
    "stream": "streaming generator, 10,000 integers, each got",
    "item_latency_first": "from submit to the first item",
    "stream_20mb": "streaming generator, 50 arrays of 20 MB",
    "pipeline": "generator of 5 ms an item into tasks of 5 ms: ideal / real time",
    "actor_calls": "10,000 calls of one actor",
    "actor_start": "actors made and called",
    "task_memory_queued": "driver memory for a queued task",
    "arrays_memory_streaming": "worker's memory, generator of 10 arrays of 100 MB",
    "shared_kept_10s": "shared memory kept when the refs of 1 GB are gone, 10 s later",
    "idle_pss": "memory of the idle engine",
    "installed_size": "installed, without NumPy",
}
REASONS = {
    "item_latency_yield": (
        "A yield every 2 ms finds its consumer asleep. Of 34 µs between two time stamps (read "
        "within skate) 14 go from the call of the futex until the consumer runs. What is left is "
        "1 µs of code, as the row `stream` shows, and takes 18 since both processes have slept: "
        "13 if a yield comes every 0.3 ms. The floor's pipe pays for the same wake, and for less "
        "code."
    ),
    "tasks_10kb": (
        "A third of the driver's time goes to page faults (`perf record -e cpu-clock`), for the "
        "pages of 10,000 results that the program keeps. The floor pays for them, too."
    ),
    "pipeline": "Two sleeps of 5 ms take a little longer than 10 ms: the floor's do as well.",
}
"""Why a goal may be out of reach of any engine on a machine; shown if a run misses it."""
THEMES = {
    "start": "Start",
    "tasks": "Tasks",
    "objects": "Values",
    "generators": "Generators",
    "scale": "Many at once",
    "memory": "Memory and footprint",
    "actors": "Actors",
}


def cell(row, engine):
    """The median with its unit; nothing if it was not measured."""
    taken = row["engines"].get(engine)
    if taken is None:
        return ""
    unit = row["unit"]
    return f"{number(taken['median'])}{'' if unit in {'processes', 'threads'} else f' {unit}'}"


def spread(row, engine):
    """From the least to the most."""
    taken = row["engines"].get(engine)
    if taken is None or len(taken["samples"]) < 2:
        return ""
    return f"{number(taken['min'])} … {number(taken['max'])}"


def table(head, lines):
    """A Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(line)} |" for line in lines)


def conditions(data):
    """One sentence about the machine."""
    here = data["conditions"]
    versions = here["versions"]
    guest = "a KVM guest" if here["is_virtual"] else "bare metal"
    peers = f"Ray {versions['ray']}, " if "ray" in versions else ""
    return (
        f"{here['cpus']} cores ({here['cpu']}), {guest}, Linux {here['kernel'].partition('-')[0]}, "
        f"Python {here['python']}, {peers}NumPy {versions['numpy']}, `num_cpus=2`, "
        f"load average {here['load']}, this run included"
    )


def readme(data):
    """The short table."""
    rows = data["rows"]
    lines = [
        [label, *(cell(rows[name], each) for each in ("skate", "ray", "floor"))]
        for name, label in README_ROWS.items()
        if name in rows
    ]
    yield from table(["workload", "skate", "Ray", "floor"], lines)
    yield ""
    yield "Medians of one run, of which [docs/performance.md](docs/performance.md) shows every row:"
    yield f"{conditions(data)}."


def performance(data):
    """The whole page."""
    rows = data["rows"]
    yield "# Performance"
    yield ""
    yield f"![{FIGURE}](figures/benchmarks.svg)"
    yield ""
    yield "One run of `make bench`, written here by `benches/report.py`: what skate reaches, beside"
    yield "Ray, `concurrent.futures` and the floor, which does only what cannot be avoided."
    yield ""
    yield f"Conditions: {conditions(data)}."
    yield ""
    yield "Each engine answered in a process of its own, in turns. Shown are medians, and in"
    yield "brackets the least and the most. A load above 2 means that other programs had a share of"
    yield "both cores: then the ratios of one run say more than its times."
    for theme, title in THEMES.items():
        names = [name for name, row in rows.items() if row["theme"] == theme]
        if not names:
            continue
        engines = [each for each in ENGINES if any(each in rows[name]["engines"] for name in names)]
        yield f"\n## {title}\n"
        head = ["row", *(ENGINES[each] for each in engines), "vs Ray", "vs floor"]
        lines = []
        for name in names:
            row = rows[name]
            cells = []
            for each in engines:
                brackets = spread(row, each)
                cells.append(cell(row, each) + (f" ({brackets})" if brackets else ""))
            ratios = [row["ratios"].get(each) for each in ("ray", "floor")]
            ratios = ["" if ratio is None else f"{number(ratio)} x" for ratio in ratios]
            lines.append([f"`{name}`", *cells, *ratios])
        yield from table(head, lines)
        yield ""
        told = set()
        for name in names:
            row = rows[name]
            if row["question"] not in told:
                told.add(row["question"])
                floor = f" Floor: {row['floor']}." if row["floor"] else ""
                yield f"- `{name}`: {row['question']}{floor}"
    yield from missed(data)


def missed(data):
    """Goals that this run did not reach."""
    yield "\n## Goals not reached in this run\n"
    for name, row in data["rows"].items():
        if row["is_met"] is False:
            goal = (
                f"{number(row['goal'])} {row['unit']}"
                if row["goal"] is not None
                else f"{row['goal_of_floor']:g} of the floor"
            )
            why = f" {REASONS[name]}" if name in REASONS else ""
            yield f"- `{name}`: {cell(row, 'skate')}; the goal is {goal}.{why}"


def replace_between(path, text):
    """Puts the text between the two marks."""
    whole = path.read_text(encoding="utf-8")
    before, _, rest = whole.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or not after:
        sys.exit(f"{path} lacks the marks {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main():
    """Writes both files and the figure."""
    data = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    replace_between(ROOT / "README.md", "\n".join(readme(data)))
    page = ROOT / "docs" / "performance.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text("\n".join(performance(data)) + "\n", encoding="utf-8")
    subprocess.run([sys.executable, page.parent / "figures" / "benchmarks.py"], check=True)


if __name__ == "__main__":
    main()
