"""Random programs of producers, readers, drops, cancels, closes and crashes against a simple model.

The model of a stream: which values it will give, how far its cursor is, and how it ends. Whatever
the program does, each value is given once and in order, and nothing is left behind at the end.
"""

import os
import time
import uuid
from dataclasses import dataclass, field

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

PRELOAD = ["hypothesis.stateful", "pytest"]


class Boom(Exception):
    """What a failing producer raises."""


@dataclass
class Model:
    """One stream and what it must give."""

    stream: object
    length: int
    fails: bool
    taken: int = 0
    is_closed: bool = False
    is_cancelled: bool = False
    has_failed: bool = False
    refs: list = field(default_factory=list)

    def is_over(self):
        """All was given, or nothing more will be."""
        return self.is_closed or (self.has_failed or (self.taken == self.length and not self.fails))


def make_machine(skate, is_clean, eventually, folder):
    @skate.remote(max_retries=2)
    def produce(length, fails, crash_at, size, log):
        with log.open("ab") as file:
            file.write(b"x")
        is_first = log.stat().st_size == 1
        for k in range(length):
            if is_first and k == crash_at:
                os._exit(1)
            yield k.to_bytes(4, "little") * size
        if fails:
            raise Boom

    @skate.remote(max_retries=0)
    def consume(stream, count, dies):
        values = []
        for _ in range(count):
            try:
                ref = next(stream)
            except StopIteration:
                break
            try:
                values.append(int.from_bytes(skate.get(ref)[:4], "little"))
            except Exception:
                values.append("error")
                break
        if dies:
            os._exit(1)
        return values

    class Machine(RuleBasedStateMachine):
        models = Bundle("models")

        @rule(
            target=models,
            length=st.integers(0, 12),
            fails=st.booleans(),
            crash_at=st.none() | st.integers(0, 12),
            size=st.sampled_from([1, 2_000, 100_000]),
            window=st.sampled_from(
                [
                    {},
                    {"generator_backpressure_num_objects": 1},
                    {"generator_backpressure_num_objects": 3},
                    {"generator_backpressure_num_bytes": 500_000},
                ]
            ),
        )
        def start(self, length, fails, crash_at, size, window):
            log = folder / uuid.uuid4().hex
            remote = produce.options(**window)
            stream = remote.remote(length, fails, crash_at, size, log)
            return Model(stream, length, fails)

        def took(self, model, ref):
            """One more ref came out of the stream."""
            try:
                value = int.from_bytes(skate.get(ref)[:4], "little")
            except skate.exceptions.TaskCancelledError:
                assert model.is_cancelled
                model.has_failed = True
            except Boom:
                assert model.fails
                assert model.taken == model.length
                model.has_failed = True
            else:
                assert value == model.taken
                model.taken += 1

        def ended(self, model):
            # A cancel may have come too late, or just after the last item.
            assert model.is_over() or (model.is_cancelled and model.has_failed)

        @rule(model=models, timeout=st.sampled_from([0, 0.001, None]))
        def read(self, model, timeout):
            try:
                ref = model.stream.next(timeout=timeout)
            except StopIteration:
                self.ended(model)
            except skate.exceptions.GetTimeoutError:
                assert timeout is not None
            else:
                assert not model.is_closed
                self.took(model, ref)

        @rule(model=models, count=st.integers(1, 5))
        def read_batch(self, model, count):
            try:
                refs = model.stream.next_batch(count)
            except StopIteration:
                self.ended(model)
            else:
                assert 1 <= len(refs) <= count
                for ref in refs:
                    self.took(model, ref)

        @rule(model=models, count=st.integers(0, 4))
        def read_elsewhere(self, model, count):
            for value in skate.get(consume.remote(model.stream, count, dies=False)):
                if value == "error":
                    assert model.is_cancelled or model.taken == model.length
                    model.has_failed = True
                else:
                    assert value == model.taken
                    model.taken += 1

        @rule(model=models, count=st.integers(0, 4))
        def read_elsewhere_and_die(self, model, count):
            may_give = not model.is_over() and not model.is_cancelled and not model.fails
            left = model.length - model.taken
            with pytest.raises(skate.exceptions.WorkerCrashedError) as caught:
                skate.get(consume.remote(model.stream, count, dies=True))
            if may_give:
                model.taken += min(count, left)
                noted = f"had consumed {min(count, left)} items of stream" in str(caught.value)
                assert noted == (min(count, left) > 0)
            else:  # how far it came is not known here
                model.stream.close()
                model.is_closed = True

        @rule(model=models)
        def wait(self, model):
            assert skate.wait([model.stream], timeout=20) == ([model.stream], [])

        @rule(model=models)
        def close(self, model):
            model.stream.close()
            model.is_closed = True

        @rule(model=models)
        def cancel(self, model):
            skate.cancel(model.stream)
            model.is_cancelled = True

        @rule(model=consumes(models))
        def drop(self, model):
            model.stream = None

        @rule(model=consumes(models))
        def drain(self, model):
            for ref in model.stream:
                self.took(model, ref)
            self.ended(model)
            skate.wait([model.stream.completed()])

        def teardown(self):
            # What the bundles still hold goes with them; those that wait for a reader are let go.
            for name in self.names_to_values:
                self.names_to_values[name].stream = None
            deadline = time.monotonic() + 20
            eventually(lambda: is_clean(skate) or time.monotonic() > deadline)
            assert is_clean(skate), dict(skate.statistics())

    return Machine


@pytest.mark.processes("its process ends")
def test_random_programs_give_each_value_once_and_leave_nothing(
    skate, eventually, is_clean, tmp_path
):
    machine = make_machine(skate, is_clean, eventually, tmp_path)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=int(os.environ.get("SKATE_STATEFUL_EXAMPLES", "15")),
            stateful_step_count=20,
            deadline=None,
            derandomize="SKATE_STATEFUL_EXAMPLES" not in os.environ,
            database=None,
            phases=[Phase.generate],  # a session that was left dirty tells nothing about less
            suppress_health_check=list(HealthCheck),
        ),
    )
