"""What people see when something goes wrong: whole texts, held in files.

    programs/NAME.py ─ run ─▶ stderr ─ masked ─▶ NAME.txt

Process ids, object ids and durations are masked; the marks under a line differ between versions of
Python and are left out. `SKATE_UPDATE_GOLDEN=1` writes the files anew: read what has changed.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROGRAMS = sorted((HERE / "programs").glob("*.py"))

pytestmark = pytest.mark.processes("whole programs with workers of their own")


def masked(text):
    text = text.replace(f"{HERE / 'programs'}/", "")
    text = re.sub(r"\bpid([=: ]+)\d+", r"pid\1N", text)
    text = re.sub(r"\b[0-9a-f]{32,56}\b", "ID", text)
    text = re.sub(r"\bfor [\d.]+ (m?s)\b", "for N s", text)
    marks = re.compile(r"\s*[~^]+\s*")
    return "\n".join(line for line in text.splitlines() if not marks.fullmatch(line)) + "\n"


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_people_see_their_own_lines_the_reason_and_what_to_do(program):
    quiet = {**os.environ, "NO_COLOR": "1", "PYTHON_COLORS": "0"}
    ran = subprocess.run(
        [sys.executable, program], check=False, capture_output=True, text=True, env=quiet,
        timeout=50,
    )  # fmt: skip
    seen, expected = masked(ran.stderr), program.parent.parent / f"{program.stem}.txt"
    if os.environ.get("SKATE_UPDATE_GOLDEN") == "1":
        expected.write_text(seen)
    assert seen == expected.read_text()


def test_no_text_shows_a_frame_of_the_engine():
    for program in PROGRAMS:
        text = (HERE / f"{program.stem}.txt").read_text()
        assert "skate/_" not in text, program.stem
        assert "cloudpickle.py" not in text, program.stem
