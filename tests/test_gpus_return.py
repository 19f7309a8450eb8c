"""GPUs come back exactly once, whatever dies or is removed; a process keeps the ones it got."""

import os
import signal

import pytest


@pytest.fixture(scope="module")
def skate():
    import skate as module

    module.init(num_cpus=4, num_gpus=2)
    yield module
    module.shutdown()


def all_are_free(skate):
    @skate.remote(num_gpus=2)
    def look():
        return skate.get_gpu_ids()

    return skate.get(look.remote(), timeout=30) == [0, 1]


def test_restarted_actor_has_a_gpu_again(skate):
    @skate.remote(num_gpus=1, max_restarts=5, max_task_retries=5)
    class Looks:
        def look(self):
            return skate.get_gpu_ids(), os.getpid()

    one, other = Looks.remote(), Looks.remote()
    _, pid = skate.get(one.look.remote())
    (other_ids, _) = skate.get(other.look.remote())
    for _ in range(5):
        os.kill(pid, signal.SIGKILL)
        while (found := skate.get(one.look.remote()))[1] == pid:
            pass
        ids, pid = found
        assert sorted([*ids, *other_ids]) == [0, 1]
    del one, other
    assert all_are_free(skate)


@pytest.mark.parametrize("concurrency", [1, 3, None])
def test_actors_of_every_kind_have_their_gpu_from_the_constructor_on(skate, concurrency):
    class Looks:
        def __init__(self):
            self.first = skate.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")

        def look(self):
            return self.first, skate.get_gpu_ids()

    class AsyncLooks(Looks):
        async def wait(self):
            pass

    cls = skate.remote(num_gpus=1)(Looks if concurrency else AsyncLooks)
    actor = cls.options(max_concurrency=concurrency).remote()
    first, now = skate.get(actor.look.remote())
    assert first in (([0], "0"), ([1], "1"))  # the one before may be leaving still
    assert now == first[0]


def test_killed_task_gives_its_gpus_back(skate, gate):
    @skate.remote(num_gpus=2, max_retries=0)
    def holds():
        gate.write_text(str(os.getpid()))
        gate.read_bytes()

    ref = holds.remote()
    os.kill(int(gate.read_text()), signal.SIGKILL)
    with pytest.raises(skate.exceptions.WorkerCrashedError):
        skate.get(ref)
    assert all_are_free(skate)


def test_removed_group_gives_its_gpus_back_when_its_processes_are_gone(skate):
    from skate.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    @skate.remote(num_gpus=1)
    class Looks:
        def look(self):
            return skate.get_gpu_ids()

    for _ in range(5):
        group = skate.util.placement_group([{"GPU": 1}, {"GPU": 1}])
        actors = [
            Looks.options(
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, index)
            ).remote()
            for index in (0, 1)
        ]
        ids = skate.get([actor.look.remote() for actor in actors])
        assert sorted(ids) == [[0], [1]]
        skate.util.remove_placement_group(group)
        assert all_are_free(skate)


def test_tasks_anywhere_in_a_group_share_the_gpus_of_its_bundles(skate, gates):
    from skate.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    @skate.remote(num_cpus=0, num_gpus=0.5)
    def look(gate):
        gate.read_bytes()
        return skate.get_gpu_ids()

    group = skate.util.placement_group([{"GPU": 0.5}, {"GPU": 1}])
    anywhere = look.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group))
    mine = [gates(name) for name in "abc"]
    refs = [anywhere.remote(gate) for gate in mine]
    for gate in mine:
        gate.write_bytes(b"")  # all run at once
    ids = sorted(skate.get(refs))
    assert ids in ([[0], [0], [1]], [[0], [1], [1]])
    skate.util.remove_placement_group(group)
    assert all_are_free(skate)


def test_process_that_had_a_gpu_runs_nothing_without(skate):
    @skate.remote
    def pid():
        return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")

    had_one = {skate.get(pid.options(num_gpus=1).remote())[0] for _ in range(3)}
    for _ in range(10):
        found, variable = skate.get(pid.remote())
        assert found not in had_one
        assert variable is None


def test_part_of_a_gpu_is_no_number_of_gpus(fresh):
    with pytest.raises(ValueError, match="whole number"):
        fresh.init(num_gpus=1.5)
