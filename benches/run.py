"""`make bench`: skate, Ray when it is installed, concurrent.futures and the floor in one table.

Each engine answers in a process of its own. Measurements are interleaved (skate, Ray, floor,
skate, ...), so a slow minute of the machine hits all engines alike, and the ratios stay.

    python benches/run.py                               everything
    python benches/run.py --only roundtrip,put          workloads whose name begins so
    python benches/run.py --quick                       below a minute: skate and the floor
    python benches/run.py --check                       fails when skate fell behind baseline.json
"""

import argparse
import contextlib
import sys
import time
from importlib import util
from pathlib import Path

import _baseline
import _table
from _engine import Engine, EngineError
from _workload import ENGINES, UnsupportedError
from workloads import REGISTRY

HERE = Path(__file__).parent
TIMEOUT_S = {"ray": 300}
BUDGET_S = {"ray": 8.0}
"""An engine that has spent that long on one workload is not asked for another measurement."""


class Pool:
    """The engine processes of one run."""

    def __init__(self, budget_s, timeout_s):
        self._engines = {}
        self._budget_s, self._timeout_s = budget_s, timeout_s

    def budget_s(self, engine):
        """Seconds that an engine may spend on one workload."""
        return max(self._budget_s, BUDGET_S.get(engine, 0))

    def timeout_s(self, engine):
        """Seconds for one answer."""
        return max(self._timeout_s, TIMEOUT_S.get(engine, 0))

    def of(self, name, workload):
        """The engine's process for that workload."""
        key = (name, workload.session, str(workload.params))
        engine = self._engines.get(key)
        if workload.fresh or engine is None or not engine.is_alive:
            if engine is not None:
                engine.stop()
            if name in {"skate", "ray"}:  # one session at a time, so that none disturbs another
                self.stop(name)
            engine = Engine(name, session=workload.session, params=workload.params)
            self._engines[key] = engine
        return engine

    def stop(self, name=None):
        """Ends the processes of one engine, or of all."""
        for key in [key for key in self._engines if name in {None, key[0]}]:
            self._engines.pop(key).stop()


def measure(workload, engines, repeat, pool):
    """`(samples by engine, failures by engine)`; None if skate does not offer it."""
    samples = {engine: [] for engine in engines}
    spent = dict.fromkeys(engines, 0.0)
    failures = {}
    ready = set()
    for _ in range(min(repeat, workload.repeat)):
        for name in engines:
            if name in failures or spent[name] > pool.budget_s(name):
                continue
            start = time.perf_counter()
            try:
                engine = pool.of(name, workload)
                if workload.fresh or name not in ready:
                    engine.ask(pool.timeout_s(name), do="prepare", name=workload.name)
                    ready.add(name)
                    if not workload.fresh:
                        start = time.perf_counter()
                samples[name].append(engine.ask(pool.timeout_s(name), do="measure"))
            except UnsupportedError as error:
                if name == "skate":
                    return None
                failures[name] = str(error)
            except EngineError as error:
                failures[name] = str(error)
            spent[name] += time.perf_counter() - start
            if workload.fresh:
                pool.stop(name)
    return samples, failures


def rows_of(workload, samples, failures):
    """One line of the table for each number."""
    goals = workload.goal + (None,) * (len(workload.rows) - len(workload.goal))
    for at, (name, unit) in enumerate(zip(workload.row_names(), workload.units, strict=True)):
        columns = {
            engine: [numbers[at] for numbers in taken if len(numbers) > at]
            for engine, taken in samples.items()
        }
        yield _table.Row(name, unit, workload, goals[at], columns, failures if at == 0 else {})


def parse():
    """What was asked for."""
    parser = argparse.ArgumentParser(description="Measures skate beside Ray and the floor.")
    parser.add_argument("--only", default="", help="beginnings of names or themes, with commas")
    parser.add_argument("--engines", default="", help=f"some of {','.join(ENGINES)}")
    parser.add_argument("--json", default=str(HERE / "results" / "last.json"), help="result file")
    parser.add_argument("--repeat", type=int, default=0, help="at most so many measurements")
    parser.add_argument("--quick", action="store_true", help="below a minute: skate and floor")
    parser.add_argument("--check", action="store_true", help="compare with baseline.json")
    parser.add_argument(
        "--save-baseline", action="store_true", help="add this run to baseline.json"
    )
    parser.add_argument("--list", action="store_true", help="print the workloads and stop")
    return parser.parse_args()


def chosen(asked):
    """The workloads of this run, and its engines."""
    beginnings = tuple(filter(None, asked.only.split(",")))
    workloads = [
        work
        for work in REGISTRY.values()
        if not beginnings or work.name.startswith(beginnings) or work.theme in beginnings
    ]
    if asked.quick and not beginnings:
        workloads = [work for work in workloads if work.quick]
    if asked.engines:
        engines = [name for name in ENGINES if name in asked.engines.split(",")]
    elif asked.quick or asked.check:
        engines = ["skate", "floor"]
    else:
        engines = [name for name in ENGINES if name != "ray" or util.find_spec("ray")]
    return workloads, engines


def progress(text):
    """Shows what is being measured, to people only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main():
    """Runs and prints; the exit status says whether all went well."""
    asked = parse()
    workloads, engines = chosen(asked)
    if not workloads:
        print(f"no workload's name begins with {asked.only!r}", file=sys.stderr)
        return 2
    if asked.list:
        for work in workloads:
            print(work)
        return 0
    pool = Pool(1.0 if asked.quick else 4.0, 60)
    repeat = asked.repeat or (3 if asked.quick else 7)
    rows = []
    with contextlib.ExitStack() as stack:
        stack.callback(pool.stop)
        for work in workloads:
            answering = [engine for engine in engines if engine in work.engines()]
            progress(f"{work.name} ...")
            measured = measure(work, answering, repeat, pool)
            if measured is not None:
                rows += rows_of(work, *measured)
        progress("")
    for line in _table.lines(rows, engines):
        print(line)
    _table.save(Path(asked.json), rows)
    if asked.save_baseline:
        _baseline.save(rows)
    status = 1 if any("skate" in row.failures for row in rows) else 0
    return max(status, _baseline.check(rows)) if asked.check else status


if __name__ == "__main__":
    sys.exit(main())
