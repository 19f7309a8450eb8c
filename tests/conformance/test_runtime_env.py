"""`runtime_env`: what tasks and actors find around them."""

import os
from pathlib import Path

import pytest


def variable(name="SKATE_TEST_VARIABLE"):
    return os.environ.get(name)


def env(**variables):
    return {"env_vars": {f"SKATE_TEST_{name}": value for name, value in variables.items()}}


def test_a_task_has_its_variables_and_no_other_task_has_them(ray):
    read = ray.remote(variable)
    assert ray.get(read.options(runtime_env=env(VARIABLE="a")).remote()) == "a"
    assert ray.get(read.remote()) is None
    assert ray.get(read.options(runtime_env=env(VARIABLE="b")).remote()) == "b"


def test_an_actor_has_its_variables_from_its_constructor_on(ray):
    @ray.remote(runtime_env=env(VARIABLE="actor"))
    class Reads:
        def __init__(self):
            self.first = variable()

        def read(self):
            return self.first, variable()

    assert ray.get(Reads.remote().read.remote()) == ("actor", "actor")


def test_what_a_task_starts_inherits_and_may_add(ray):
    def both():
        return variable("SKATE_TEST_OUTER"), variable("SKATE_TEST_INNER")

    def outer():
        read = ray.remote(both)
        added = read.options(runtime_env=env(INNER="2"))
        return ray.get([read.remote(), added.remote()])

    remote = ray.remote(outer).options(runtime_env=env(OUTER="1"))
    assert ray.get(remote.remote()) == [("1", None), ("1", "2")]


def test_a_generator_has_its_variables_to_its_end(ray):
    def twice():
        yield variable()
        yield variable()

    items = ray.remote(twice).options(runtime_env=env(VARIABLE="x")).remote()
    assert [ray.get(ref) for ref in items] == ["x", "x"]


@pytest.mark.engine("skate", "local")  # Ray takes directories in `init` only
def test_a_module_of_py_modules_can_be_imported(ray, tmp_path):
    package = tmp_path / "a_package_of_this_test"
    package.mkdir()
    (package / "__init__.py").write_text("VALUE = 5")

    def use():
        import a_package_of_this_test

        return a_package_of_this_test.VALUE

    remote = ray.remote(use).options(runtime_env={"py_modules": [str(package)]})
    assert ray.get(remote.remote()) == 5


@pytest.mark.engine("skate", "local")  # the same
def test_files_of_the_working_directory_are_found(ray, tmp_path):
    (tmp_path / "data.txt").write_text("data")
    (tmp_path / "module_of_this_test.py").write_text("VALUE = 6")

    def use():
        import module_of_this_test

        return Path("data.txt").read_text(), module_of_this_test.VALUE

    remote = ray.remote(use).options(runtime_env={"working_dir": str(tmp_path)})
    assert ray.get(remote.remote()) == ("data", 6)


@pytest.mark.parametrize(
    "wrong",
    [{"env_vars": {"A": 1}}, {"env_vars": ["A"]}, {"working_dir": "/no/such/directory"}],
    ids=str,
)
def test_what_makes_no_sense_is_refused(ray, wrong):
    with pytest.raises((TypeError, ValueError)):
        ray.get(ray.remote(variable).options(runtime_env=wrong).remote())


@pytest.mark.engine("skate", "ray")  # one process has no workers
def test_a_session_has_an_environment_too(fresh):
    fresh.init(num_cpus=1, runtime_env=env(VARIABLE="session"))
    read = fresh.remote(variable)
    assert fresh.get(read.remote()) == "session"
    assert fresh.get(read.options(runtime_env=env(VARIABLE="task")).remote()) == "task"
    assert os.environ.get("SKATE_TEST_VARIABLE") is None


@pytest.mark.engine("skate", "ray")  # one process has no workers
def test_a_hook_runs_in_each_worker_before_its_tasks(fresh):
    def hook():
        os.environ["SKATE_TEST_VARIABLE"] = "from the hook"

    fresh.init(num_cpus=1, runtime_env={"worker_process_setup_hook": hook})
    assert fresh.get(fresh.remote(variable).remote()) == "from the hook"


def omp_num_threads():
    return os.environ.get("OMP_NUM_THREADS")


@pytest.mark.processes("its environment is the driver's")
def test_libraries_start_as_many_threads_as_the_task_has_cpus(fresh, monkeypatch):
    # It was "1" whatever the task had, so that a task with eight CPUs used one of them.
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    fresh.init(num_cpus=3)
    look = fresh.remote(omp_num_threads)
    for cpus, threads in ((2, "2"), (1, "1"), (3, "3"), (0.5, "1"), (2.5, "2"), (0, "1")):
        assert fresh.get(look.options(num_cpus=cpus).remote()) == threads

    class Looker:
        def __init__(self):
            self.at_first = omp_num_threads()

        def look(self):
            return self.at_first, omp_num_threads()

    looker = fresh.remote(Looker)
    assert fresh.get(looker.options(num_cpus=2).remote().look.remote()) == ("2", "2")
    assert fresh.get(looker.remote().look.remote()) == ("1", "1")


@pytest.mark.processes("its environment is the driver's")
def test_number_of_threads_that_the_user_has_set_stays(fresh, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    fresh.init(num_cpus=2)
    look = fresh.remote(omp_num_threads).options(num_cpus=2)
    assert fresh.get(look.remote()) == "1"
    named = look.options(runtime_env={"env_vars": {"OMP_NUM_THREADS": "5"}})
    assert fresh.get(named.remote()) == "5"
    fresh.shutdown()
    monkeypatch.delenv("OMP_NUM_THREADS")
    fresh.init(num_cpus=2)
    assert fresh.get(named.remote()) == "5"
    assert fresh.get(look.remote()) == "2"
    fresh.shutdown()
    fresh.init(num_cpus=2, runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}})
    assert fresh.get(look.remote()) == "1"
