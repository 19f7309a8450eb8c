"""`max_calls`: how many calls a worker process runs of one function."""

import os
import signal
import time
from collections import Counter

import pytest

from skate import _session


def test_process_runs_at_most_so_many_calls(skate):
    @skate.remote(max_calls=3)
    def where():
        return os.getpid()

    calls = Counter(skate.get([where.remote() for _ in range(30)]))
    assert max(calls.values()) == 3
    assert len(calls) >= 10


def test_result_of_the_last_call_outlives_its_process(skate):
    @skate.remote(max_calls=1)
    def large():
        return bytes(300_000), os.getpid()

    value, pid = skate.get(large.remote())
    assert len(value) == 300_000
    other, next_pid = skate.get(large.remote())
    assert pid != next_pid
    assert value == other


def test_late_cancel_keeps_no_process(skate, gate):
    # It fell between the end of the call and the word that the process leaves.
    @skate.remote(max_calls=1)
    def where():
        def connect():
            gate.write_bytes(b"")
            while not client.is_canceled():
                time.sleep(0.001)
            signal.raise_signal(signal.SIGINT)
            return client

        client = _session.client
        _session.connect = connect
        return os.getpid()

    @skate.remote
    def free():
        return os.getpid()

    ref = where.remote()
    gate.read_bytes()
    skate.cancel(ref)
    assert skate.get(ref) not in skate.get([free.remote() for _ in range(20)])


def test_generator_is_one_call_and_yields_all(skate):
    @skate.remote(max_calls=1)
    def items(count):
        for _ in range(count):
            yield os.getpid()

    one, two = skate.get(list(items.remote(5))), skate.get(list(items.remote(5)))
    assert len(set(one)) == len(set(two)) == 1
    assert one[0] != two[0]


def test_calls_of_other_functions_do_not_count(skate):
    @skate.remote(max_calls=2)
    def limited():
        return os.getpid()

    @skate.remote
    def free():
        return os.getpid()

    first = skate.get(limited.remote())
    assert skate.get([free.remote() for _ in range(20)])
    assert first in skate.get([limited.remote() for _ in range(2)])


def test_call_that_raises_counts_and_tells(skate):
    @skate.remote(max_calls=1)
    def fails():
        raise ValueError(str(os.getpid()))

    pids = set()
    for _ in range(3):
        with pytest.raises(ValueError, match=r"\d+") as caught:
            skate.get(fails.remote())
        pids.add(str(caught.value.cause))
    assert len(pids) == 3


def test_tasks_sent_ahead_run_once_elsewhere(skate, tmp_path):
    """What a leaving worker has not begun is nobody's loss, and costs no retry."""

    @skate.remote(max_calls=1, max_retries=0)
    def note(k):
        with (tmp_path / str(k)).open("a") as file:
            file.write("x")
        return k

    assert skate.get([note.remote(k) for k in range(40)]) == list(range(40))
    assert [(tmp_path / str(k)).read_text() for k in range(40)] == ["x"] * 40


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), ("2", TypeError)])
def test_bad_values_are_refused(skate, value, error):
    with pytest.raises(error, match="max_calls"):
        skate.remote(max_calls=value)(lambda: None)


def test_it_belongs_to_the_decorator(skate):
    function = skate.remote(lambda: None)
    with pytest.raises(ValueError, match="Setting 'max_calls' is not supported in"):
        function.options(max_calls=1)
