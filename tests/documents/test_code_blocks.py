"""Every Python block of the documents runs, page by page, one session each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from run_page import blocks

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if any(blocks(page))
]

pytestmark = pytest.mark.processes("whole programs with workers of their own")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_python_block_of_the_page_runs(page, tmp_path):
    (tmp_path / "README.md").write_bytes((ROOT / "README.md").read_bytes())  # some read it
    ran = subprocess.run(
        [sys.executable, Path(__file__).with_name("run_page.py"), page],
        check=False, capture_output=True, text=True, cwd=tmp_path, timeout=55,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_no_block_hides_from_the_test_by_another_name():
    for page in PAGES:
        assert "```py\n" not in page.read_text()
        assert "```python3" not in page.read_text()
