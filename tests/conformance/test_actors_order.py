"""In which order the calls of an actor start."""

import pytest


@pytest.fixture(scope="module")
def Log(ray):
    @ray.remote
    class Log:
        def __init__(self):
            self.lines = []

        def add(self, *line):
            self.lines.append(line)

        def get(self):
            return self.lines

    return Log


def test_calls_of_one_caller_run_in_the_order_of_submission(ray, Log):
    log = Log.remote()
    for number in range(500):
        log.add.remote(number)
    assert ray.get(log.get.remote()) == [(number,) for number in range(500)]


def test_call_that_waits_for_an_argument_holds_up_the_later_ones(ray, Log, gate):
    @ray.remote
    def late():
        gate.read_bytes()
        return "late"

    log = Log.remote()
    log.add.remote(late.remote())
    log.add.remote("early")
    lines = log.get.remote()
    gate.write_bytes(b"")
    assert ray.get(lines) == [("late",), ("early",)]


def test_call_that_waits_does_not_hold_up_other_callers(ray, Log, gate):
    @ray.remote
    def late():
        gate.read_bytes()
        return "late"

    @ray.remote
    def other(log):
        ray.get(log.add.remote("other"))

    log = Log.remote()
    waiting = log.add.remote(late.remote())
    ray.get(other.remote(log))
    gate.write_bytes(b"")
    ray.get(waiting)
    assert ray.get(log.get.remote()) == [("other",), ("late",)]


def test_call_with_a_failed_argument_fails_and_the_later_ones_run(ray, Log):
    @ray.remote
    def fail():
        raise ValueError("not this one")

    log = Log.remote()
    failed = log.add.remote(fail.remote())
    log.add.remote("next")
    with pytest.raises(ValueError, match="not this one"):
        ray.get(failed)
    assert ray.get(log.get.remote()) == [("next",)]


def test_each_of_eight_callers_keeps_its_order(ray, Log):
    @ray.remote(num_cpus=0.1)
    def call(log, caller):
        ray.get([log.add.remote(caller, number) for number in range(100)])

    log = Log.remote()
    ray.get([call.remote(log, caller) for caller in range(8)])
    lines = ray.get(log.get.remote())
    for caller in range(8):
        assert [number for who, number in lines if who == caller] == list(range(100))


def test_out_of_order_execution_lets_ready_calls_pass(ray, Log, gate):
    @ray.remote
    def late():
        gate.read_bytes()
        return "late"

    log = Log.options(allow_out_of_order_execution=True).remote()
    waiting = log.add.remote(late.remote())
    ray.get(log.add.remote("early"))
    gate.write_bytes(b"")
    ray.get(waiting)
    assert ray.get(log.get.remote()) == [("early",), ("late",)]
