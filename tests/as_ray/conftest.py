"""Programs written for Ray, run as a user runs them: `skate run prog.py` in its own process."""

import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest

PATIENCE_S = 30
"""A failure takes so long; a success never does."""


def _clean(environment):
    settings = {name: value for name, value in os.environ.items() if name[:4] not in ("RAY_",)}
    settings.pop("SKATE_AS_RAY", None)
    return {**settings, **(environment or {})}


@pytest.fixture
def call(tmp_path):
    """Run a command: exit code, stdout, stderr."""

    def call(*argv, environment=None):
        done = subprocess.run(
            argv,
            cwd=tmp_path,
            env=_clean(environment),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)

    return call


@pytest.fixture
def program(tmp_path):
    """Write a program: its path."""

    def write(source, name="prog.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        return str(path)

    return write


@pytest.fixture
def skate_run(call, program):
    """Run a program's source with `skate run`: its stdout, after a good end."""

    def run(source, *arguments, switches=("--shadow",), environment=None):
        # `--shadow`: the tests hold wherever they run, with Ray installed or without.
        argv = (sys.executable, "-m", "skate", "run", *switches, program(source), *arguments)
        done = call(*argv, environment=environment)
        assert done.code == 0, done.err
        return done.out

    return run
