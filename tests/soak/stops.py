"""The tests, while random processes of them are stopped for a moment again and again: `make stops`.

    python tests/soak/stops.py SEED [arguments of pytest]

A busy machine may take the processor away from any process at any point; this does so on purpose. A
test that fails by it takes luck for a guarantee, or skate does. A stop lasts 300 ms at most: what
takes a second to be noticed, as that a zygote is stopped, is the claim of tests of its own.

Invariant: whatever was stopped goes on, also when this program is interrupted, and nobody else is
stopped.
"""

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


def stop_some(dice, root):
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


def main(seed, *arguments):
    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, lambda number, _: sys.exit(128 + number))
    dice = random.Random(int(seed))
    run = subprocess.Popen([sys.executable, "-m", "pytest", *arguments])
    stops = 0
    try:
        while run.poll() is None:
            stops += stop_some(dice, run.pid)
            time.sleep(dice.uniform(0, PAUSE_S))
    finally:
        if run.poll() is None:
            run.send_signal(signal.SIGINT)
            run.wait()
    print(f"seed {seed}: {stops} stops, exit code {run.returncode}")
    return run.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
