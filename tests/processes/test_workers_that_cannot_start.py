"""When no worker can be made, whoever waits for one gets an error that says why; nothing hangs."""

import sys

import pytest

TRY = """
try:
    skate.init(num_cpus=1)
    print(skate.get(skate.remote(lambda: 1).remote(), timeout=20))
except skate.exceptions.RayError as error:
    print(type(error).__name__, error)
"""


def test_executable_that_does_not_exist(run):
    out, _ = run("sys.executable = '/nowhere/python'\n" + TRY)
    assert "RaySystemError" in out
    assert "/nowhere/python" in out
    assert "No such file" in out


@pytest.mark.parametrize("executable", [None, ""])
def test_executable_that_is_not_known(run, executable):
    out, _ = run(f"sys.executable = {executable!r}\n" + TRY)
    assert "RaySystemError" in out
    assert "sys.executable" in out


def test_executable_that_is_not_python(run):
    out, _ = run("sys.executable = '/bin/false'\n" + TRY)
    assert "Error" in out  # of `init`, or of the task, whichever sees it first
    assert "exit status: 1" in out


@pytest.mark.parametrize(
    ("custom", "reason"),
    [
        ("import os, sys\nif '-c' in sys.argv: os._exit(3)", "exit status: 3"),
        ("import os, sys\nif '-c' in sys.argv: os.kill(os.getpid(), 9)", "SIGKILL"),
    ],
)
def test_site_customisation_that_ends_the_interpreter(run, tmp_path, custom, reason):
    (tmp_path / "site").mkdir()
    # Of the children only: the driver is a script here.
    (tmp_path / "site" / "sitecustomize.py").write_text(custom)
    (tmp_path / "script.py").write_text("import sys, skate\n" + TRY)
    out, _ = run(
        argv=[sys.executable, "script.py"],
        environment={"PYTHONPATH": str(tmp_path / "site")},
    )
    assert "WorkerCrashedError" in out
    assert reason in out


def test_skate_that_the_children_cannot_import(run, tmp_path):
    out, err = run(
        """
        sys.path[:] = [entry for entry in sys.path if not os.path.exists(entry + "/skate")]
        """
        + TRY.replace("\n", "\n        ")
    )
    assert "WorkerCrashedError" in out
    assert "ModuleNotFoundError" in err


def test_session_goes_on_when_workers_can_be_made_again(run):
    out, _ = run(
        """
        import skate._launch as launch
        good = sys.executable
        sys.executable = "/bin/false"
        """
        + TRY.replace("\n", "\n        ")
        + """
        skate.shutdown()
        sys.executable = good
        """
        + TRY.replace("\n", "\n        ")
    )
    assert out.endswith("\n1\n")


def test_fork_that_is_refused(run, tmp_path):
    # As under RLIMIT_NPROC, which does not bind root: from its third on, forks of the zygote fail.
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import errno, itertools, os, sys\n"
        "fork, count = os.fork, itertools.count(1)\n"
        "def few():\n"
        "    if next(count) > 2:\n"
        "        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))\n"
        "    return fork()\n"
        "if '-c' in sys.argv: os.fork = few\n"
    )
    (tmp_path / "script.py").write_text("""
import skate
skate.init(num_cpus=2)

@skate.remote
def plain(k):
    return k

@skate.remote
def deep(n):
    return skate.get(deep.remote(n - 1)) if n else 0

print(sum(skate.get([plain.remote(k) for k in range(20)], timeout=20)))
try:
    print(skate.get(deep.remote(8), timeout=20))
except skate.exceptions.RayError as error:
    print(type(error).__name__, " ".join(str(error).split()))
print(sum(skate.get([plain.remote(k) for k in range(20)], timeout=20)))
""")
    out, _ = run(
        argv=[sys.executable, "script.py"], environment={"PYTHONPATH": str(tmp_path / "site")}
    )
    first, middle, last = out.splitlines()
    assert (first, last) == ("190", "190")
    assert "Resource temporarily unavailable" in middle


IDLE = """
skate.init(num_cpus=1)
while not (os.path.exists("forks") and os.path.getsize("forks")):
    time.sleep(0.01)
time.sleep(1)  # for more of them
"""


@pytest.mark.parametrize("source", [TRY, IDLE], ids=["task", "idle"])
def test_workers_that_end_before_they_begin_anything(run, tmp_path, source):
    # Each fork went well, so another followed, 200 a second, and the task waited for ever.
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def end():\n"
        f"    with open({str(tmp_path / 'forks')!r}, 'ab', 0) as file: file.write(b'x')\n"
        "    os._exit(7)\n"
        "if '-c' in sys.argv: os.register_at_fork(after_in_child=end)\n"
    )
    (tmp_path / "script.py").write_text("import os, sys, time, skate\n" + source)
    out, _ = run(
        argv=[sys.executable, "script.py"], environment={"PYTHONPATH": str(tmp_path / "site")}
    )
    if source is TRY:
        assert "WorkerCrashedError" in out
        assert "exit code 7" in out
    assert 1 <= len((tmp_path / "forks").read_bytes()) <= 8
