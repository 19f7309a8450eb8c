"""Placement groups: nothing is lost, nothing hangs."""

import sys

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


@pytest.mark.parametrize("cpus", [1, 100], ids=["placed", "pending"])
def test_removed_group_is_not_ready(skate, cpus):
    """`wait` was True, and `ready` gave the group."""
    group = skate.util.placement_group([{"CPU": cpus}])
    assert group.wait(0 if cpus == 100 else 30) == (cpus == 1)
    skate.util.remove_placement_group(group)
    with pytest.raises(ValueError, match=f"{group.id.hex()} does not exist: it was removed"):
        group.wait(30)
    with pytest.raises(skate.exceptions.TaskPlacementGroupRemoved):
        skate.get(group.ready())


def test_group_found_by_its_name_waits_as_well(skate):
    group = skate.util.placement_group([{"CPU": 100}], name="found")
    found = skate.util.get_placement_group("found")
    assert found == group
    assert not found.wait(0)
    skate.util.remove_placement_group(group)
    with pytest.raises(ValueError, match="it was removed"):
        found.wait(30)


def test_bundle_too_small_for_ever_is_refused(skate):
    from skate.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = skate.util.placement_group([{"CPU": 1}])

    @skate.remote(num_cpus=2)
    def large():
        pass

    asked = r"Cannot schedule .*\.large with .* request \{'CPU': 2\} cannot fit into any bundles"
    with pytest.raises(ValueError, match=asked):
        large.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group)).remote()
    skate.util.remove_placement_group(group)


def interrupt_at(number):
    """A trace function: KeyboardInterrupt at that line, of those of the module of groups."""
    lines = 0

    def trace(frame, event, _arg):
        nonlocal lines
        if not frame.f_code.co_filename.endswith("placement_group.py"):
            return None
        if event == "line":
            lines += 1
            if lines == number:
                raise KeyboardInterrupt
        return trace

    return trace


def test_interrupt_leaves_no_group(skate):
    """One that came after the resources were taken left them so, and nobody had the handle."""
    usual, number, group = sys.gettrace(), 0, None
    while group is None:
        number += 1
        sys.settrace(interrupt_at(number))
        try:
            group = skate.util.placement_group([{"CPU": 1}], name="interrupted")
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(usual)
        rows = skate.util.placement_group_table().values()
        left = [row for row in rows if row["name"] == "interrupted" and row["state"] != "REMOVED"]
        assert len(left) == (group is not None), number
    assert number > 10
    skate.util.remove_placement_group(group)


def test_changing_the_bundles_afterwards_changes_no_group(skate):
    bundles = [{"CPU": 1}]
    group = skate.util.placement_group(bundles)
    bundles[0]["CPU"] = 2
    bundles.append({"CPU": 1})
    assert group.bundle_specs == [{"CPU": 1}]
    skate.util.remove_placement_group(group)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("placement group ", "Warning: placement group stays pending: "),
        ("placement group of mine", "Warning: placement group of mine stays pending: "),
        ("work", "Warning: task work stays pending: "),
    ],
)
def test_warning_names_what_stays_pending(capsys, name, expected):
    """That of a group without a name was "task placement group  stays pending"."""
    from skate._display import INFEASIBLE, Display

    display = Display()
    display.show(INFEASIBLE, (name, [("CPU", 50, 2)]))
    display.flush()
    lines = capsys.readouterr().err.splitlines()  # the session may tell of other groups meanwhile
    assert [line for line in lines if line.startswith(expected) and "CPU 50 " in line]


def test_a_group_that_was_found_is_waited_for_by_one_task(skate):
    """Each look left a task in the queue, and an error of each was told when the group went."""
    held = skate.util.placement_group([{"CPU": 1}])
    assert held.wait(60)
    group = skate.util.placement_group([{"CPU": 2}], name="found")
    found = skate.util.get_placement_group("found")
    before = skate.statistics().tasks
    for _ in range(20):
        assert not found.wait(0)
    assert skate.statistics().tasks - before <= 1
    skate.util.remove_placement_group(held)
    assert found.wait(60)
    assert group.wait(60)
    told = len(skate.util.state.list_unhandled_errors())
    skate.util.remove_placement_group(group)
    del found
    assert len(skate.util.state.list_unhandled_errors()) == told
