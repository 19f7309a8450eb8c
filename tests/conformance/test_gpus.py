"""GPUs are numbers: who has which. The machine need not have any: `init(num_gpus=2)` says so."""

import importlib
import os

import pytest


@pytest.fixture(scope="module")
def ray(engine):
    """A session of four CPUs and two GPUs."""
    engine.shutdown()
    engine.init(num_cpus=4, num_gpus=2)
    yield engine
    engine.shutdown()


def define(ray):
    @ray.remote
    def look():
        context = ray.get_runtime_context()
        return (
            ray.get_gpu_ids(),
            os.environ.get("CUDA_VISIBLE_DEVICES"),
            context.get_accelerator_ids()["GPU"],
            context.get_assigned_resources().get("GPU"),
        )

    @ray.remote
    class Looks:
        def look(self):
            return ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")

    return look, Looks


def test_task_without_gpus_has_none(ray):
    look, _ = define(ray)
    assert ray.get(look.remote()) == ([], None, [], None)
    assert ray.get_gpu_ids() == []
    assert ray.get_runtime_context().get_accelerator_ids()["GPU"] == []


@pytest.mark.processes("nothing is ever taken")
def test_task_has_the_gpus_it_asked_for(ray):
    look, _ = define(ray)
    assert ray.get(look.options(num_gpus=2).remote()) == ([0, 1], "0,1", ["0", "1"], 2.0)
    assert ray.get(look.options(num_gpus=1).remote()) == ([0], "0", ["0"], 1.0)


@pytest.mark.processes("nothing is ever taken")
def test_actors_have_different_gpus_for_life(ray):
    _, looks = define(ray)
    actors = [looks.options(num_gpus=1).remote() for _ in range(2)]
    first = ray.get([actor.look.remote() for actor in actors])
    assert sorted(first) == [([0], "0"), ([1], "1")]
    assert ray.get([actor.look.remote() for actor in actors]) == first


@pytest.mark.processes("nothing is ever taken")
def test_parts_fill_one_gpu_before_the_next(ray):
    _, looks = define(ray)
    actors = [looks.options(num_gpus=0.5).remote() for _ in range(4)]
    ids = [ids for ids, _ in ray.get([actor.look.remote() for actor in actors])]
    assert sorted(ids) == [[0], [0], [1], [1]]


@pytest.mark.processes("nothing is ever taken")
def test_what_is_left_of_two_gpus_is_not_one(ray):
    look, looks = define(ray)
    actors = [looks.options(num_gpus=0.6).remote() for _ in range(2)]
    ray.get([actor.look.remote() for actor in actors])
    waits = look.options(num_gpus=0.8).remote()
    assert ray.wait([waits], timeout=0.2) == ([], [waits])
    del actors
    assert ray.get(waits)[3] == 0.8


def test_more_than_one_must_be_whole(ray):
    look, _ = define(ray)
    with pytest.raises(ValueError, match="must"):
        look.options(num_gpus=1.5).remote()


@pytest.mark.processes("nothing is ever taken")
def test_bundles_of_a_group_have_their_own_gpus(ray):
    look, _ = define(ray)
    util = importlib.import_module(f"{ray.__name__}.util")
    strategies = importlib.import_module(f"{ray.__name__}.util.scheduling_strategies")
    group = util.placement_group([{"CPU": 1, "GPU": 1}] * 2)
    assert group.wait(30)

    def inside(index):
        strategy = strategies.PlacementGroupSchedulingStrategy(group, index)
        call = look.options(num_cpus=1, num_gpus=1, scheduling_strategy=strategy)
        return ray.get(call.remote())

    first, second = inside(0), inside(1)
    assert sorted(first[0] + second[0]) == [0, 1]
    assert first[3] == 1.0
    assert inside(0) == first
    util.remove_placement_group(group)


@pytest.mark.processes("nothing is ever taken")
def test_environment_names_the_gpus(fresh, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,7")
    with pytest.raises(ValueError, match="CUDA_VISIBLE_DEVICES contains"):
        fresh.init(num_cpus=1, num_gpus=4)
    fresh.shutdown()
    fresh.init(num_cpus=1, num_gpus=2)
    look, _ = define(fresh)
    ids, variable, same_ids, amount = fresh.get(look.options(num_gpus=2).remote())
    assert (sorted(ids), sorted(same_ids), amount) == (["3", "5"], ["3", "5"], 2.0)
    assert sorted(variable.split(",")) == ["3", "5"]
    assert fresh.get(look.remote())[1] == "3,5,7"
