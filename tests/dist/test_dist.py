"""What is published: one wheel and one source archive. Run by `make dist`, which builds them.

Invariant of the tests: they look at dist/ alone, and run the quick start in an environment that
has nothing but what `pip install` of the wheel brings.
"""

import email
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
WHEEL_BYTES_MAX = 10_000_000
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.fixture(scope="module")
def wheel():
    (found,) = DIST.glob("skate-*.whl")
    return found


@pytest.fixture(scope="module")
def archive():
    (found,) = DIST.glob("skate-*.tar.gz")
    return found


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The interpreter of an empty environment into which the wheel was installed."""
    place = tmp_path_factory.mktemp("empty") / "venv"
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    python = place / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
    return python


def test_there_is_one_wheel_for_every_python_and_it_is_small(wheel):
    assert re.fullmatch(rf"skate-{VERSION}-cp311-abi3-(many)?linux\w+\.whl", wheel.name)
    assert wheel.stat().st_size < WHEEL_BYTES_MAX


def test_the_wheel_has_the_licences_the_types_and_the_finder_and_no_tests(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        licences = [name for name in names if "/licenses/" in name]
        assert {Path(name).name for name in licences} == {"LICENSE", "LICENSE-THIRD-PARTY"}
        assert "skate/py.typed" in names
        assert "skate/_native.pyi" in names
        assert any(name.endswith("purelib/skate_as_ray.pth") for name in names)
        assert not [name for name in names if Path(name).name.startswith(("test_", "conftest"))]
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        fields = email.message_from_bytes(file.read(metadata))
    assert fields["Version"] == VERSION
    assert fields["License-Expression"] == "Apache-2.0"
    assert fields["Requires-Python"] == ">=3.11"
    needed = {re.split(r"[><=; ]", each)[0] for each in fields.get_all("Requires-Dist") if "extra" not in each}
    assert needed == {"cloudpickle", "numpy"}


def test_the_licences_name_every_crate_that_is_linked_in():
    subprocess.run([sys.executable, ROOT / "rust" / "licences.py", "--check"], check=True)


def test_the_quick_start_runs_where_only_the_wheel_is_installed(python, tmp_path):
    (tmp_path / "README.md").write_bytes((ROOT / "README.md").read_bytes())
    page = ROOT / "tests" / "documents" / "run_page.py"
    for source in (ROOT / "README.md", ROOT / "docs" / "tutorial.md"):
        subprocess.run([python, page, source], cwd=tmp_path, check=True, timeout=100, env=CLEAN)


def test_the_version_is_the_one_of_cargo_toml(python):
    argv = [python, "-m", "skate", "--version"]
    said = subprocess.run(argv, check=True, capture_output=True, text=True, env=CLEAN)
    assert said.stdout == f"skate {VERSION}\n"


def test_the_archive_has_what_a_build_needs(archive):
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    needed = ("Cargo.toml", "Cargo.lock", "pyproject.toml", "LICENSE", "LICENSE-THIRD-PARTY",
              "python/data/purelib/skate_as_ray.pth")  # fmt: skip
    assert not {*needed, "README.md", "rust/native/src/lib.rs", "python/skate/__init__.py"} - names


@pytest.mark.timeout(1800)
def test_a_wheel_can_be_built_from_the_archive_alone(archive, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, archive],
        check=True, cwd=tmp_path,
    )  # fmt: skip
    (built,) = tmp_path.glob("skate-*.whl")
    assert built.stat().st_size < WHEEL_BYTES_MAX
