"""`runtime_env` in skate: what its workers keep, and what it refuses by name."""

import ctypes
import os
import pickle
import signal
import sys
import time
import types
from pathlib import Path

import pytest

from skate import _session


def state():
    return os.getcwd(), list(sys.path), dict(os.environ)


def test_after_a_task_its_worker_is_as_before(fresh, tmp_path):
    (tmp_path / "forgotten_module.py").write_text("VALUE = 1")
    fresh.init(num_cpus=1)
    look = fresh.remote(state)

    def use():
        import forgotten_module

        return forgotten_module.VALUE, os.getcwd()

    before = fresh.get(look.remote())
    envs = {"working_dir": str(tmp_path), "env_vars": {"A_VARIABLE": "1"}}
    used = fresh.remote(use).options(runtime_env=envs)
    assert fresh.get(used.remote()) == (1, str(tmp_path))
    assert fresh.get(look.remote()) == before
    assert not fresh.get(fresh.remote(lambda: "forgotten_module" in sys.modules).remote())


def test_two_directories_may_have_a_module_of_one_name(fresh, tmp_path):
    fresh.init(num_cpus=1)

    def use():
        import same_name

        return same_name.VALUE

    values = []
    for value in (1, 2):
        directory = tmp_path / str(value)
        directory.mkdir()
        (directory / "same_name.py").write_text(f"VALUE = {value}")
        remote = fresh.remote(use).options(runtime_env={"working_dir": directory})
        values.append(fresh.get(remote.remote()))
    assert values == [1, 2]


def test_after_a_late_cancel_too(fresh, tmp_path, gate):
    # It fell between two steps of taking back, and all later tasks ran in that directory.
    fresh.init(num_cpus=1)
    look = fresh.remote(state)

    def interrupted(*arguments):
        del os.environ.pop
        gate.write_bytes(b"")
        while not _session.client.is_canceled():
            time.sleep(0.001)
        signal.raise_signal(signal.SIGINT)
        return os.environ.pop(*arguments)

    def use():
        os.environ.pop = interrupted  # how its variables are taken back

    before = fresh.get(look.remote())
    envs = {"working_dir": str(tmp_path), "env_vars": {"A_VARIABLE": "1"}}
    ref = fresh.remote(use).options(runtime_env=envs).remote()
    gate.read_bytes()
    fresh.cancel(ref)
    fresh.wait([ref])
    assert fresh.get(look.remote()) == before


def test_after_its_directory_was_removed_too(fresh, tmp_path, monkeypatch):
    """What the task had returned was lost, and later tasks ran in the other directory."""
    (here := tmp_path / "here").mkdir()
    (there := tmp_path / "there").mkdir()
    monkeypatch.chdir(here)
    fresh.init(num_cpus=1)
    look = fresh.remote(lambda: Path().stat().st_ino)
    before = fresh.get(look.remote())
    for _ in range(2):  # then it has been removed before, too
        use = fresh.remote(lambda: here.rmdir() if here.exists() else "used")
        result = fresh.get(use.options(runtime_env={"working_dir": there}).remote())
        assert fresh.get(look.remote()) == before
    assert result == "used"


def test_whatever_stands_among_the_modules(fresh, tmp_path, monkeypatch):
    """Each was asked for its file: what the task had returned was lost, and it stayed there."""
    (tmp_path / "forgotten_module.py").touch()
    fresh.init(num_cpus=1)
    monkeypatch.setitem(sys.modules, "lazy_module", None)  # in local mode it is put here

    class Lazy(types.ModuleType):
        def __getattribute__(self, name):
            raise ImportError("the optional package is not installed")

    def use():
        import forgotten_module

        sys.modules["lazy_module"] = Lazy("lazy_module")
        return forgotten_module.__name__

    look = fresh.remote(lambda: (os.getcwd(), "forgotten_module" in sys.modules))
    remote = fresh.remote(use).options(runtime_env={"working_dir": tmp_path})
    assert fresh.get(remote.remote()) == "forgotten_module"
    assert fresh.get(look.remote()) == (os.getcwd(), False)


@pytest.mark.parametrize("how", ["copied", "asked"])
def test_module_that_puts_something_in_its_own_place(fresh, tmp_path, how):
    """It was not forgotten: the next task got that of another directory."""
    (tmp_path / "replaced.py").write_text(f"""
import sys
from types import SimpleNamespace

class Asked:
    def __init__(self, module):
        self.module = module
    def __getattr__(self, name):
        return getattr(self.module, name)

module = sys.modules[__name__]
sys.modules[__name__] = Asked(module) if {how!r} == "asked" else SimpleNamespace(**vars(module))
""")
    fresh.init(num_cpus=1)

    def use():
        import replaced

        return type(replaced).__name__

    expected = "Asked" if how == "asked" else "SimpleNamespace"
    remote = fresh.remote(use).options(runtime_env={"working_dir": tmp_path})
    assert fresh.get(remote.remote()) == expected
    assert fresh.get(fresh.remote(lambda: "replaced" in sys.modules).remote()) is False


def test_after_an_error_too(fresh):
    fresh.init(num_cpus=1)

    def fail():
        raise KeyError(os.environ["A_VARIABLE"])

    remote = fresh.remote(fail).options(runtime_env={"env_vars": {"A_VARIABLE": "set"}})
    with pytest.raises(KeyError, match="set"):
        fresh.get(remote.remote())
    assert fresh.get(fresh.remote(lambda: os.environ.get("A_VARIABLE")).remote()) is None


def test_a_function_of_a_module_that_only_the_environment_has(fresh, tmp_path, monkeypatch):
    """It is pickled by name, so it can be unpickled only where its directory is on the path."""
    (tmp_path / "only_there.py").write_text(
        "import os\n"
        "def f():\n    return os.environ['A_VARIABLE']\n"
        "class A:\n    f = lambda self: f()\n"
    )
    fresh.init(num_cpus=1)  # its workers have the path of this moment
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_there

    env = {"py_modules": [only_there], "env_vars": {"A_VARIABLE": "x"}}
    assert fresh.get(fresh.remote(only_there.f).options(runtime_env=env).remote()) == "x"
    actor = fresh.remote(only_there.A).options(runtime_env=env).remote()
    assert fresh.get(actor.f.remote()) == "x"


def test_relative_paths_mean_the_directory_in_which_they_were_said(fresh, tmp_path, monkeypatch):
    """They were resolved anew by each `.options`, and wherever the function was unpickled."""
    (tmp_path / "here").mkdir()
    fresh.init(num_cpus=1)
    monkeypatch.chdir(tmp_path)
    there = fresh.remote(runtime_env={"working_dir": "here"})(lambda: os.getcwd())

    @fresh.remote(num_cpus=0)
    class Actor:
        def cwd(self):
            return os.getcwd()

    Elsewhere = Actor.options(runtime_env={"working_dir": "here"})
    monkeypatch.chdir("/")
    here = str(tmp_path / "here")
    assert fresh.get(there.options(num_cpus=0.5).remote()) == here
    assert fresh.get(fresh.remote(lambda: fresh.get(there.remote())).remote()) == here
    actor = Elsewhere.options(name="here").remote()
    assert fresh.get(actor.cwd.remote()) == here


def test_what_a_task_starts_has_the_same_search_path(fresh, tmp_path):
    """An inherited environment was resolved anew: `py_modules` went up one directory each time."""
    package = tmp_path / "above" / "nested_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (tmp_path / "nested_package.py").touch()  # one level up: the wrong one
    fresh.init(num_cpus=1)

    @fresh.remote(num_cpus=0)
    def found(depth):
        import nested_package

        below = fresh.get(found.remote(depth - 1)) if depth else []
        return [nested_package.__file__, *below]

    env = {"py_modules": [package]}
    expected = [str(package / "__init__.py")] * 3
    assert fresh.get(found.options(runtime_env=env).remote(2)) == expected
    fresh.shutdown()
    fresh.init(num_cpus=1, runtime_env=env)
    assert fresh.get(found.remote(2)) == expected


def test_an_environment_that_cannot_be_entered_leaves_nothing(fresh, tmp_path):
    """Its directory is gone when the task starts. Its variables stayed in the worker for good."""
    fresh.init(num_cpus=1)
    look = fresh.remote(lambda: (state(), fresh.get_runtime_context().get_runtime_env_string()))
    before = fresh.get(look.remote())
    gone = tmp_path / "gone"
    gone.mkdir()
    env = {"working_dir": gone, "env_vars": {"A_VARIABLE": "1"}}
    there = look.options(runtime_env=env)
    gone.rmdir()
    with pytest.raises(FileNotFoundError, match="gone"):
        fresh.get(there.remote())
    assert fresh.get(look.remote()) == before


def test_the_context_tells_what_is_in_force(fresh):
    fresh.init(num_cpus=1)
    tell = fresh.remote(lambda: fresh.get_runtime_context().get_runtime_env_string())
    env = {"env_vars": {"A_VARIABLE": "1"}}
    assert fresh.get(tell.options(runtime_env=env).remote()) == '{"env_vars": {"A_VARIABLE": "1"}}'
    assert fresh.get(tell.remote()) == "{}"


@pytest.mark.parametrize("part", ["conda", "image_uri"])
def test_installers_are_refused_with_the_way_to_go(fresh, part):
    with pytest.raises(ValueError, match=f"'{part}'.*use 'pip' or 'uv', or install it there"):
        fresh.remote(runtime_env={part: ["numpy"]})(state)


def test_unknown_parts_are_refused_by_name(fresh):
    with pytest.raises(ValueError, match="'nonsense'"):
        fresh.remote(state).options(runtime_env={"nonsense": 1})
    with pytest.raises(ValueError, match="belongs to init"):
        fresh.remote(state).options(runtime_env={"worker_process_setup_hook": state})
    with pytest.raises(ValueError, match="no directory here"):
        fresh.init(runtime_env={"working_dir": "s3://bucket/x.zip"})
    with pytest.raises(TypeError, match="neither a path nor a module"):
        fresh.remote(state).options(runtime_env={"py_modules": [3]})
    assert not fresh.is_initialized()


@pytest.mark.parametrize(
    ("variable", "text"), [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0y"), ("A", "\ud800")]
)
def test_variables_that_no_process_can_have_are_refused(fresh, variable, text):
    """Those of a session ended each of its workers with a traceback."""
    env = {"env_vars": {"GOOD": "1", variable: text}}
    with pytest.raises(ValueError, match="whose name or value no variable can have"):
        fresh.init(num_cpus=1, runtime_env=env)
    with pytest.raises(ValueError, match="whose name or value no variable can have"):
        fresh.remote(state).options(runtime_env=env)
    assert not fresh.is_initialized()


def test_a_hook_may_be_a_name_and_large(fresh):
    fresh.init(num_cpus=1, runtime_env={"worker_process_setup_hook": "faulthandler.enable"})
    assert fresh.get(fresh.remote(lambda: 1).remote()) == 1
    fresh.shutdown()
    ballast = os.urandom(100_000)

    def hook():
        os.environ["BALLAST"] = str(len(ballast))

    fresh.init(num_cpus=1, runtime_env={"worker_process_setup_hook": hook})
    assert fresh.get(fresh.remote(lambda: os.environ["BALLAST"]).remote()) == "100000"


def test_an_environment_is_checked_when_it_is_made():
    from skate.runtime_env import RuntimeEnv

    env = RuntimeEnv(env_vars={"A": "b"}, working_dir=None)
    assert env == env.to_dict() == {"env_vars": {"A": "b"}}
    assert (env.working_dir(), env.py_modules()) == (None, [])
    assert pickle.loads(pickle.dumps(env)) == env
    with pytest.raises(TypeError, match="RuntimeEnv: env_vars must be"):
        RuntimeEnv(env_vars={"A": 1})
    with pytest.raises(ValueError, match="RuntimeEnv with 'conda'"):
        RuntimeEnv(conda="x")


def threads_of_blas():
    import numpy as np  # noqa: F401 - what is looked at

    blas = ctypes.CDLL(sys.modules["numpy._core._multiarray_umath"].__file__)
    return blas.scipy_openblas_get_num_threads64_()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="it never has more than one thread")
def test_numpys_own_variable_counts_for_more(fresh, monkeypatch):
    """A task with another number of CPUs changed what the user had said."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    fresh.init(num_cpus=2)
    look = fresh.remote(threads_of_blas)
    assert [fresh.get(look.options(num_cpus=n).remote()) for n in (1, 2, 1)] == [2, 2, 2]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="it never has more than one thread")
def test_numpy_follows_the_cpus_of_the_task_once_it_is_loaded(fresh, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads_of_blas()  # of a NumPy that says so
    fresh.init(num_cpus=2)
    look = fresh.remote(threads_of_blas)
    assert [fresh.get(look.options(num_cpus=n).remote()) for n in (1, 2, 1)] == [1, 2, 1]

    class Looker:
        def look(self):
            return threads_of_blas()

    # Workers that are forked from now on have NumPy already.
    assert fresh.get(fresh.remote(Looker).options(num_cpus=2).remote().look.remote()) == 2
