"""Workers are like the driver: directory, path, modules, environment, switches."""

import contextlib
import os
import sys
import zipfile
from pathlib import Path

import pytest
from programs import descriptors

from skate import _launch

BODY = """
import os, sys
import skate
import beside

class Point:
    def __init__(self, x):
        self.x = x

def double(x):
    return 2 * x

@skate.remote
def look(point):
    import beside as again
    assert type(point).__name__ == "Point" and point.x == 1
    mark = os.environ["FROM_DRIVER"]
    return os.getcwd(), double(beside.VALUE), again.add(1), mark, str(sys.flags)

if __name__ == "__main__":
    os.environ["FROM_DRIVER"] = "set before init"
    skate.init(num_cpus=1)
    cwd, *rest = skate.get(look.remote(Point(1)))
    assert cwd == os.getcwd(), cwd
    assert rest == [42, 22, "set before init", str(sys.flags)], rest
    print("as the driver")
"""
BESIDE = "VALUE = 21\ndef add(x): return VALUE + x\n"


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / 'a space, ünïcode ☃, quote\'s "and" back\\slash'
    path.mkdir()
    (path / "beside.py").write_text(BESIDE)
    (path / "script.py").write_text(BODY, encoding="utf-8")
    return path


def test_of_a_script_started_from_elsewhere(run, directory):
    out, _ = run(argv=[sys.executable, str(directory / "script.py")])
    assert out == "as the driver\n"


def test_of_a_module(run, directory):
    out, _ = run(argv=[sys.executable, "-m", "script"], cwd=directory)
    assert out == "as the driver\n"


def test_of_a_command(run, directory):
    out, _ = run(argv=[sys.executable, "-c", BODY], cwd=directory)
    assert out == "as the driver\n"


def test_of_standard_input(run, directory):
    with (directory / "script.py").open("rb") as script:
        out, _ = run(argv=[sys.executable, "-"], cwd=directory, stdin=script)
    assert out == "as the driver\n"


def test_of_a_zip_file(run, directory):
    archive = directory / "app.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(directory / "beside.py", "beside.py")
        zipped.write(directory / "script.py", "__main__.py")
    (directory / "beside.py").unlink()
    out, _ = run(argv=[sys.executable, str(archive)])
    assert out == "as the driver\n"


def test_of_a_package_run_by_its_main(run, tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "beside.py").write_text(BESIDE)
    body = BODY.replace("import beside\n", "from package import beside\n")
    (package / "__main__.py").write_text(
        body.replace("import beside as", "from . import beside as")
    )
    out, _ = run(argv=[sys.executable, "-m", "package"])
    assert out == "as the driver\n"


def test_under_pytest(run, tmp_path):
    (tmp_path / "beside.py").write_text(BESIDE)
    (tmp_path / "test_it.py").write_text(
        "import skate, beside\n"
        "def helper(): return beside.VALUE\n"
        "@skate.remote\n"
        "def look(): return helper()\n"
        "def test_it():\n"
        "    with skate.init(num_cpus=1):\n"
        "        assert skate.get(look.remote()) == 21\n"
    )
    out, _ = run(
        argv=[sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    )
    assert "1 passed" in out


@pytest.mark.parametrize(
    "switches", [["-I"], ["-O"], ["-OO"], ["-W", "error"], ["-B", "-s"], ["-E"]]
)
def test_with_switches(run, switches):
    out, err = run(
        """
        skate.init(num_cpus=1)
        look = skate.remote(lambda: (str(sys.flags), sys.warnoptions, __debug__))
        assert skate.get(look.remote()) == (str(sys.flags), sys.warnoptions, __debug__)
        print(sum(skate.get([skate.remote(lambda x: x).remote(k) for k in range(10)])))
        """,
        switches=switches,
    )
    assert (out, err) == ("45\n", "")


def test_with_pythonpath(run, tmp_path):
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    (elsewhere / "beside.py").write_text(BESIDE)
    out, _ = run(
        "import beside\nprint(skate.get(skate.remote(lambda: beside.add(1)).remote()))\n",
        environment={"PYTHONPATH": str(elsewhere)},
    )
    assert out == "22\n"


@pytest.mark.parametrize("name", ["json", "select", "array", "queue", "random", "errno"])
def test_beside_a_file_that_is_named_like_a_module_of_python(run, tmp_path, name):
    # Scripts are often called so. The driver does not import it, and neither do its workers.
    (tmp_path / f"{name}.py").write_text("raise SystemExit('imported the wrong file')\n")
    (tmp_path / "script.py").write_text(
        "import skate\nskate.init(num_cpus=1)\nprint(skate.get(skate.remote(lambda: 1).remote()))\n"
    )
    out, _ = run(argv=[sys.executable, "script.py"])
    assert out == "1\n"


def test_in_a_directory_that_was_removed(run, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    out, err = run(
        """
        os.rmdir(os.getcwd())
        skate.init(num_cpus=1)
        print(skate.get(skate.remote(lambda: os.path.exists(os.curdir)).remote()))
        """,
        cwd=gone,
    )
    assert (out, err) == ("True\n", "")


def test_in_a_directory_that_cannot_be_written(run, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    out, _ = run("print(skate.get(skate.remote(lambda: os.getcwd()).remote()))", cwd=locked)
    assert out == f"{locked}\n"


@pytest.mark.parametrize(
    "environment",
    [{"HOME": None}, {"HOME": "/nowhere"}, {"TMPDIR": "/nowhere"}, {"LC_ALL": "C"}, {"PATH": None}],
)
def test_with_a_poor_environment(run, environment):
    out, err = run("print(skate.get(skate.remote(lambda: 1).remote()))", environment=environment)
    assert (out, err) == ("1\n", "")


@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1", "1 2", "0 1 2"])
def test_without_standard_descriptors(start, tmp_path, closed):
    program = start(
        """
        skate.init(num_cpus=2)

        @skate.remote
        def speak(k):
            print("out", k)
            print("err", k, file=sys.stderr)
            os.write(1, b"raw\\n")
            return k

        values = skate.get([speak.remote(k) for k in range(4)])
        os.system("echo from a shell; echo error >&2")  # into whatever the numbers are now
        values += skate.get([speak.remote(k) for k in range(4)])
        skate.shutdown()
        with open("result", "w") as result:
            result.write(str(sum(values)))
        """,
        prelude=f"import os\nfor k in {closed.split()}: os.close(int(k))\nimport sys, skate\n",
    )
    program.finish()
    assert (tmp_path / "result").read_text() == "12"
    program.check_nothing_is_left()


def test_of_an_environment_variable_that_init_sees(run):
    out, _ = run(
        """
        os.environ["MARK"] = "early"
        os.environ.pop("HOME", None)
        skate.init(num_cpus=1)
        print(skate.get(skate.remote(lambda: (os.environ["MARK"], "HOME" in os.environ)).remote()))
        """
    )
    assert out == "('early', False)\n"


def test_of_modules_that_were_found_after_a_change_of_path(run, tmp_path):
    library = tmp_path / "library"
    library.mkdir()
    (library / "beside.py").write_text(BESIDE)
    out, _ = run(
        f"""
        sys.path.insert(0, {str(library)!r})
        import beside
        print(skate.get(skate.remote(beside.add).remote(1)))
        """
    )
    assert out == "22\n"


def test_sys_argv_is_the_drivers(run):
    out, _ = run(
        "print(skate.get(skate.remote(lambda: sys.argv).remote()) == sys.argv)",
        arguments=["a b", "☃", "--flag"],
    )
    assert out == "True\n"


def test_processes_are_named_for_what_they_are(fresh):
    fresh.init(num_cpus=1)

    class AccountKeeper:
        def names(self):
            return name_of("self"), name_of(os.getppid())

    def name_of(process):
        return Path(f"/proc/{process}/comm").read_text().strip()

    assert fresh.get(fresh.remote(name_of).remote("self")) == "ray::worker"
    names = fresh.get(fresh.remote(AccountKeeper).remote().names.remote())
    assert names == ("ray::AccountKee", "skate-zygote")


def test_workers_have_what_the_site_has_opened_and_nothing_of_the_drivers(run, tmp_path):
    """The former was closed: what is written there went to files of the user's and into skate."""
    (tmp_path / "sitecustomize.py").write_text(f"LOG = open({str(tmp_path / 'log')!r}, 'a')\n")
    out, _ = run(
        """
        import sitecustomize

        os.set_inheritable(os.open("/dev/zero", os.O_RDONLY), True)
        skate.init(num_cpus=1)

        @skate.remote
        def look():
            sitecustomize.LOG.write("a line\\n")
            sitecustomize.LOG.flush()
            open_files = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
            return "/dev/zero" in [os.path.realpath(path) for path in open_files]

        print(skate.get(look.remote()))
        """,
        environment={"PYTHONPATH": str(tmp_path)},
    )
    assert out == "False\n"
    assert (tmp_path / "log").read_text() == "a line\n"


LATE = """
import os
from skate import _zygote

tell, fork, forks = _zygote.Zygote._try_send, os.fork, []

def counted():
    forks.append(pid := fork())
    return pid

def tell_late(self, packet, descriptor):
    return (b"spawned" not in packet or len(forks) > 1) and tell(self, packet, descriptor)

os.fork, _zygote.Zygote._try_send = counted, tell_late
"""


def processes_of_pidfds():
    """The processes that the caller could watch and kill by descriptors that it holds."""
    for path in Path("/proc/self/fdinfo").iterdir():
        with contextlib.suppress(OSError):  # the listing's own
            rows = dict(row.split(":", 1) for row in path.read_text().splitlines())
            if "Pid" in rows:
                yield int(rows["Pid"])


def test_a_worker_has_nothing_that_is_the_zygotes_own(fresh, gate, monkeypatch):
    """Neither its socket nor its children, one of which is still to be told of."""
    *argv, code = _launch.zygote_argv()
    late = [*argv, code.replace("; main()", f"; exec({LATE!r}); main()")]
    monkeypatch.setattr(_launch, "zygote_argv", lambda: late)
    fresh.init(num_cpus=2)

    @fresh.remote
    def look(together):
        together()  # two workers, beside each other
        return os.getpid(), os.getppid(), list(processes_of_pidfds()), descriptors("self")

    ways = [gate.read_bytes, lambda: gate.write_bytes(b"")]
    (one, zygote, *_), (another, *_) = rows = fresh.get([look.remote(way) for way in ways])
    assert one != another
    sockets = {link for link in descriptors(zygote) if link.startswith("socket:")}
    assert len(sockets) == 1
    for _, _, watched, links in rows:
        assert watched == [os.getpid()]
        assert not sockets.intersection(links)
