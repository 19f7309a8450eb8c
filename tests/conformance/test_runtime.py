"""init, shutdown, and what a program can ask about where it runs."""

import copy
import importlib
import os
import pickle
import subprocess
import sys

import pytest


def test_init_then_shutdown_and_again(fresh):
    for _ in range(2):
        assert not fresh.is_initialized()
        fresh.init(num_cpus=1)
        assert fresh.is_initialized()
        assert fresh.get(fresh.put(1)) == 1
        fresh.shutdown(wait_for_processes=True)
        fresh.shutdown()
    assert not fresh.is_initialized()


def test_second_init_is_an_error_unless_it_is_allowed(fresh):
    fresh.init(num_cpus=1)
    with pytest.raises(RuntimeError, match=r"Maybe you called ray\.init twice by accident\?"):
        fresh.init(num_cpus=1)
    fresh.init(num_cpus=1, ignore_reinit_error=True)


def test_unknown_keyword_of_init(fresh):
    with pytest.raises(RuntimeError, match="colour"):
        fresh.init(num_cpus=1, colour="red")
    assert not fresh.is_initialized()


def test_first_call_starts_a_session_by_itself(fresh):
    @fresh.remote
    def one():
        return 1

    assert fresh.get(one.remote()) == 1
    assert fresh.is_initialized()


def test_session_is_a_context_manager(fresh):
    with fresh.init(num_cpus=1) as context:
        assert fresh.is_initialized()
        assert "node_id" in context.address_info
        assert context["node_id"]
    assert not fresh.is_initialized()


def test_function_defined_before_init_works_in_each_session(fresh):
    @fresh.remote
    def one():
        return 1

    for _ in range(2):
        with fresh.init(num_cpus=1):
            assert fresh.get(one.remote()) == 1


def test_function_captures_anew_in_each_session(fresh):
    # It kept what it had captured in the first session, whose refs were refused for good.
    captured = None

    @fresh.remote
    def read():
        return fresh.get(captured)

    for value in range(2):
        with fresh.init(num_cpus=1):
            captured = fresh.put(value)
            refs = [read.remote(), read.options(name="read").remote()]
            assert fresh.get(refs) == [value, value]


@pytest.mark.processes("in one, cloudpickle gives its copies of methods to the class itself")
def test_actor_class_captures_anew_in_each_session(fresh):
    captured = None

    @fresh.remote
    class Reader:
        def read(self):
            return fresh.get(captured)

    for value in range(2):
        with fresh.init(num_cpus=1):
            captured = fresh.put(value)
            assert fresh.get(Reader.remote().read.remote()) == value


def test_ref_of_an_earlier_session_is_refused(fresh):
    with fresh.init(num_cpus=1):
        ref = fresh.put("old")
    with fresh.init(num_cpus=1), pytest.raises((fresh.exceptions.RayError, ValueError)):
        fresh.get(ref, timeout=1)


def test_resources_are_those_of_init(ray):
    resources = ray.cluster_resources()
    assert resources["CPU"] == 2
    assert resources["spot"] == 2
    assert resources["memory"] > 0
    assert resources["object_store_memory"] > 0


def test_available_resources_shrink_while_a_task_runs(ray, gates):
    started, go_on = gates("started"), gates("go_on")

    @ray.remote(num_cpus=0, resources={"spot": 1})
    def hold():
        started.write_bytes(b"")
        go_on.read_bytes()

    ref = hold.remote()
    started.read_bytes()
    assert ray.available_resources()["spot"] == 1
    go_on.write_bytes(b"")
    ray.get(ref)


def test_nodes_is_one_living_row(ray):
    (row,) = ray.nodes()
    assert row["Alive"]
    assert row["Resources"]["CPU"] == 2
    assert row["NodeID"] == ray.get_runtime_context().get_node_id()


def test_context_of_the_driver(ray):
    context = ray.get_runtime_context()
    assert context.get_task_id() is None
    assert len(context.get_job_id()) == 8
    assert len(context.get_node_id()) == 56
    assert len(context.get_worker_id()) == 56
    assert isinstance(context.namespace, str)


@pytest.mark.processes("that is the claim")
def test_a_task_runs_in_another_worker(ray):
    @ray.remote
    def where():
        return ray.get_runtime_context().get_worker_id()

    assert ray.get(where.remote()) != ray.get_runtime_context().get_worker_id()


def test_context_of_a_task(ray):
    @ray.remote
    def where():
        context = ray.get_runtime_context()
        return (
            context.get_task_id(),
            context.get_job_id(),
            context.get_node_id(),
            context.get_worker_id(),
            context.get_actor_id(),
            context.get_assigned_resources(),
        )

    ref = where.remote()
    task, job, node, worker, actor, held = ray.get(ref)
    here = ray.get_runtime_context()
    assert task == ref.task_id().hex() if hasattr(ref.task_id(), "hex") else task == ref.task_id()
    assert (job, node) == (here.get_job_id(), here.get_node_id())
    assert len(worker) == len(here.get_worker_id())
    assert actor is None
    assert held["CPU"] == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_words_of_the_context_give_ids(ray):
    def look():
        context = ray.get_runtime_context()
        ids = context.job_id, context.node_id, context.task_id, context.actor_id
        group = context.current_placement_group_id
        said = context.get_job_id(), context.get_node_id(), context.get_task_id()
        return ids, group, said, context.get_actor_id()

    @ray.remote(num_cpus=0)
    class Looks:
        def look(self):
            return look()

    (job, node, task, actor), group, said, _ = ray.get(ray.remote(look).remote())
    assert [type(each) for each in (job, node, task)] == [ray.JobID, ray.NodeID, ray.TaskID]
    assert (job.hex(), node.hex(), task.hex()) == said
    assert task.job_id() == job
    assert actor is None
    assert group == ray.PlacementGroupID.nil()
    (_, _, _, actor), _, _, actor_id = ray.get(Looks.remote().look.remote())
    assert (type(actor), actor.hex()) == (ray.ActorID, actor_id)
    context = ray.get_runtime_context()
    assert context.job_id.hex() == context.get_job_id()
    assert context.get_resource_ids() == context.get_accelerator_ids()


def test_environment_is_seen_inside(ray, engine):
    module = importlib.import_module(f"{engine.__name__}.runtime_env")

    @ray.remote(runtime_env=module.RuntimeEnv(env_vars={"SKATE_TEST_SEEN": "a"}))
    def look():
        return os.environ["SKATE_TEST_SEEN"], ray.get_runtime_context().runtime_env

    seen, env = ray.get(look.remote())
    assert seen == "a"
    assert isinstance(env, module.RuntimeEnv)
    assert env["env_vars"] == env.env_vars() == {"SKATE_TEST_SEEN": "a"}
    assert ray.get_runtime_context().runtime_env.env_vars() == {}


class Named:
    def __init__(self, ray):
        self.ray = ray
        self.made_by = self.running()

    def running(self):
        return self.ray.get_runtime_context().get_task_function_name()

    def made(self):
        return self.made_by

    @classmethod
    def of_class(cls, ray):
        return ray.get_runtime_context().get_task_function_name()


def test_functions_and_methods_are_named_with_module_and_class(ray):
    @ray.remote
    def running():
        return ray.get_runtime_context().get_task_function_name()

    named = ray.remote(Named).remote(ray)
    assert ray.get(running.remote()) == f"{__name__}.running"
    assert ray.get(named.running.remote()) == f"{__name__}.Named.running"
    assert ray.get(named.of_class.remote(ray)) == f"{__name__}.Named.of_class"
    assert ray.get_runtime_context().get_task_function_name() is None


@pytest.mark.processes("in one, nothing has begun yet")
def test_a_constructor_is_named_too(ray):
    named = ray.remote(Named).remote(ray)
    assert ray.get(named.made.remote()) == f"{__name__}.Named.__init__"


@pytest.mark.engine("skate", "local")
@pytest.mark.processes("it runs a program")
def test_functions_of_a_script_are_named_by_its_file(tmp_path):
    script = tmp_path / "reckon.py"
    script.write_text(
        "import skate\n"
        "@skate.remote\n"
        "def running(): return skate.get_runtime_context().get_task_function_name()\n"
        "print(skate.get(running.remote()))\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert run.stdout == "reckon.running\n"


def test_version_is_a_string(engine):
    assert engine.__version__.count(".") >= 2


@pytest.mark.engine("skate", "local")
def test_statistics_are_copied_and_travel(ray):
    # A RecursionError: its attributes were asked for before it had any.
    taken = ray.statistics()
    travelled = ray.get(ray.put(taken))
    pickled = pickle.loads(pickle.dumps(taken))
    for same in (travelled, pickled, copy.copy(taken), copy.deepcopy(taken)):
        assert same == taken
        assert same.objects == taken.objects
