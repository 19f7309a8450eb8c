"""Placement groups on one machine."""

import importlib

import pytest


@pytest.fixture(scope="module")
def util(ray):
    module = importlib.import_module(f"{ray.__name__}.util")
    importlib.import_module(f"{ray.__name__}.util.scheduling_strategies")
    return module


@pytest.fixture
def group(ray, util):
    made = util.placement_group([{"CPU": 1}, {"CPU": 1, "spot": 1}])
    assert made.wait(30)
    yield made
    util.remove_placement_group(made)


def inside(util, group, index=-1, *, capture=None):
    return util.scheduling_strategies.PlacementGroupSchedulingStrategy(
        placement_group=group,
        placement_group_bundle_index=index,
        placement_group_capture_child_tasks=capture,
    )


def test_group_is_ready_and_tasks_run_in_it(ray, util, group):
    @ray.remote(num_cpus=1)
    def where():
        return ray.get_runtime_context().get_placement_group_id()

    assert ray.get(group.ready()) == group
    assert not group.is_empty
    found = ray.get(where.options(scheduling_strategy=inside(util, group)).remote())
    assert found == group.id.hex()
    assert ray.get_runtime_context().get_placement_group_id() is None


def test_actor_runs_in_its_bundle(ray, util, group):
    @ray.remote(num_cpus=1, resources={"spot": 1})
    class Inside:
        def where(self):
            current = ray.util.get_current_placement_group()
            return None if current is None else current.id.hex()

    actor = Inside.options(scheduling_strategy=inside(util, group, 1)).remote()
    assert ray.get(actor.where.remote()) == group.id.hex()


def test_children_are_captured_when_asked(ray, util, group):
    @ray.remote(num_cpus=0)
    def child():
        return ray.get_runtime_context().get_placement_group_id()

    @ray.remote(num_cpus=1)
    def parent():
        captures = ray.get_runtime_context().should_capture_child_tasks_in_placement_group
        found = ray.get(child.remote())
        assert captures == (found is not None)
        return found

    captured = parent.options(scheduling_strategy=inside(util, group, capture=True))
    free = parent.options(scheduling_strategy=inside(util, group, capture=False))
    assert ray.get(captured.remote()) == group.id.hex()
    assert ray.get(free.remote()) is None


def test_children_are_captured_whoever_called_the_function_before(ray, util, group):
    @ray.remote(num_cpus=0)
    def child():
        return ray.get_runtime_context().get_placement_group_id()

    @ray.remote(num_cpus=1)
    def parent():
        return ray.get(child.remote())

    @ray.remote(num_cpus=1)
    class Parent:
        def call(self):
            return ray.get(child.remote())

    inside_id = group.id.hex()
    captured = parent.options(scheduling_strategy=inside(util, group, capture=True))
    free = parent.options(scheduling_strategy=inside(util, group, capture=False))
    # In one worker or in several: each call is captured, or not, by who makes it.
    for _ in range(3):
        assert ray.get(free.remote()) is None
        assert ray.get(captured.remote()) == inside_id
    actor = Parent.options(scheduling_strategy=inside(util, group, capture=True)).remote()
    assert ray.get([actor.call.remote(), actor.call.remote()]) == [inside_id, inside_id]


def test_group_may_be_named_by_its_older_options(ray, util, group):
    @ray.remote(num_cpus=0)
    def where():
        return ray.get_runtime_context().get_placement_group_id()

    @ray.remote(num_cpus=1, placement_group=group)
    class Inside:
        def where(self):
            return ray.get_runtime_context().get_placement_group_id()

        def below(self):
            return ray.get(where.remote()), ray.get(where.options(placement_group=None).remote())

    inside_id = group.id.hex()
    in_bundle = where.options(placement_group=group, placement_group_bundle_index=1)
    assert ray.get(in_bundle.remote()) == inside_id
    assert ray.get(where.options(placement_group=None).remote()) is None
    assert ray.get(where.options(placement_group="default").remote()) is None
    captured = Inside.options(placement_group_capture_child_tasks=True).remote()
    assert ray.get([captured.where.remote(), captured.below.remote()]) == [
        inside_id, (inside_id, None)
    ]  # fmt: skip


def test_call_may_ask_to_be_captured_or_not(ray, util, group):
    @ray.remote(num_cpus=0)
    def child():
        return ray.get_runtime_context().get_placement_group_id()

    @ray.remote(num_cpus=0)
    def parent(captures):
        asked = child.options(placement_group_capture_child_tasks=captures)
        return ray.get([asked.remote(), asked.remote()])

    inside_id = group.id.hex()
    captured = parent.options(scheduling_strategy=inside(util, group, capture=True))
    free = parent.options(scheduling_strategy=inside(util, group, capture=False))
    assert ray.get(parent.remote(True)) == [None, None]
    assert ray.get(free.remote(True)) == [inside_id, inside_id]
    assert ray.get(free.remote(None)) == [None, None]
    assert ray.get(captured.remote(False)) == [None, None]


def test_group_of_both_kinds_of_options_is_refused(ray, util, group):
    @ray.remote
    def nothing():
        pass

    with pytest.raises(ValueError, match="specified via the scheduling_strategy option"):
        nothing.options(placement_group=group, scheduling_strategy="SPREAD")
    nothing.options(placement_group=None, scheduling_strategy="SPREAD")


def test_wrong_bundle_is_refused(ray, util, group):
    @ray.remote
    def nothing():
        pass

    with pytest.raises(ValueError, match=r"bundle.index"):
        nothing.options(scheduling_strategy=inside(util, group, 5)).remote()
    with pytest.raises(ValueError, match=r"bundle.index"):
        nothing.options(placement_group=group, placement_group_bundle_index=5).remote()
    with pytest.raises(ValueError, match=r"bundle.index"):
        nothing.options(placement_group_bundle_index=0).remote()


def test_wrong_arguments_are_refused(util):
    with pytest.raises(ValueError, match="strategy"):
        util.placement_group([{"CPU": 1}], strategy="NEAR")
    with pytest.raises(ValueError, match="undles"):
        util.placement_group([])


@pytest.mark.processes("nothing is ever taken")
def test_second_group_waits_for_the_first(ray, util):
    first = util.placement_group([{"CPU": 2}])
    assert first.wait(30)
    second = util.placement_group([{"CPU": 2}])
    assert not second.wait(0.1)
    util.remove_placement_group(first)
    assert second.wait(30)
    util.remove_placement_group(second)


def test_table_tells_the_state(ray, util, group):
    row = util.placement_group_table(group)
    assert (row["state"], row["strategy"]) == ("CREATED", "PACK")
    assert row["bundles"][1] == {"CPU": 1.0, "spot": 1.0}


def test_actor_ends_with_its_group(ray, util):
    @ray.remote(num_cpus=1)
    class Inside:
        def hello(self):
            return "hello"

    group = util.placement_group([{"CPU": 1}])
    actor = Inside.options(scheduling_strategy=inside(util, group)).remote()
    assert ray.get(actor.hello.remote()) == "hello"
    util.remove_placement_group(group)
    with pytest.raises(ray.exceptions.RayActorError):
        while True:
            ray.get(actor.hello.remote())


def test_the_module_of_that_name_does_not_hide_the_function(ray, engine):
    """Importing the module first made `util.placement_group` the module, which cannot be called."""
    importlib.import_module(f"{engine.__name__}.util.placement_group")
    group = engine.util.placement_group([{"CPU": 1}])
    assert ray.get(group.ready()) is not None
    engine.util.remove_placement_group(group)
