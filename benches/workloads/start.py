"""From nothing to a first result."""

import statistics
import subprocess
import sys
import time

from _engine import environment
from _workload import workload

_FIRST_RESULT = """
import {name} as ray
ray.init(num_cpus=2, log_to_driver=False{more})
@ray.remote
def one():
    return 1
assert ray.get(one.remote()) == 1
ray.shutdown()
"""
_PEER = """
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(2) as pool:
    assert pool.submit(int, 1).result() == 1
"""


def _seconds(code):
    """Of a fresh interpreter that runs the code."""
    start = time.perf_counter()
    command = [sys.executable, "-W", "ignore", "-c", code]
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    return time.perf_counter() - start


@workload(
    unit="s",
    question="Fresh process: import, init, first result, shutdown, exit?",
    goal=0.15,
    session=None,
)
def start(name):
    more = ", include_dashboard=False" if name == "ray" else ""
    code = _FIRST_RESULT.format(name=name, more=more)
    _seconds(code)  # compiles what is imported
    return lambda: _seconds(code)


@start.floor("a bare interpreter that starts and ends")
def _():
    return lambda: _seconds("pass")


@start.peer()
def _():
    return lambda: _seconds(_PEER)


@workload(
    unit="ms",
    question="What does the import add to a bare interpreter?",
    goal=20,
    session=None,
)
def import_(name):
    code = f"import {name}"
    _seconds(code)  # compiles what is imported
    return lambda: 1e3 * (median_of(5, code) - median_of(5, "pass"))


def median_of(count, code):
    """Seconds of a fresh interpreter that runs the code."""
    return statistics.median(_seconds(code) for _ in range(count))
