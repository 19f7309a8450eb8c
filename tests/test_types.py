"""What mypy and pyright refuse in refused/*.py are the lines that say so, and no other."""

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "typing"
ROOT = HERE.parents[1]
FILES = sorted((HERE / "refused").glob("*.py"))


def marked(path, checker):
    lines = path.read_text().splitlines()
    ends = ("# error", f"# error of {checker}")
    return {number for number, line in enumerate(lines, 1) if line.endswith(ends)}


def run(*argv):
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_mypy_refuses_exactly_the_marked_lines(path, tmp_path):
    out = run(sys.executable, "-m", "mypy", "--cache-dir", tmp_path, path)
    refused = {int(number) for number in re.findall(r":(\d+): error:", out)}
    assert refused == marked(path, "mypy"), out


@pytest.mark.skipif(
    find_spec("pyright") is None or shutil.which("node") is None,
    reason="pyright is not installed: make types",
)
@pytest.mark.timeout(300)  # it fetches itself from npm once
@pytest.mark.parametrize(
    "path", [*FILES, HERE / "tasks.py", HERE / "actors.py"], ids=lambda p: p.stem
)
def test_pyright_refuses_exactly_the_marked_lines(path):
    out = run(sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, path)
    problems = json.loads(out)["generalDiagnostics"]
    refused = {
        each["range"]["start"]["line"] + 1 for each in problems if each["severity"] == "error"
    }
    assert refused == marked(path, "pyright"), json.dumps(problems, indent=1)
