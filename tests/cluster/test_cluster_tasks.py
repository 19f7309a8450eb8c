"""Tasks, objects, waits and errors on a Ray cluster, by skate's names."""

import asyncio

import pytest

from skate.util.state import list_tasks


def test_tasks_take_refs_and_give_values(ray):
    add = ray.remote(lambda a, b=1: a + b)
    first = add.remote(1)
    assert ray.get(add.remote(first, b=first)) == 4
    assert ray.get([add.remote(n) for n in range(5)]) == [1, 2, 3, 4, 5]


def test_the_work_is_done_by_the_cluster(ray):
    import os

    def who():
        import sys

        return os.getpid(), "ray" in sys.modules

    pid, has_ray = ray.get(ray.remote(who).remote())
    assert pid != os.getpid()
    assert has_ray


def test_tasks_start_tasks_and_pass_refs(ray):
    square = ray.remote(lambda n: n * n)

    def outer(refs):
        return sum(ray.get(refs)) + ray.get(square.remote(3))

    assert ray.get(ray.remote(outer).remote([ray.put(1), square.remote(2)])) == 14
    inner = ray.get(ray.remote(lambda: [square.remote(5)]).remote())
    assert ray.get(inner) == [25]


def test_an_error_has_both_classes_and_they_are_skates(ray):
    def fail():
        raise KeyError("k")

    ref = ray.remote(fail).remote()
    for each in (ref, ray.remote(lambda x: x).remote(ref)):
        with pytest.raises(KeyError) as caught:
            ray.get(each)
        assert isinstance(caught.value, ray.exceptions.RayTaskError)
        assert "fail" in str(caught.value)
        assert type(caught.value).__name__ == "RayTaskError(KeyError)"


def test_classes_of_the_program_keep_their_identity(ray):
    """They came back as other classes of the same name, which no `except` knew."""

    class Custom(Exception):
        pass

    class Value:
        pass

    def fail():
        raise Custom(42)

    with pytest.raises(Custom):
        ray.get(ray.remote(fail).remote())
    assert type(ray.get(ray.remote(Value).remote().__ray_call__.remote(lambda _: Value()))) is Value


def test_a_stop_iteration_is_a_tasks_error(ray):
    def stop():
        raise StopIteration("over")

    with pytest.raises(ray.exceptions.RayTaskError):
        ray.get(ray.remote(stop).remote())


def test_what_functions_capture_comes_along(ray):
    @ray.remote
    class Counter:
        def add(self):
            return 1

    ref, actor = ray.put(20), Counter.remote()
    captures = ray.remote(lambda: ray.get(ref) + ray.get(actor.add.remote()))
    assert ray.get(captures.remote()) == 21


def test_system_failures_are_skates_classes(ray):
    import os

    die = ray.remote(max_retries=0)(lambda: os._exit(1))
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(die.remote())
    with pytest.raises(ray.exceptions.ObjectLostError):
        ray.get(ray.ObjectRef.nil())


def test_a_timeout_is_skates_class(ray, gate):
    late = ray.remote(lambda: gate.read_bytes()).remote()
    with pytest.raises(ray.exceptions.GetTimeoutError):
        ray.get(late, timeout=0.1)
    gate.write_bytes(b"x")
    assert ray.get(late) == b"x"


def test_wait_parts_in_order(ray, gate):
    late = ray.remote(lambda: gate.read_bytes()).remote()
    early = [ray.put(n) for n in range(2)]
    ready, pending = ray.wait([early[0], late, early[1]], num_returns=2)
    assert (ready, pending) == (early, [late])
    with pytest.raises(ValueError, match="unique"):
        ray.wait([late, late])
    gate.write_bytes(b"")


def test_cancelled_tasks_say_so(ray, gate):
    def wait():
        return gate.read_bytes()

    ref = ray.remote(wait).remote()
    ray.cancel(ref, force=True)
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.WorkerCrashedError)):
        ray.get(ref, timeout=60)


def test_resources_and_returns_are_passed_on(ray):
    def held():
        return ray.get_runtime_context().get_assigned_resources()

    remote = ray.remote(num_cpus=2, resources={"spot": 1})(held)
    assert ray.get(remote.remote()) == {"CPU": 2.0, "spot": 1.0}
    pair = ray.remote(num_returns=2)(lambda: (1, 2)).remote()
    assert ray.get(pair) == [1, 2]
    assert ray.remote(num_returns=0)(lambda: None).remote() is None


def test_arrays_are_read_only_views(ray):
    import numpy as np

    array = ray.get(ray.put(np.arange(100_000)))
    assert array.sum() == 4_999_950_000
    assert not array.flags.writeable


def test_refs_can_be_awaited_and_have_futures(ray):
    square = ray.remote(lambda n: n * n)

    async def main():
        return await square.remote(3), await ray.aio.gather([square.remote(4), ray.put(1)])

    assert asyncio.run(main()) == (9, [16, 1])
    assert square.remote(5).future().result(60) == 25


def test_the_views_of_the_session_are_the_clusters(ray):
    assert ray.cluster_resources()["CPU"] == 4
    assert ray.cluster_resources()["spot"] == 2
    assert len(ray.nodes()) == 1
    assert ray.nodes()[0]["Alive"]
    for ask in (ray.statistics, list_tasks):
        with pytest.raises(ray.exceptions.RaySystemError, match="a Ray cluster cannot do that"):
            ask()


def test_ids_are_the_clusters(ray):
    def ids(context):
        return context.get_job_id(), context.get_node_id(), context.get_worker_id()

    def both():
        import ray as theirs

        return ids(ray.get_runtime_context()), ids(theirs.get_runtime_context())

    here = both()
    there = ray.get(ray.remote(both).remote())
    assert here[0] == here[1]
    assert there[0] == there[1]
    assert here[0][:2] == there[0][:2]
    assert here[0][1] == ray.nodes()[0]["NodeID"]


def test_gpus_are_those_that_the_cluster_grants(ray):
    def granted():
        return len(ray.get_gpu_ids()), ray.get_runtime_context().get_accelerator_ids()["GPU"]

    assert granted() == (0, [])
    number, ids = ray.get(ray.remote(num_gpus=1)(granted).remote())
    assert number == len(ids) == 1


def test_the_executor_works_on_it(ray):
    with ray.Executor(max_workers=2) as executor:
        assert list(executor.map(lambda n: n + 1, range(4))) == [1, 2, 3, 4]
