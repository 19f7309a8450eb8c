"""`next` in the driver makes no system call when an item is there and nobody else is in the node.

A program reads under a seccomp filter that ends it at the first system call beyond those that
give memory; the kernel is the witness. The node has one lock: a read that meets another thread of
the driver there, which looks in every 10 ms for as long as something is dropped, asks the kernel
to wait (`sched_yield`, `futex`). So the program reads when all its other threads sleep for good,
which the kernel tells as well.
"""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Numbers of: brk, mmap, munmap, mremap, mprotect, madvise ┊ write, exit_group
CALLS = {
    "x86_64": [12, 9, 11, 25, 10, 28, 1, 231],
    "aarch64": [214, 222, 215, 216, 226, 233, 64, 94],
}

# Numbers of the calls in which a thread of skate sleeps, and which argument is how long:
# epoll_pwait ┊ futex, ppoll
SLEEPS = {
    "x86_64": {281: 3, 202: 3, 271: 2},
    "aarch64": {22: 3, 98: 3, 73: 2},
}

PROGRAM = """
import ctypes, os, pathlib, struct, sys, threading
import skate

skate.init(num_cpus=1)

@skate.remote
def items(count):
    yield from range(count)

count, method, is_control = int(sys.argv[1]), sys.argv[2], sys.argv[3]
allowed, sleeps = eval(sys.argv[4]), eval(sys.argv[5])
stream = items.remote(count)
skate.get(stream.completed())
refs = [None] * count
next_item = getattr(stream, method)

def filter_of(allowed):
    # struct sock_filter: code, jump if true, jump if false, constant
    load, equal, give = 0x20, 0x15, 0x06
    rows = [(load, 0, 0, 0)]
    rows += [(equal, len(allowed) - place, 0, call) for place, call in enumerate(allowed)]
    rows += [(give, 0, 0, 0x80000000), (give, 0, 0, 0x7FFF0000)]  # kill the process; allow
    return b"".join(struct.pack("HBBI", *row) for row in rows), len(rows)

rows, length = filter_of(allowed)
held = ctypes.create_string_buffer(rows)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", length, ctypes.addressof(held)))

def sleeps_for_good(thread):
    number, *arguments = (thread / "syscall").read_text().split()
    if not number.isdigit() or int(number) not in sleeps:
        return False  # "running", or in a call that ends
    return arguments[sleeps[int(number)]] in {"0x0", "0xffffffffffffffff"}  # no pointer; -1

others = set(pathlib.Path("/proc/self/task").iterdir())
others.remove(pathlib.Path(f"/proc/self/task/{threading.get_native_id()}"))
while not all(map(sleeps_for_good, others)):
    os.sched_yield()
prctl = ctypes.CDLL(None, use_errno=True).prctl
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program):
    os.write(1, b"no seccomp")
    os._exit(0)
for place in range(count):
    refs[place] = next_item()
if is_control == "True":
    os.getppid()
os.write(1, b"read")
os._exit(0)
"""


def run(method, *, is_control=False):
    allowed, sleeps = CALLS.get(platform.machine()), SLEEPS.get(platform.machine())
    if allowed is None or sleeps is None:
        pytest.skip(f"no numbers of system calls for {platform.machine()}")
    if not Path("/proc/self/syscall").exists():
        pytest.skip("this kernel does not tell in which call a thread sleeps")
    argv = [sys.executable, "-c", PROGRAM, "10000", method, str(is_control)]
    # Nobody looks at the memory every 250 ms either.
    env = {**os.environ, "SKATE_memory_monitor_refresh_ms": "0"}
    tables = [str(allowed), str(sleeps)]
    done = subprocess.run([*argv, *tables], env=env, capture_output=True, timeout=50, check=False)
    if done.stdout == b"no seccomp":
        pytest.skip("this system allows no seccomp filter")
    return done


@pytest.mark.parametrize("method", ["__next__", "next"])
def test_items_that_are_there_are_read_without_a_system_call(method):
    done = run(method)
    assert (done.stdout, done.returncode) == (b"read", 0), done.stderr


def test_the_witness_sees_a_system_call():
    done = run("next", is_control=True)
    assert (done.stdout, done.returncode) == (b"", -signal.SIGSYS)
