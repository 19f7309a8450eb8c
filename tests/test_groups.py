"""Placement groups: nothing is lost, nothing hangs."""

import pytest


def test_resources_return_when_a_group_is_removed(skate):
    before = skate.available_resources()
    group = skate.util.placement_group([{"CPU": 1}, {"CPU": 1}])
    assert group.wait(30)
    assert "CPU" not in skate.available_resources()
    skate.util.remove_placement_group(group)
    assert skate.available_resources() == before
    assert skate.cluster_resources()["CPU"] == 2


def test_queued_and_running_tasks_of_a_removed_group_fail(skate, gate):
    from skate.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = skate.util.placement_group([{"CPU": 1}])

    @skate.remote(
        num_cpus=1, scheduling_strategy=PlacementGroupSchedulingStrategy(group), max_retries=5
    )
    def work():
        gate.write_bytes(b"")
        gate.read_bytes()

    calls = [work.remote() for _ in range(3)]
    gate.read_bytes()
    skate.util.remove_placement_group(group)
    for call in [*calls, work.remote()]:
        with pytest.raises(skate.exceptions.TaskPlacementGroupRemoved):
            skate.get(call)


def test_group_that_never_fits_says_so_when_it_is_removed(skate):
    group = skate.util.placement_group([{"CPU": 100}])
    ready = group.ready()
    assert not group.wait(0)
    skate.util.remove_placement_group(group)
    with pytest.raises(skate.exceptions.TaskPlacementGroupRemoved):
        skate.get(ready)


def test_bundle_too_small_for_ever_is_refused(skate):
    from skate.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = skate.util.placement_group([{"CPU": 1}])

    @skate.remote(num_cpus=2)
    def large():
        pass

    with pytest.raises(ValueError, match="cannot fit into any bundles"):
        large.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group)).remote()
    skate.util.remove_placement_group(group)
