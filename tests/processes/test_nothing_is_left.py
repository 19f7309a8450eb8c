"""However a driver ends, nothing of its session is left: no process, no name, no memory."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from programs import wait_for_end, wait_until

BUSY = """
import numpy, subprocess

skate.init(num_cpus=2)

@skate.remote
def small(value):
    return value

@skate.remote
def items():
    for _ in range(8):
        yield numpy.ones(1 << 17)

@skate.remote
def nested(depth):
    return skate.get(nested.remote(depth - 1)) + 1 if depth else 0

@skate.remote
def start_child():
    subprocess.Popen(["tail", "-f", "/dev/null"])
    return subprocess.run(["true"]).returncode

def busy():
    kept = skate.put(numpy.ones(1 << 20))
    while True:
        refs = [small.remote(kept) for _ in range(4)]
        stream = items.remote()
        deep, child = nested.remote(3), start_child.remote()
        for ref in [*refs, *stream, deep, child]:
            skate.get(ref)
            os.write(1, b".")
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("pass", 0),
        ("skate.shutdown()", 0),
        ("raise KeyError('top level')", 1),
        ("sys.exit(7)", 7),
        ("os._exit(9)", 9),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.abort()", -signal.SIGABRT),
    ],
)
def test_of_a_driver_that_ends_by(start, end, code):
    program = start(
        f"""
        import subprocess
        skate.init(num_cpus=2)

        @skate.remote
        def start_child():
            return subprocess.Popen(["tail", "-f", "/dev/null"]).pid

        child = skate.get(start_child.remote())
        print(child, flush=True)
        sys.stdin.read(1)
        {end}
        """,
        stdin=-1,
    )
    child = int(program.line())
    # `Popen` returns before the child has its environment, and with it the mark.
    wait_until(lambda: child in program.processes())
    processes = program.check_no_names()
    assert {program.pid, child} < set(processes)
    assert len(processes) >= 4  # the driver, the zygote, a worker and its child
    program.popen.stdin.write(b"x")
    program.popen.stdin.close()
    program.popen.stdin = None
    assert program.finish()[0] == code
    program.check_nothing_is_left()


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 13, 21, 34])
def test_of_a_busy_driver_that_is_killed(start, steps):
    program = start(BUSY + "busy()")
    program.read(steps)
    program.check_no_names()
    program.signal(signal.SIGKILL)
    program.popen.wait()
    program.check_nothing_is_left()


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_of_a_driver_that_is_killed_while_it_starts(start, steps):
    program = start(
        """
        os.write(1, b".")
        skate.init(num_cpus=2)
        os.write(1, b".")
        ref = skate.remote(lambda: 1).remote()
        os.write(1, b".")
        skate.get(ref)
        """
    )
    program.read(steps)
    program.signal(signal.SIGKILL)
    program.popen.wait()
    program.check_nothing_is_left()


def test_of_a_driver_that_becomes_another_program(start):
    program = start(
        BUSY
        + """
skate.get(start_child.remote())
os.execvp("cat", ["cat"])
""",
        stdin=-1,
    )
    # The program it becomes lives on, under the same pid; the session does not.
    program.popen.stdin.write(b"echo\n")
    program.popen.stdin.flush()
    assert program.line() == "echo"
    for pid in program.processes():
        assert pid == program.pid or wait_for_end(pid)
    program.popen.stdin.close()
    program.popen.stdin = None
    assert program.finish()[0] == 0
    program.check_nothing_is_left()


def test_what_tasks_have_started_is_gone_when_shutdown_returns(fresh):
    large = "x = bytearray(b'1') * (50 << 20); print(flush=True); import time; time.sleep(1000)"

    def start():
        argv = [sys.executable, "-c", large]
        children = [subprocess.Popen(argv, stdout=subprocess.PIPE) for _ in range(8)]
        for child in children:
            child.stdout.readline()
        return [child.pid for child in children]

    def has_memory(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return "VmRSS" in Path(f"/proc/{pid}/status").read_text()
        return False

    fresh.init(num_cpus=1)
    pids = fresh.get(fresh.remote(start).remote())
    assert all(has_memory(pid) for pid in pids)
    fresh.shutdown()
    # They were killed with their worker; to give their memory back takes them some time.
    assert not any(has_memory(pid) for pid in pids)
