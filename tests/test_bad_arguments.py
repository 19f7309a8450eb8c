"""A wrong argument is one error that says which, what came and what was expected.

Most of these were errors of Python or of the Rust side that named nothing: "'>=' not supported
between instances of 'str' and 'int'", "int too big to convert".
"""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

NAN = float("nan")


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
