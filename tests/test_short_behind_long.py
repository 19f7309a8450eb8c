"""Short tasks share a worker, but none waits behind one that turns out long."""

import time

import pytest


@pytest.fixture
def nap(skate):
    """A function that is known to be short."""

    @skate.remote
    def nap(gate=None, done=None):
        if gate:
            gate.read_bytes()
        if done:
            with done.open("ab") as file:
                file.write(b".")

    for _ in range(5):
        skate.get([nap.remote() for _ in range(100)])
    return nap


def test_task_behind_one_that_turns_out_long_is_got_before_that_ends(skate, nap, gates):
    for turn in range(5):
        gate = gates(f"gate {turn}")
        long = nap.remote(gate)
        skate.get(nap.remote())
        gate.write_bytes(b"")
        skate.get(long)


def test_it_runs_before_that_ends_although_nobody_waits(skate, nap, gate, attempts):
    long = nap.remote(gate)
    shorts = [nap.remote(None, attempts) for _ in range(20)]
    while attempts.stat().st_size < 20:
        time.sleep(0.01)
    gate.write_bytes(b"")
    skate.get([long, *shorts])


def test_those_that_a_task_submits_do_not_wait_for_each_other_either(skate, nap, gate):
    @skate.remote(num_cpus=0)
    def parent(nap):
        long = nap.remote(gate)
        skate.get([nap.remote() for _ in range(20)])
        gate.write_bytes(b"")
        skate.get(long)

    skate.get(parent.remote(nap))
