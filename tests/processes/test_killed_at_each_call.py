"""A process of a session is killed at its n-th system call: what is promised still holds.

Whatever a process publishes, claims, forks or gives back ends in a system call: it rings a bell,
maps, sends, forks, or sleeps. strace kills it at just that one. Named places between two of them
are in test_killed_at_points.py; shared memory alone is stepped through by instruction in
rust/shm/tests/killed.rs.
`SKATE_CHAOS_POINTS=n` tries the first n points of each role; without it, a few.
"""

import os
import shutil
import subprocess
import time

import pytest
from programs import wait_for_end
from victims import Victims

CHAOS = os.environ.get("SKATE_CHAOS_POINTS")
POINTS = range(1, int(CHAOS) + 1) if CHAOS else range(2, 40, 9)
ROUNDS = 1000
"""Of the program: until the process is dead, and not for ever."""
TIMEOUT_S = 60

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def kill_at(pid, call, role):
    """Has a process killed at its n-th system call from now on; returns when strace watches it."""
    # Threads are followed. The children of a zygote would be as well, and each be killed at its own
    # n-th call: three that cannot start in a row end their task, as they should.
    follow = [] if role == "zygote" else ["-f"]
    argv = ["strace", *follow, "-p", str(pid), "-o", "/dev/null"]
    argv += ["-e", f"inject=all:signal=SIGKILL:when={call}"]
    strace = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    if "attached" not in strace.stderr.readline() and not wait_for_end(pid, time.monotonic()):
        strace.kill()
        strace.communicate()
        pytest.skip("this system lets nobody trace a process")
    return strace


@pytest.mark.timeout(4 * TIMEOUT_S)
@pytest.mark.parametrize("call", POINTS)
@pytest.mark.parametrize("role", ["worker", "zygote", "driver"])
def test_role_is_killed_at_that_call(start, tmp_path, role, call):
    victims = Victims(start, tmp_path, kills=1, rounds=ROUNDS, stdin=subprocess.PIPE)
    program = victims.program
    assert program.line(TIMEOUT_S) == "ready"
    pid = {
        "worker": lambda: program.workers()[0],
        "zygote": program.zygote,
        "driver": lambda: program.pid,
    }[role]()
    strace = kill_at(pid, call, role)
    try:
        program.popen.stdin.write(b"\n")
        program.popen.stdin.flush()
        assert wait_for_end(pid, time.monotonic() + TIMEOUT_S), "it was not killed"
    finally:
        strace.kill()
        strace.communicate()
    Victims.permit(tmp_path, 0).unlink()
    victims.check_end(TIMEOUT_S, is_driver=role == "driver")
