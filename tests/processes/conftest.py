"""Drivers in processes of their own, as fixtures; see programs.py."""

import sys
import textwrap

import pytest
from programs import PATIENCE_S, PRELUDE, Program


@pytest.fixture
def start(tmp_path):
    """Start a driver: `start(source)`, or `start(argv=[...])`.

    Whatever a test leaves, it is killed in the end.
    """
    started = []

    def start(source=None, *, argv=None, switches=(), arguments=(), prelude=PRELUDE, **options):
        if argv is None:
            argv = [sys.executable, *switches, "-c", prelude + textwrap.dedent(source), *arguments]
        program = Program(argv, tmp_path, **options)
        started.append(program)
        return program

    yield start
    for program in started:
        program.end()


@pytest.fixture
def run(start):
    """Run a driver to its good end, after which nothing is left: its stdout and stderr."""

    def run(*args, timeout=PATIENCE_S, **options):
        return start(*args, **options).succeed(timeout)

    return run
