"""`init(preload=...)`: imported once, in the zygote; whatever fails there, programs work."""

import importlib
import json
import os
import select
import signal
import subprocess
import sys
from textwrap import indent
from types import ModuleType

import pytest


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Make a module by its source: importable here, but not imported."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name, source):
        tmp_path.joinpath(f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        return name

    return make


def where(name):
    """In a worker: the process that has imported it, its parent, and itself."""
    return importlib.import_module(name).PID, os.getppid(), os.getpid()


WHERE = "import os\nPID = os.getpid()\n"


@pytest.mark.parametrize("by_environment", [False, True])
def test_every_worker_has_what_the_zygote_imported(fresh, module, monkeypatch, by_environment):
    names = [module("preload_a", WHERE), module("preload_b", WHERE)]
    if by_environment:
        monkeypatch.setenv("SKATE_PRELOAD", ", ".join(names))
    fresh.init(num_cpus=2, preload=None if by_environment else names)
    task = fresh.remote(where)

    @fresh.remote
    class Actor:
        def where(self, name):
            return where(name)

    actors = [Actor.remote() for _ in names]
    rows = fresh.get([task.remote(name) for name in names])
    rows += fresh.get([actor.where.remote(name) for actor in actors for name in names])
    assert {imported_in for imported_in, _, _ in rows} == {parent for _, parent, _ in rows}
    assert os.getpid() not in {pid for row in rows for pid in row}


def test_a_new_zygote_preloads_as_well(fresh, module):
    name = module("preload_again", WHERE)
    fresh.init(num_cpus=1, preload=[name])
    task = fresh.remote(where)
    imported_in, zygote, worker = fresh.get(task.remote(name))
    assert imported_in == zygote
    os.kill(zygote, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    imported_in, another, _ = fresh.get(task.remote(name))
    assert imported_in == another != zygote


def test_a_package_and_what_it_finds_beside_it(fresh, tmp_path, module):
    package = tmp_path / "preload_package"
    package.mkdir()
    package.joinpath("__init__.py").touch()
    package.joinpath("inner.py").write_text("import os, preload_beside\nPID = os.getpid()\n")
    module("preload_beside", "")
    fresh.init(num_cpus=1, preload=["preload_package.inner"])
    imported_in, zygote, _ = fresh.get(fresh.remote(where).remote("preload_package.inner"))
    assert imported_in == zygote


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("raise KeyError('on purpose')", "KeyError: 'on purpose'"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
        ("class Untold(Exception):\n    __str__ = None\nraise Untold", "workers: Untold"),
        ("import skate\nskate.init(num_cpus=1)", "imported before there are workers"),
        ("import skate\nskate.put(1)", "imported before there are workers"),
    ],
)
def test_what_cannot_be_preloaded_is_left_to_the_workers(fresh, module, capfd, source, why):
    # Only ahead of the workers: in them it is a module like any other.
    fails = f"if os.getppid() == {os.getpid()}:\n" + indent(source, "    ") + "\n"
    name = module("preload_fails", WHERE + fails)
    good = module("preload_good", WHERE)
    fresh.init(num_cpus=1, preload=[name, good])
    imported_in, zygote, worker = fresh.get(fresh.remote(where).remote(name))
    assert imported_in == worker
    assert fresh.get(fresh.remote(where).remote(good))[0] == zygote
    fresh.shutdown()
    err = capfd.readouterr().err
    assert f"skate: init: preload: {name} cannot be imported ahead of the workers: " in err
    assert why in err
    assert good not in err


def test_a_line_that_nobody_takes_ends_nothing(fresh, module):
    """The zygote ended with it, and no task of the session ever ran."""
    name = module("preload_unheard", f"import os\nassert os.getppid() != {os.getpid()}\n")
    usual = os.dup(2)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 2)
    try:
        fresh.init(num_cpus=1, preload=[name])
        assert fresh.get(fresh.remote(lambda: 1).remote()) == 1
        fresh.shutdown()
    finally:
        os.dup2(usual, 2)
        os.close(full)
        os.close(usual)


def test_what_a_module_has_opened_stays_open_in_the_workers(fresh, module, tmp_path):
    """It was closed: what the module wrote went to files of the user's and descriptors of skate."""
    name = module("preload_log", f"LOG = open({str(tmp_path / 'log')!r}, 'a')\n")
    fresh.init(num_cpus=1, preload=[name])

    def write():
        opened = [(tmp_path / str(number)).open("w") for number in range(16)]
        module = importlib.import_module(name)
        module.LOG.write("a line\n")
        module.LOG.flush()
        return len(opened)

    assert fresh.get(fresh.remote(write).remote()) == 16
    assert (tmp_path / "log").read_text() == "a line\n"
    assert not any((tmp_path / str(number)).stat().st_size for number in range(16))


@pytest.mark.parametrize("closed", ["(0)", "(1)", "(2)", "range(0, 3)"])
def test_a_module_may_close_standard_descriptors(fresh, module, capfd, closed):
    """Descriptors of skate came in their places, over which each worker put its own: it ended."""
    name = module("preload_closes", f"import os\nos.close{closed}\n")
    fresh.init(num_cpus=1, preload=[name])

    def say():
        for number in (1, 2):
            os.write(number, f"line {number}\n".encode())
        child = [sys.executable, "-c", "import os; [os.fstat(number) for number in range(3)]"]
        return subprocess.run(child, check=False).returncode

    assert fresh.get(fresh.remote(say).remote()) == 0
    fresh.shutdown()
    out, err = capfd.readouterr()
    assert "line 1" in out
    assert "line 2" in err


def test_threads_that_are_not_forked_are_said(fresh, module, capfd):
    thread = "threading.Thread(target=time.sleep, args=(1000,), daemon=True)"
    name = module("preload_threads", f"{WHERE}import threading, time\n{thread}.start()\n")
    fresh.init(num_cpus=1, preload=[name])
    assert fresh.get(fresh.remote(where).remote(name))[0] != os.getpid()
    fresh.shutdown()
    assert f"{name} started 1 thread(s) when it was imported" in capfd.readouterr().err


def test_a_module_that_ends_the_zygote_fails_the_tasks_and_says_so(fresh, module):
    name = module("preload_kills", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    fresh.init(num_cpus=1, preload=[name])
    with pytest.raises(fresh.exceptions.WorkerCrashedError, match=r"forks workers .*SIGKILL"):
        fresh.get(fresh.remote(lambda: 1).remote(), timeout=30)


def test_shutdown_does_not_wait_for_what_is_being_imported(fresh, module, gate):
    tell = f"open({str(gate)!r}, 'w').write(str(os.getpid()))"
    source = f"import os\n{tell}\nopen({str(gate)!r}).read()\n"
    fresh.init(num_cpus=1, preload=[module("preload_waits", source)])
    zygote = int(gate.read_bytes())  # its import has begun, and does not end by itself
    process = os.pidfd_open(zygote)
    fresh.shutdown()
    assert select.select([process], [], [], 0)[0]
    os.close(process)


def test_in_one_process_there_is_nothing_to_preload(fresh, module):
    name = module("preload_local", "raise AssertionError('imported')")
    fresh.init(local_mode=True, preload=[name])
    assert fresh.get(fresh.remote(lambda: 1).remote()) == 1


@pytest.mark.parametrize(
    ("wrong", "error", "match"),
    [
        ("json", TypeError, "init: preload is 'json', but must be a list of modules' names"),
        ([json], TypeError, "init: preload is .*, but must be a list of modules' names"),
        (5, TypeError, "init: preload is 5, but must be a list of modules' names"),
        (["nowhere.at_all"], ModuleNotFoundError, r"'nowhere.at_all' \(preload=\)"),
        ([""], ModuleNotFoundError, "preload names ''"),
        ([".here"], ModuleNotFoundError, "preload names '.here'"),
    ],
)
def test_what_is_no_list_of_modules_is_refused(fresh, wrong, error, match):
    with pytest.raises(error, match=match):
        fresh.init(num_cpus=1, preload=wrong)
    assert not fresh.is_initialized()


def test_a_module_that_was_made_by_hand_is_there(fresh, monkeypatch):
    # It has no spec, and to look for that was a ValueError; `__main__` of a program has none.
    monkeypatch.setitem(sys.modules, "made_by_hand", ModuleType("made_by_hand"))
    fresh.init(num_cpus=1, preload=["made_by_hand", "__main__"])
    assert fresh.get(fresh.remote(lambda: 1).remote()) == 1


def test_a_wrong_name_in_the_environment_is_refused_by_its_variable(fresh, monkeypatch):
    monkeypatch.setenv("SKATE_PRELOAD", "nowhere")
    with pytest.raises(ModuleNotFoundError, match=r"'nowhere' \(SKATE_PRELOAD\)"):
        fresh.init(num_cpus=1)
    assert not fresh.is_initialized()
