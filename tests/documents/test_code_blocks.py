"""Every Python block of the documents runs, page by page, one session each."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from run_page import blocks

from skate import _options

ROOT = Path(__file__).parents[2]
ALL = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in ALL if any(blocks(page))]

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


def test_the_figure_of_the_benchmarks_shows_what_the_page_says():
    script = ROOT / "docs" / "figures" / "benchmarks.py"
    subprocess.run([sys.executable, script, "--check"], check=True)


def test_links_between_pages_lead_somewhere():
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in ALL
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not broken


def test_every_option_of_a_task_is_on_its_page():
    page = (ROOT / "docs" / "tasks.md").read_text()
    assert [name for name in _options.TABLE if f"`{name}`" not in page] == []
