"""The fixtures of `skate.pytest_plugin`, in a pytest of their own."""

import subprocess
import sys
import textwrap


def run(directory, *arguments):
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "skate.pytest_plugin"]
    argv += ["-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        argv, cwd=directory, capture_output=True, text=True, timeout=50, check=False
    )


LEAKS = """
import os
import time

import pytest

kept = []


@pytest.fixture
def number(skate_session):
    return skate_session.put(1)


def test_clean(skate_session, number):
    ref = skate_session.remote(lambda x: x).remote(number)
    assert skate_session.get(ref) == 1


def test_keeps(skate_session):
    kept.append(skate_session.put(2))


@pytest.mark.skate_keeps
def test_may_keep(skate_session):
    kept.append(skate_session.put(3))


def test_what_was_there_does_not_count(skate_session):
    assert skate_session.get(kept) == [2, 3]


def test_where_it_runs(skate_session):
    here = skate_session.remote(lambda: os.getpid())
    assert skate_session.get(here.remote()) == os.getpid()
"""


def test_a_test_that_leaves_something_behind_fails(tmp_path):
    (tmp_path / "test_leaks.py").write_text(LEAKS)
    done = run(tmp_path, "test_leaks.py")
    assert "1 failed, 4 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "\nleft in skate: objects 1, driver_handles 1\n" in done.stdout
    assert "FAILED test_leaks.py::test_where_it_runs" in done.stdout


def test_local_mode_is_an_option(tmp_path):
    (tmp_path / "test_leaks.py").write_text(LEAKS)
    done = run(tmp_path, "test_leaks.py", "--skate-local", "-k", "where or clean")
    assert "2 passed" in done.stdout, done.stdout + done.stderr


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
    done = run(tmp_path, "test_user.py", "test_later.py")
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_a_test_whose_session_has_been_ended_fails_and_says_so(tmp_path):
    """It had another one, with other options, that its first use began."""
    (tmp_path / "test_mixed.py").write_text(
        textwrap.dedent("""
        def test_before(skate_session):
            assert skate_session.cluster_resources()["CPU"] == 2

        def test_fresh(skate_fresh):
            skate_fresh.init(num_cpus=3)

        def test_after(skate_session):
            raise AssertionError("it ran")
        """)
    )
    done = run(tmp_path, "test_mixed.py", "--skate-local")
    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert "\nskate_session: a test before this one has ended the session" in done.stdout
    assert "it ran" not in done.stdout
