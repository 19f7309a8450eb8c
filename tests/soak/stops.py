"""The tests, while random processes and threads of them are stopped for a moment again and again.

    python tests/soak/stops.py SEED [arguments of pytest]      (`make stops`)

A busy machine may take the processor away from anything at any point; this does so on purpose. A
test that fails by it takes luck for a guarantee, or skate does. A process is stopped by a signal. A
thread gets the processor only when nobody else wants it, and for that moment busy loops do; only
root can have it run as before, and so only root does that. A stop lasts 300 ms at most: what is
noticed after a second, as that a zygote is stopped, is the claim of tests of its own.

Invariant: whatever was stopped goes on, also when this program is interrupted, and nobody else is
stopped.
"""

import collections
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

STOPS_S = (0.005, 0.02, 0.05, 0.1, 0.3)
PAUSE_S = 0.06
AT_ONCE = (1, 1, 2)
# Without the flag its children would stay so.
STARVED = os.SCHED_IDLE | os.SCHED_RESET_ON_FORK
AS_BEFORE = os.SCHED_OTHER | os.SCHED_RESET_ON_FORK


def family(root):
    """The process and all that it has started and that has not ended, by pid."""
    children = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if state not in "ZXTt":  # those that a test has stopped stay so
                children.setdefault(int(parent), []).append(int(path.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def stop_processes(dice, root):
    """Stops one or two of them for a moment; how many."""
    with contextlib.ExitStack() as later:
        all_of_them = family(root)
        chosen = dice.sample(all_of_them, k=min(len(all_of_them), dice.choice(AT_ONCE)))
        for pid in chosen:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                pidfd = os.pidfd_open(pid)
                later.callback(os.close, pidfd)
                if pid not in family(root):  # the number is somebody else's by now
                    continue
                later.callback(go_on, pidfd)
                signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
        time.sleep(dice.choice(STOPS_S))
    return len(chosen)


def go_on(pidfd):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        signal.pidfd_send_signal(pidfd, signal.SIGCONT)


def threads(root):
    """All their threads, by tid."""
    found = []
    for pid in family(root):
        with contextlib.suppress(OSError):
            found += map(int, os.listdir(f"/proc/{pid}/task"))
    return found


def starve_threads(dice, root, loops):
    """Keeps the processor from one or two threads for a moment; from how many."""
    with contextlib.ExitStack() as later:
        for loop in loops:
            later.callback(loop.send_signal, signal.SIGSTOP)
            loop.send_signal(signal.SIGCONT)
        all_of_them = threads(root)
        chosen = dice.sample(all_of_them, k=min(len(all_of_them), dice.choice(AT_ONCE)))
        for tid in chosen:
            later.callback(schedule, tid, AS_BEFORE)
            schedule(tid, STARVED)
        time.sleep(dice.choice(STOPS_S))
    return len(chosen)


def schedule(tid, policy):
    with contextlib.suppress(ProcessLookupError):
        os.sched_setscheduler(tid, policy, os.sched_param(0))


@contextlib.contextmanager
def busy_loops():
    """One for each processor; stopped."""
    with contextlib.ExitStack() as later:
        loops = []
        for _ in os.sched_getaffinity(0):
            loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            later.callback(loop.kill)
            loop.send_signal(signal.SIGSTOP)
            loops.append(loop)
        yield loops


def main(seed, *arguments):
    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, lambda number, _: sys.exit(128 + number))
    dice = random.Random(int(seed))
    stops = collections.Counter()
    with busy_loops() as loops:
        run = subprocess.Popen([sys.executable, "-m", "pytest", *arguments])
        try:
            while run.poll() is None:
                if os.geteuid() == 0 and dice.randrange(2):
                    stops["threads"] += starve_threads(dice, run.pid, loops)
                else:
                    stops["processes"] += stop_processes(dice, run.pid)
                time.sleep(dice.uniform(0, PAUSE_S))
        finally:
            if run.poll() is None:
                run.send_signal(signal.SIGINT)
                run.wait()
    print(f"seed {seed}: stopped {dict(stops)}, exit code {run.returncode}")
    return run.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
