"""Programs run wherever and however Python runs them: the same result, and nothing is left."""

import os
import stat
import subprocess
import sys
import zipfile

import pytest

SOURCE = """
import skate

class Local:
    def __init__(self, value):
        self.value = value

@skate.remote
def square(local):
    return Local(local.value ** 2)

@skate.remote
def count(n):
    yield from range(n)

def main():
    skate.init(num_cpus=2)
    assert skate.get(square.remote(Local(7))).value == 49
    print(skate.get(list(count.remote(4))))

if __name__ == "__main__":
    main()
"""
EXPECTED = "[0, 1, 2, 3]\n"


def as_script(folder):
    (folder / "script.py").write_text(SOURCE)
    return [sys.executable, str(folder / "script.py")]


def as_module(folder):
    (folder / "pack").mkdir()
    (folder / "pack" / "__init__.py").write_text("")
    (folder / "pack" / "__main__.py").write_text(SOURCE)
    return [sys.executable, "-m", "pack"]


def as_zip(folder):
    with zipfile.ZipFile(folder / "app.zip", "w") as archive:
        archive.writestr("__main__.py", "import inside\ninside.main()\n")
        archive.writestr("inside.py", SOURCE)
    return [sys.executable, str(folder / "app.zip")]


def as_command(folder):
    return [sys.executable, "-c", SOURCE]


@pytest.mark.parametrize("name", ["plain", "with spaces", "ünïcödé 漢字", "quo'te\"s", "new\nline"])
@pytest.mark.parametrize("way", [as_script, as_module, as_zip])
def test_from_a_folder_of_that_name(start, tmp_path, way, name):
    folder = tmp_path / name
    folder.mkdir()
    assert start(argv=way(folder), cwd=folder).succeed()[0] == EXPECTED


def test_as_a_command(start, tmp_path):
    assert start(argv=as_command(tmp_path)).succeed()[0] == EXPECTED


@pytest.mark.parametrize("switches", [[], ["-i", "-q"]], ids=["program", "typed in"])
def test_from_standard_input(start, switches):
    program = start(argv=[sys.executable, *switches, "-"], stdin=subprocess.PIPE)
    source = SOURCE.replace('if __name__ == "__main__":\n    main()\n', "main()\n")
    program.popen.stdin.write(source.encode())
    program.popen.stdin.close()
    program.popen.stdin = None
    assert program.succeed()[0] == EXPECTED


def test_pytest_runs_it(start, tmp_path):
    (tmp_path / "test_inside.py").write_text(SOURCE + "\n\ndef test_main():\n    main()\n")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_inside.py"]
    assert "1 passed" in start(argv=argv).succeed()[0]


def test_without_a_home(start, tmp_path):
    environment = {"HOME": None, "USER": None, "LOGNAME": None}
    assert start(argv=as_script(tmp_path), environment=environment).succeed()[0] == EXPECTED


def test_with_an_empty_environment(start, tmp_path):
    keeps = {"SKATE_TEST_MARK"}
    environment = dict.fromkeys(set(os.environ) - keeps)
    assert start(argv=as_script(tmp_path), environment=environment).succeed()[0] == EXPECTED


def test_with_a_directory_for_files_that_takes_none(start, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    environment = {"TMPDIR": str(closed)}
    assert start(argv=as_script(tmp_path), environment=environment).succeed()[0] == EXPECTED
    assert not os.listdir(closed)


def test_in_a_folder_that_is_gone(start, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    source = f"import os\nos.rmdir({str(folder)!r})\n{SOURCE}"
    assert start(argv=[sys.executable, "-c", source], cwd=folder).succeed()[0] == EXPECTED


def test_on_one_cpu(start, tmp_path):
    source = f"import os\nos.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})\n{SOURCE}"
    assert start(argv=[sys.executable, "-c", source]).succeed()[0] == EXPECTED


@pytest.mark.parametrize("closed", [(0,), (1, 2), (0, 1, 2)])
def test_without_standard_streams(start, tmp_path, closed):
    result = tmp_path / "result"
    lines = "".join(f"os.close({number})\n" for number in closed)
    source = f"import os, pathlib\n{lines}{SOURCE}".replace(
        "print(", f"pathlib.Path({str(result)!r}).write_text(str("
    ).replace("remote(4))))", "remote(4)))))")
    start(argv=[sys.executable, "-c", source]).succeed()
    assert result.read_text() == EXPECTED.strip()


def test_with_thousands_of_arguments_and_a_long_search_path(run):
    """Workers are told of both; in one packet there was room for 64 KiB."""
    arguments = [str(number) for number in range(20_000)]
    out, _ = run(
        """
        sys.path += [f"/nowhere/{number}" for number in range(3_000)]
        skate.init(num_cpus=1)
        told = skate.get(skate.remote(lambda: (len(sys.argv), len(sys.path))).remote())
        print(told == (len(sys.argv), len(sys.path)), told[0])
        """,
        arguments=arguments,
    )
    assert out == "True 20001\n"


def test_with_sigchld_ignored(run):
    """The kernel reaped the workers: their zygote died of that, and tasks got wrong exit codes."""
    _, err = run("""
        import subprocess

        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        skate.init(num_cpus=2)

        @skate.remote(max_calls=1)
        def parent():
            return os.getppid()

        assert len({skate.get(parent.remote()) for _ in range(4)}) == 1
        code = skate.get(skate.remote(lambda: subprocess.run(["false"]).returncode).remote())
        assert code == 1, code
    """)
    assert err == ""
