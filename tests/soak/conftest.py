"""Long runs, by `make soak`. They use the programs of tests/processes."""

import sys
from pathlib import Path

import pytest

PROCESSES = Path(__file__).parent.parent / "processes"
sys.path.insert(0, str(PROCESSES))

from programs import Program  # noqa: E402 - found by the line above
from test_nothing_is_left import BUSY  # noqa: E402 - the same


@pytest.fixture
def busy(tmp_path):
    """A busy driver; it writes a byte whenever one of its gets returns."""
    prelude = "import os, signal, sys\nimport skate\n"
    program = Program([sys.executable, "-c", f"{prelude}{BUSY}busy()"], tmp_path)
    yield program
    program.end()
