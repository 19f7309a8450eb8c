"""Where things run on a cluster: placement groups, strategies and environments are Ray's."""

import os

import pytest


@pytest.fixture(scope="module")
def util(ray):
    import skate.util

    return skate.util


@pytest.fixture
def group(util):
    made = util.placement_group([{"CPU": 1}, {"CPU": 1, "spot": 1}], name="ours")
    assert made.wait(30)
    yield made
    util.remove_placement_group(made)


def inside(group, index=-1, *, capture=None):
    from skate.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    return PlacementGroupSchedulingStrategy(group, index, capture)


def test_a_group_is_one_of_rays(ray, util, group):
    from ray.util import placement_group_table

    assert placement_group_table()[group.id.hex()]["state"] == "CREATED"
    row = util.placement_group_table(group)
    assert (row["name"], row["strategy"]) == ("ours", "PACK")
    assert row["bundles"] == {0: {"CPU": 1}, 1: {"CPU": 1, "spot": 1}}
    assert util.get_placement_group("ours") == group
    assert ray.get(group.ready()) == group


def test_tasks_and_actors_run_in_their_bundle(ray, group):
    @ray.remote(num_cpus=1)
    def where():
        import ray as theirs

        held = theirs.get_runtime_context().get_assigned_resources()
        return ray.get_runtime_context().get_placement_group_id(), sorted(held)

    found, held = ray.get(where.options(scheduling_strategy=inside(group, 1)).remote())
    assert found == group.id.hex()
    assert held == ["CPU"]
    assert ray.get(where.remote())[0] is None

    @ray.remote(num_cpus=1, resources={"spot": 1})
    class Inside:
        def where(self):
            return ray.util.get_current_placement_group()

    actor = Inside.options(scheduling_strategy=inside(group, 1)).remote()
    assert ray.get(actor.where.remote()) == group


def test_children_are_captured_when_asked(ray, group):
    @ray.remote(num_cpus=0)
    def child():
        return ray.get_runtime_context().get_placement_group_id()

    @ray.remote(num_cpus=1)
    def parent():
        return ray.get(child.remote())

    captured = parent.options(scheduling_strategy=inside(group, capture=True))
    free = parent.options(scheduling_strategy=inside(group, capture=False))
    assert ray.get([captured.remote(), free.remote()]) == [group.id.hex(), None]


def test_a_removed_group_gives_its_resources_back(ray, util):
    first = util.placement_group([{"CPU": 4}])
    assert first.wait(30)
    second = util.placement_group([{"CPU": 4}])
    assert not second.wait(0.1)
    util.remove_placement_group(first)
    assert second.wait(30)
    util.remove_placement_group(second)


def test_strategies_about_nodes_reach_the_cluster(ray):
    from skate.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    @ray.remote
    def node():
        import ray as theirs

        return theirs.get_runtime_context().get_node_id()

    @ray.remote
    class There:
        def node(self):
            return ray.get(node.remote())

    [here] = [row["NodeID"] for row in ray.nodes()]
    there = NodeAffinitySchedulingStrategy(here, soft=False)
    assert ray.get(node.options(scheduling_strategy=there).remote()) == here
    assert ray.get(node.options(scheduling_strategy="SPREAD").remote()) == here
    assert ray.get(There.options(scheduling_strategy=there).remote().node.remote()) == here
    nowhere = NodeAffinitySchedulingStrategy("0" * 56, soft=False)
    with pytest.raises(ray.exceptions.TaskUnschedulableError):
        ray.get(node.options(scheduling_strategy=nowhere).remote())


def test_environments_of_tasks_and_actors_are_entered(ray, tmp_path):
    (tmp_path / "of_the_task.py").write_text("word = 'found'")
    (tmp_path / "data").write_text("here")

    @ray.remote
    def look():
        import of_the_task

        with open("data") as file:  # noqa: PTH123 - relative, by the working directory
            return os.environ["COLOUR"], of_the_task.word, file.read()

    @ray.remote
    class Looks:
        def look(self):
            return os.environ["COLOUR"]

    env = {
        "env_vars": {"COLOUR": "red"},
        "working_dir": str(tmp_path),
        "py_modules": [str(tmp_path)],
    }
    assert ray.get(look.options(runtime_env=env).remote()) == ("red", "found", "here")
    actor = Looks.options(runtime_env={"env_vars": {"COLOUR": "blue"}}).remote()
    assert ray.get(actor.look.remote()) == "blue"


def test_the_environment_of_init_is_rays(cluster, run):
    source = f"""
import os
import skate
skate.init("{cluster.address}", runtime_env={{"env_vars": {{"COLOUR": "green"}}}})

@skate.remote
def colour():
    return os.environ["COLOUR"]

print(skate.get(colour.remote()))
"""
    done = run(source, cluster.environment)
    assert done[:2] == (0, "green\n"), done[2]
