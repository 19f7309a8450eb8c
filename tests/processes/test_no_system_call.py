"""`next` in the driver makes no system call when an item is there.

A program reads under a seccomp filter that ends it at the first system call beyond those that
give memory; the kernel is the witness.
"""

import platform
import signal
import subprocess
import sys

import pytest

# Numbers of: brk, mmap, munmap, mremap, mprotect, madvise ┊ write, exit_group
CALLS = {
    "x86_64": [12, 9, 11, 25, 10, 28, 1, 231],
    "aarch64": [214, 222, 215, 216, 226, 233, 64, 94],
}

PROGRAM = """
import ctypes, os, struct, sys
import skate

skate.init(num_cpus=1)

@skate.remote
def items(count):
    yield from range(count)

count, allowed, method, is_control = int(sys.argv[1]), eval(sys.argv[2]), *sys.argv[3:]
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
    allowed = CALLS.get(platform.machine())
    if allowed is None:
        pytest.skip(f"no numbers of system calls for {platform.machine()}")
    argv = [sys.executable, "-c", PROGRAM, "10000", str(allowed), method, str(is_control)]
    done = subprocess.run(argv, capture_output=True, timeout=50, check=False)
    if done.stdout == b"no seccomp":
        pytest.skip("this system allows no seccomp filter")
    return done


TRIES = 10


@pytest.mark.parametrize("method", ["__next__", "next"])
def test_items_that_are_there_are_read_without_a_system_call(method):
    # Another thread of the driver may hold the node's lock for a moment, and the kernel is asked
    # for it. A read that always made a call would never get through 10,000 items.
    for _ in range(TRIES):
        done = run(method)
        if done.returncode == 0:
            break
    assert (done.stdout, done.returncode) == (b"read", 0), done.stderr


def test_the_witness_sees_a_system_call():
    done = run("next", is_control=True)
    assert (done.stdout, done.returncode) == (b"", -signal.SIGSYS)
