"""A wrong argument is one error that says which, what came and what was expected.

Most of these were errors of Python or of the Rust side that named nothing: "'>=' not supported
between instances of 'str' and 'int'", "int too big to convert".
"""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

NAN = float("nan")


@pytest.fixture(scope="module")
def stream(skate):
    @skate.remote
    def items():
        yield 1

    return items.remote()


@pytest.fixture(scope="module")
def ref(skate):
    return skate.put(1)


@pytest.mark.parametrize("timeout", ["5", "x", b"5", [1]])
@pytest.mark.parametrize("call", ["get", "wait", "next", "next_batch"])
def test_timeout_that_is_no_number(skate, ref, stream, call, timeout):
    calls = {
        "get": lambda: skate.get(ref, timeout=timeout),
        "wait": lambda: skate.wait([ref], timeout=timeout),
        "next": lambda: stream.next(timeout),
        "next_batch": lambda: stream.next_batch(1, timeout),
    }
    with pytest.raises(TypeError, match=f"{call}: timeout is .*, but must be a number of seconds"):
        calls[call]()


@pytest.mark.parametrize("n", ["x", 1.5, None])
def test_batch_of_no_number(stream, n):
    with pytest.raises(TypeError, match=f"next_batch: n is {n!r}, but must be a whole number"):
        stream.next_batch(n)


def test_timeouts_of_other_kinds_of_numbers_count(skate, ref):
    for timeout in (True, np.int8(1), np.float32(0.5), Fraction(1, 2), Decimal("0.5"), 1e300):
        assert skate.get(ref, timeout=timeout) == 1
        assert skate.wait([ref], timeout=timeout) == ([ref], [])


def test_timeout_too_large_for_a_float_is_for_ever(skate, ref):
    assert skate.get(ref, timeout=10**400) == 1
    assert skate.wait([ref], timeout=10**400) == ([ref], [])


def test_groups_that_are_none(skate):
    util = skate.util
    for call in (util.remove_placement_group, util.placement_group_table):
        with pytest.raises(TypeError, match="group is 5, but must be a PlacementGroup"):
            call(5)
    with pytest.raises(TypeError, match="placement_group_name is 5, but must be a str"):
        util.get_placement_group(5)
    strategy = util.scheduling_strategies.PlacementGroupSchedulingStrategy
    for options in ({"placement_group": 5}, {"scheduling_strategy": strategy(5)}):
        with pytest.raises(TypeError, match="placement_group is 5, but must be a PlacementGroup"):
            skate.remote(**options)(lambda: 1)


@pytest.mark.parametrize("index", ["0", 0.0, None])
def test_bundle_of_no_number(skate, index):
    group = skate.util.placement_group([{"CPU": 1}])
    strategy = skate.util.scheduling_strategies.PlacementGroupSchedulingStrategy(group, index)
    with pytest.raises(TypeError, match=r"placement_group_bundle_index is .*, but must be a whole"):
        skate.remote(scheduling_strategy=strategy)(lambda: 1)
    with pytest.raises(TypeError, match="placement_group_bundle_index"):
        skate.remote(placement_group=group, placement_group_bundle_index=index)(lambda: 1)
    skate.util.remove_placement_group(group)


def test_concurrency_groups_that_are_none(skate):
    for groups in ({"": 2}, [{"name": "", "max_concurrency": 2}]):
        with pytest.raises(ValueError, match=r"'concurrency_groups' maps names to .*has '': 2"):
            skate.remote(concurrency_groups=groups)(type("A", (), {}))
    twice = [{"name": "a", "max_concurrency": 1}] * 2
    with pytest.raises(ValueError, match="'concurrency_groups' has two groups of the name 'a'"):
        skate.remote(concurrency_groups=twice)(type("A", (), {}))


def test_names_that_are_no_text(skate):
    with pytest.raises(TypeError, match="get_actor: name is 5, but must be a str"):
        skate.get_actor(5)
    with pytest.raises(TypeError, match="get_actor: namespace is 5, but must be a str"):
        skate.get_actor("a", 5)
    with pytest.raises(TypeError, match="placement_group: name is 5, but must be a str"):
        skate.util.placement_group([{"CPU": 1}], name=5)


def test_flags_of_cancel(skate, ref):
    with pytest.raises(TypeError, match="cancel: force is 'x', but must be True or False"):
        skate.cancel(ref, force="x")
    with pytest.raises(TypeError, match="cancel: recursive is None, but must be True or False"):
        skate.cancel(ref, recursive=None)
    skate.cancel(ref, force=np.bool_(False), recursive=1)


def test_what_ray_has_and_means_nothing_here_is_taken_if_it_asks_for_nothing(skate, ref):
    assert skate.get(skate.put(1, _owner=None), _use_object_store=False) == 1
    assert skate.get(ref, _use_object_store=True) == 1
    with pytest.raises(ValueError, match="put: _owner is 5, but must be None: the node owns"):
        skate.put(1, _owner=5)
    with pytest.raises(TypeError, match="get: _use_object_store is 'x', but must be True or False"):
        skate.get(ref, _use_object_store="x")
    with pytest.raises(TypeError, match="shutdown: wait_for_processes is 5, but must be True or"):
        skate.shutdown(wait_for_processes=5)
    skate.init(cgroup_path=None, proxy_server_url=None, ignore_reinit_error=True)
    for name in ("cgroup_path", "proxy_server_url"):
        with pytest.raises(ValueError, match=f"init: {name}='x' is not part of this version"):
            skate.init(**{name: "x"}, ignore_reinit_error=True)


@pytest.mark.parametrize(
    ("error", "shape", "match"),
    [
        (TypeError, 2.5, "an extent of shape is 2.5, but must be a whole number"),
        (TypeError, (2, "a"), "an extent of shape is 'a', but must be a whole number"),
        (TypeError, None, "an extent of shape is None, but must be a whole number"),
        (ValueError, (2, -1), "an extent of shape is -1, but must be from 0"),
        (ValueError, 2**62, r"the size in bytes of shape \d+ is \d+, but must be from 0"),
        (ValueError, (2**40, 2**40), r"the size in bytes of shape \(.*\) is \d+, but must be from"),
    ],
)
def test_shape_of_empty(skate, error, shape, match):
    with pytest.raises(error, match=f"^skate.empty: {match}"):
        skate.empty(shape)


def test_size_of_empty_buffer(skate):
    with pytest.raises(TypeError, match=r"empty_buffer: nbytes is 2\.5, but must be a whole"):
        skate.empty_buffer(2.5)
    with pytest.raises(ValueError, match="empty_buffer: nbytes is -1, but must be from 0"):
        skate.empty_buffer(-1)


def test_extents_of_numpy_count(skate):
    assert skate.empty(np.int64(3)).shape == (3,)
    assert skate.empty((np.int8(2), 3)).shape == (2, 3)
    assert skate.empty(np.array([2, 3])).shape == (2, 3)
    assert len(skate.empty_buffer(np.int64(3))) == 3


@pytest.mark.parametrize(
    ("error", "bundle", "match"),
    [
        (ValueError, {"CPU": -1}, "CPU .* cannot be negative"),
        (ValueError, {"GPU": -1}, "GPU .* cannot be negative"),
        (TypeError, {"CPU": "x"}, "CPU .* is 'x', but must be a number"),
        (TypeError, {"CPU": 1, "a": None}, "a .* is None, but must be a number"),
        (ValueError, {"CPU": NAN}, "CPU .* is nan, but must be from 0"),
        (ValueError, {"CPU": float("inf")}, "CPU .* is inf, but must be from 0"),
        (ValueError, {"memory": 1e30}, r"memory .* is 1e\+30, but must be from 0"),
        (ValueError, {"CPU": 1e-9}, "CPU .* cannot go beyond 0.0001"),
        (TypeError, {1: 1}, "is 1, but must be a str"),
    ],
)
def test_amounts_of_a_bundle(skate, error, bundle, match):
    with pytest.raises(error, match=match) as caught:
        skate.util.placement_group([{"CPU": 1}, bundle])
    assert "placement_group: bundles" in str(caught.value)


@pytest.mark.parametrize("amount", [np.int8(1), np.float16(1), Fraction(1), Decimal(1), True])
def test_amounts_of_other_kinds_of_numbers_count(skate, amount):
    group = skate.util.placement_group([{"CPU": amount}])
    row = skate.util.placement_group_table(group)
    assert row["bundles"] == {0: {"CPU": 1.0}}
    skate.util.remove_placement_group(group)


@pytest.mark.parametrize(
    ("error", "options", "match"),
    [
        (ValueError, {"num_cpus": 10**30}, "num_cpus is 10+, but must be from 0"),
        (ValueError, {"num_cpus": 1e300}, r"num_cpus is 1e\+300, but must be from 0"),
        (ValueError, {"memory": 2**64}, r"memory is \d+, but must be from 0"),
        (ValueError, {"num_cpus": NAN}, "num_cpus is nan, but must be from 0"),
        (ValueError, {"resources": {"spot": 10**30}}, "spot is 10+, but must be from 0"),
        (TypeError, {"resources": {"spot": "1"}}, "spot is '1', but must be a number"),
        (TypeError, {"resources": {5: 1}}, "a name of resources is 5, but must be a str"),
        (ValueError, {"num_returns": np.zeros(3)}, "num_returns.*received array"),
        (ValueError, {"scheduling_strategy": np.zeros(3)}, "scheduling_strategy.*received array"),
    ],
)
def test_options_out_of_range(skate, error, options, match):
    with pytest.raises(error, match=match):
        skate.remote(**options)(lambda: 1)


@pytest.mark.parametrize("amounts", [{"num_gpus": 1e-9}, {"num_cpus": 1e-6}])
def test_amount_that_would_count_as_nothing(skate, amounts):
    """Such a task ran as one that asks for nothing."""
    with pytest.raises(ValueError, match=r"cannot go beyond 0\.0001"):
        skate.remote(**amounts)(lambda: 1)


def test_thirds_are_rounded(skate):
    """As in Ray. They were refused, though not as a part of a bundle."""
    assert skate.get(skate.remote(num_cpus=1 / 3)(lambda: 1).remote()) == 1
    group = skate.util.placement_group([{"CPU": 1 / 3}, {"CPU": Fraction(2, 3)}])
    bundles = skate.util.placement_group_table(group)["bundles"]
    assert bundles == {0: {"CPU": 0.3333}, 1: {"CPU": 0.6667}}
    skate.util.remove_placement_group(group)


@pytest.mark.parametrize("name", ["memory", "object_store_memory"])
def test_resource_that_has_a_keyword(skate, name):
    """It overrode the keyword in silence."""
    with pytest.raises(ValueError, match=rf"resources must not contain \['{name}'\]"):
        skate.remote(memory=1, resources={name: 5})(lambda: 1)


def test_concurrency_group_without_a_limit(skate):
    @skate.remote
    class Actor:
        pass

    with pytest.raises(TypeError, match="item of 'concurrency_groups' is 'io', but must be a dict"):
        Actor.options(concurrency_groups=["io"])


def test_limit_of_unhandled_errors(skate):
    from skate.util.state import list_unhandled_errors

    with pytest.raises(TypeError, match=r"limit is 1\.5, but must be a whole number"):
        list_unhandled_errors(1.5)
    assert list_unhandled_errors(np.int64(5)) == []
