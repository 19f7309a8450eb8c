"""The fixtures of `skate.pytest_plugin`, in a pytest of their own."""

import subprocess
import sys
import textwrap


def test_the_fixtures_give_a_session_and_end_it(tmp_path):
    (tmp_path / "test_user.py").write_text(
        textwrap.dedent("""
        import pytest

        @pytest.fixture(scope="module")
        def skate_options():
            return {"num_cpus": 1, "resources": {"mine": 3}}

        def test_session(skate_session):
            assert skate_session.cluster_resources()["mine"] == 3
            assert skate_session.get(skate_session.remote(lambda: 5).remote()) == 5

        def test_the_same_session(skate_session):
            assert skate_session.is_initialized()

        def test_fresh(skate_fresh):
            assert not skate_fresh.is_initialized()
            skate_fresh.init(num_cpus=1)
        """)
    )
    (tmp_path / "test_later.py").write_text(
        "import skate\ndef test_nothing_is_left():\n    assert not skate.is_initialized()\n"
    )
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "skate.pytest_plugin",
        "-p",
        "no:cacheprovider",
    ]
    files = ["test_user.py", "test_later.py"]
    done = subprocess.run(
        [*argv, *files], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert "4 passed" in done.stdout, done.stdout + done.stderr
