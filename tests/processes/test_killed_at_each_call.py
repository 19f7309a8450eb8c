"""A process of a session is killed at its n-th system call: what is promised still holds.

Whatever a process publishes, claims, forks or gives back ends in a system call: it rings a bell,
maps, sends, forks, or sleeps. strace kills it at just that one. What happens between two of them,
in shared memory alone, is stepped through by instruction in rust/shm/tests/killed.rs.
`SKATE_CHAOS_POINTS=n` tries the first n points of each role; without it, a few.
"""

import os
import shutil
import subprocess
import time

import pytest
from programs import wait_for_end

CHAOS = os.environ.get("SKATE_CHAOS_POINTS")
POINTS = range(1, int(CHAOS) + 1) if CHAOS else range(2, 40, 9)

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

PROGRAM = """
import numpy, select

skate.init(num_cpus=2)

@skate.remote(max_retries=-1)
def items(count):
    for k in range(count):
        yield numpy.full(1 << 15, k)

@skate.remote(max_retries=-1)
def total(array):
    kept = skate.put(array)
    return int(array.sum() + skate.get(kept)[0])

@skate.remote(max_restarts=-1, max_task_retries=-1)
class Adder:
    def add(self, a, b):
        return a + b

def work():
    stream = items.options(generator_backpressure_num_objects=2).remote(6)
    adder, *_ = adders = [Adder.remote() for _ in range(3)]
    refs = [total.remote(ref) for ref in stream]
    assert skate.get(refs) == [(k << 15) + k for k in range(6)]
    assert skate.get([adder.add.remote(k, 1) for k in range(5)]) == [1, 2, 3, 4, 5]
    assert skate.get([each.add.remote(1, 1) for each in adders]) == [2, 2, 2]

work()
print("ready", flush=True)
os.read(0, 1)  # no more: the next byte is for `select`
while not select.select([0], [], [], 0)[0]:  # until the other one is dead
    work()
work()
print("done", flush=True)
"""


def kill_at(pid, call, role):
    """Has a process killed at its n-th system call from now on; returns when strace watches it."""
    # Threads are followed; the children of a zygote would be killed at their n-th call as well.
    follow = [] if role == "zygote" else ["-f"]
    argv = ["strace", *follow, "-p", str(pid), "-o", "/dev/null"]
    argv += ["-e", f"inject=all:signal=SIGKILL:when={call}"]
    strace = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    if "attached" not in strace.stderr.readline() and not wait_for_end(pid, time.monotonic()):
        strace.kill()
        strace.communicate()
        pytest.skip("this system lets nobody trace a process")
    return strace


@pytest.mark.parametrize("call", POINTS)
@pytest.mark.parametrize("role", ["worker", "zygote", "driver"])
def test_role_is_killed_at_that_call(start, role, call):
    program = start(PROGRAM, stdin=subprocess.PIPE)
    assert program.line() == "ready"
    pid = {
        "worker": lambda: program.workers()[0],
        "zygote": program.zygote,
        "driver": lambda: program.pid,
    }[role]()
    strace = kill_at(pid, call, role)
    try:
        program.popen.stdin.write(b"\n")
        program.popen.stdin.flush()
        assert wait_for_end(pid), "it was not killed"
    finally:
        strace.kill()
        strace.communicate()
    if role != "driver":
        program.popen.stdin.write(b"\n")
        program.popen.stdin.flush()
        assert program.line() == "done"
        code, _, err = program.finish()
        assert code == 0, err
    program.check_nothing_is_left()
