"""Tests of what can be seen of a session, from inside and from outside."""

import contextlib
import os
import subprocess
import sys
import time

import pytest


@pytest.fixture
def until():
    """Looks again until what is looked for is there."""

    def wait(look):
        deadline = time.monotonic() + 20
        while not (found := look()):
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.002)
        return found

    return wait


@pytest.fixture
def f(skate):
    """A task that gives back its argument."""

    @skate.remote
    def f(x=None):
        return x

    return f


@pytest.fixture
def held(skate, gate):
    """A task that runs until the test is over."""

    @skate.remote
    def held(path):
        path.read_bytes()

    ref = held.remote(gate)
    yield ref
    gate.write_bytes(b"")
    skate.get(ref)


BEGINNING = """
import os, sys, time
import skate
skate.init(num_cpus=2)

@skate.remote
def held(path):
    open(path).close()

@skate.remote
def f(x=None):
    return x

@skate.remote(generator_backpressure_num_objects=3)
def numbers(n):
    for k in range(n):
        yield k
"""
END = """
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path):
    """Starts drivers: programs that do something, say "ready" and go on until the test is over."""
    running = []

    def begin(body="", **environment):
        path = tmp_path / f"driver{len(running)}.py"
        path.write_text(BEGINNING + body + END)
        process = subprocess.Popen(
            [sys.executable, path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
            env={**os.environ, **environment},
        )  # fmt: skip
        running.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in running:
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.wait(20)
        process.stdout.close()


@pytest.fixture
def skate_program():
    """Runs the program `skate` and gives what it says."""

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "skate", *map(str, arguments)],
            check=False, capture_output=True, text=True, timeout=40,
            env={**os.environ, **environment},
        )  # fmt: skip

    return run
