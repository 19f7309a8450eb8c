"""Random programs that put, get, view, nest, pass, drop and kill, in a store too small for them.

The model of a value is the number that it was made from. Whatever the program does, each ref gives
its number, each view keeps it, and nothing is left at the end: neither in memory nor on disk.
"""

import gc
import os
import signal
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    rule,
    run_state_machine_as_test,
)

MB = 1_000_000
SIZES = st.sampled_from([100, 6_000, 50_000, MB, 9 * MB, 20 * MB, 45 * MB])


def make(number, size):
    """An array of about so many bytes that says at both ends where it comes from."""
    array = np.full(max(size // 8, 2), number, dtype=np.int64)
    array[-1] = ~number
    return array


def number_of(array):
    assert array[-1] == ~array[0], "the two ends of a value differ"
    return int(array[0])


class Value:
    """One ref, or a view of its value, and the number that it must give."""

    def __init__(self, number, ref=None, view=None):
        self.number = number
        self.ref = ref
        self.view = view


def make_machine(skate):
    @skate.remote(max_retries=-1)
    def make_there(number, size):
        return make(number, size)

    @skate.remote(max_retries=-1)
    def next_of(array):
        return make(number_of(array) + 1, array.nbytes)

    @skate.remote(max_retries=-1)
    def unpack(pair):
        return [number_of(skate.get(ref)) for ref in pair[0]]

    class Machine(RuleBasedStateMachine):
        values = Bundle("values")
        views = Bundle("views")

        def __init__(self):
            super().__init__()
            self.count = 0

        def new(self):
            self.count += 1_000
            return self.count

        @rule(target=values, size=SIZES)
        def put(self, size):
            number = self.new()
            return Value(number, skate.put(make(number, size)))

        @rule(target=values, size=SIZES)
        def return_one(self, size):
            number = self.new()
            return Value(number, make_there.remote(number, size))

        @rule(target=values, value=values)
        def pass_on(self, value):
            return Value(value.number + 1, next_of.remote(value.ref))

        @rule(values=st.lists(values, min_size=1, max_size=4), padding=SIZES)
        def nest(self, values, padding):
            outer = skate.put(([value.ref for value in values], bytes(padding)))
            assert skate.get(unpack.remote(outer)) == [value.number for value in values]

        @rule(values=st.lists(values, max_size=5))
        def get(self, values):
            found = skate.get([value.ref for value in values])
            assert [number_of(array) for array in found] == [value.number for value in values]

        @rule(target=views, value=values)
        def view(self, value):
            return Value(value.number, view=skate.get(value.ref))

        @rule(view=views)
        def look(self, view):
            assert number_of(view.view) == view.number

        @rule(view=consumes(views))
        def let_go(self, view):
            assert number_of(view.view) == view.number
            view.view = None

        @rule(value=consumes(values))
        def drop(self, value):
            value.ref = None

        @rule(place=st.integers(0, 10))
        def kill(self, place):
            from skate import _session

            workers = [row["pid"] for row in _session.client.describe_workers() if row["pid"]]
            if workers:
                try:
                    os.kill(workers[place % len(workers)], signal.SIGKILL)
                except ProcessLookupError:
                    return

        def teardown(self):
            for value in self.names_to_values.values():
                value.ref = value.view = None
            gc.collect()
            gauges = ("objects", "tasks", "pins", "used_bytes", "spilled_bytes", "disk_bytes")
            deadline = time.monotonic() + 20

            def left():
                statistics = skate.statistics()
                # A worker keeps a lease for its small values.
                return {
                    name: statistics[name]
                    for name in gauges
                    if statistics[name] and not (name == "used_bytes" and statistics.leases)
                }

            barrier = skate.put(0)
            while left().keys() - {"objects"} and time.monotonic() < deadline:
                skate.wait([barrier], timeout=0.02)
            del barrier
            assert not left(), left()

    return Machine


@pytest.fixture
def tight(fresh, tmp_path):
    """A store of 80 MB."""
    fresh.init(
        num_cpus=2, object_store_memory=80 * MB, object_spilling_directory=str(tmp_path / "spilled")
    )
    return fresh


@pytest.mark.timeout(int(os.environ.get("SKATE_STATEFUL_TIMEOUT", "240")))
def test_random_programs_get_what_they_put_and_leave_nothing(tight):
    run_state_machine_as_test(
        make_machine(tight),
        settings=settings(
            max_examples=int(os.environ.get("SKATE_STATEFUL_EXAMPLES", "4")),
            stateful_step_count=30,
            deadline=None,
            derandomize="SKATE_STATEFUL_EXAMPLES" not in os.environ,
            database=None,
            phases=[Phase.generate],  # a session that was left dirty tells nothing about less
            suppress_health_check=list(HealthCheck),
        ),
    )
