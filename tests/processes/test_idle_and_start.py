"""A session costs little to start, and nothing while it is idle."""

import os
import resource
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest


def start_times(codes, cache):
    """Seconds of CPU that a fresh interpreter takes for each; the least of some, in turns.

    Modules are compiled, as installed ones are: the first run does it.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def spent():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def taken(code):
        before = spent()
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        return spent() - before

    turns = [[taken(code) for code in codes] for _ in range(10)]
    return map(min, *turns)


def test_import_takes_milliseconds(tmp_path):
    # CPU time, because the machine may be busy; and by that of Python itself, 13 ms on an idle
    # one, because it takes more when others use the caches.
    bare, imported = start_times(["pass", "import skate"], tmp_path)
    assert imported - bare < 1.5 * bare


@pytest.mark.parametrize("code", ["", "skate.init()", "skate.init(); skate.remote(lambda: 1)"])
def test_numpy_and_other_large_modules_are_not_imported(code):
    heavy = ["numpy", "asyncio", "multiprocessing"]
    if "remote" not in code:
        heavy += ["pickle", "re", "typing", "logging", "inspect", "dataclasses", "json", "pathlib"]
    program = f"import sys, skate; {code}\nprint([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert done.stdout == "[]\n"


def test_idle_session_is_a_zygote_and_two_workers_and_does_nothing(start):
    program = start(
        """
        skate.init(num_cpus=2)
        skate.get([skate.remote(lambda: 1).remote() for _ in range(100)])
        kept = skate.put(b"x" * 100_000)
        os.write(1, b"idle\\n")
        sys.stdin.read()
        """,
        stdin=-1,
    )
    assert program.line() == "idle"
    processes = program.processes()
    assert len(processes) == 4  # the driver, the zygote, two workers

    def cpu_s():
        """By the clocks of processes: /proc rounds each figure to ticks of 10 ms."""
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in processes)

    def switches():
        """How often any thread of theirs has gone to sleep."""
        count = 0
        for pid in processes:
            for task in Path(f"/proc/{pid}/task").iterdir():
                for line in (task / "status").read_text().splitlines():
                    if line.startswith("voluntary_ctxt_switches"):
                        count += int(line.split()[1])
        return count

    # What must not happen cannot be waited for: a second to calm down, then a window.
    poll = select.poll()
    poll.register(program.popen.stdout.fileno(), select.POLLIN)
    assert not poll.poll(1000)
    began, used_s, wakes = time.monotonic(), cpu_s(), switches()
    assert not poll.poll(2000)
    used_s, wakes = cpu_s() - used_s, switches() - wakes
    window_s = time.monotonic() - began  # longer if nobody has run this process
    assert used_s <= 0.01 * window_s
    assert wakes <= 30 * window_s, "idle threads wake up by the clock"
    assert program.processes() == processes
    program.popen.stdin.close()
    program.popen.stdin = None
    program.succeed()
