"""Short tasks share a worker, but none waits behind one that turns out long."""

import os
import time

import pytest

LONG_S = 2.0
SOON_S = 0.5  # many times what it takes to take tasks back and to wake a worker


@pytest.fixture
def nap(skate):
    """A function that is known to be short."""

    @skate.remote
    def nap(seconds):
        if seconds:
            time.sleep(seconds)
        return os.getpid(), time.monotonic()

    for _ in range(5):
        skate.get([nap.remote(0) for _ in range(100)])
    return nap


def test_task_behind_one_that_turns_out_long_is_got_soon(skate, nap):
    for _ in range(5):
        start = time.monotonic()
        long = nap.remote(LONG_S / 5)
        pid, _ = skate.get(nap.remote(0), timeout=LONG_S)
        assert time.monotonic() - start < LONG_S / 10
        assert skate.get(long)[0] != pid


def test_it_starts_soon_although_nobody_waits(skate, nap):
    start = time.monotonic()
    long = nap.remote(LONG_S)
    shorts = [nap.remote(0) for _ in range(20)]
    time.sleep(LONG_S + SOON_S)
    assert max(at for _, at in skate.get(shorts)) - start < SOON_S
    assert skate.get(long)[1] - start >= LONG_S


def test_those_that_a_task_submits_do_not_wait_for_each_other_either(skate, nap):
    @skate.remote(num_cpus=0)
    def parent(nap):
        long = nap.remote(LONG_S)
        start = time.monotonic()
        skate.get([nap.remote(0) for _ in range(20)])
        return time.monotonic() - start, skate.get(long)[1]

    assert skate.get(parent.remote(nap))[0] < SOON_S
