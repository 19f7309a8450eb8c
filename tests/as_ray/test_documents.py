"""What docs/ray.md and its example say is so."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_in_the_document_is_the_one_that_skate_uses():
    argv = [sys.executable, str(ROOT / "docs" / "compatibility_table.py"), "--check"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr} run: python docs/compatibility_table.py"


def test_the_program_written_for_ray_runs_unchanged(call):
    path = str(ROOT / "examples" / "written_for_ray.py")
    done = call(sys.executable, "-m", "skate", "run", "--shadow", path)
    assert done.code == 0, done.err
    assert done.out.startswith("{'a': 3, 'b': 2, 'c': 4} in ")
    done = call(sys.executable, "-m", "skate", "check", path)
    assert done.code == 0, done.out
    assert "missing" not in done.out
