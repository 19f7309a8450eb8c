"""A worker that scribbles over what it shares with the driver ends as a dead worker.

Its own control segment has its two rings, its bell and its claim slots; the hub has the bell and
the hints that all share. The bytes come from seeds.
"""

import contextlib
import os
import signal
import time

import pytest

SEEDS = range(12)
PATIENCE_S = 30


@pytest.fixture(scope="module")
def skate():
    import skate as module

    module.init(num_cpus=2)
    yield module
    module.shutdown()


def make_scribble(skate):
    @skate.remote(max_retries=0)
    def scribble(name, seed, kind):
        import ctypes
        import random
        from pathlib import Path

        rng = random.Random(seed)
        lines = Path("/proc/self/maps").read_text().splitlines()
        [place] = [line.split()[0] for line in lines if f"memfd:skate-{name}" in line]
        start, end = (int(part, 16) for part in place.split("-"))
        size = end - start
        if kind == "everything":
            ctypes.memmove(start, rng.randbytes(size), size)
        elif kind == "zeros":
            ctypes.memset(start, 0, size)
        elif kind == "ones":
            ctypes.memset(start, 0xFF, size)
        else:
            for _ in range(200):  # its words come first
                reach = rng.choice([4096, 65536, size]) - 8
                ctypes.memmove(start + rng.randrange(min(reach, size - 8)), rng.randbytes(8), 8)
        return "went on"

    return scribble


def is_settled(skate):
    now = skate.statistics()
    return now.tasks == now.objects == now.requests == now.pins == 0


def check_that_others_go_on(skate):
    @skate.remote
    def square(x):
        return x * x

    @skate.remote
    def count(n):
        yield from range(n)

    assert skate.get([square.remote(k) for k in range(50)], timeout=PATIENCE_S) == [
        k * k for k in range(50)
    ]
    assert skate.get(list(count.remote(20)), timeout=PATIENCE_S) == list(range(20))
    assert skate.get(skate.put(b"x" * 1_000_000)) == b"x" * 1_000_000


@pytest.mark.parametrize("kind", ["everything", "words", "zeros", "ones"])
def test_worker_that_scribbles_over_its_rings_harms_nobody_else(skate, kind):
    scribble = make_scribble(skate)
    for seed in SEEDS:
        ref = scribble.remote("control", seed, kind)
        if skate.wait([ref], timeout=PATIENCE_S)[0]:
            # It may have hit nothing that matters.
            with contextlib.suppress(skate.exceptions.WorkerCrashedError):
                assert skate.get(ref) == "went on"
        else:  # its result never came, and its worker waits for what never comes
            skate.cancel(ref, force=True)
            with pytest.raises(skate.exceptions.TaskCancelledError):
                skate.get(ref, timeout=PATIENCE_S)
        del ref
        check_that_others_go_on(skate)
    deadline = time.monotonic() + PATIENCE_S
    while not is_settled(skate) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_settled(skate), dict(skate.statistics())


@pytest.mark.parametrize("kind", ["everything", "zeros", "ones"])
def test_hub_is_harmless_at_any_value(skate, kind):
    scribble = make_scribble(skate)
    for seed in SEEDS:
        assert skate.get(scribble.remote("hub", seed, kind), timeout=PATIENCE_S) == "went on"
        check_that_others_go_on(skate)


@pytest.mark.parametrize("kind", ["everything", "zeros", "ones"])
def test_workers_start_whatever_another_wrote_into_the_hub(skate, kind):
    @skate.remote(max_retries=0)
    def leave():
        os._exit(1)

    assert skate.get(make_scribble(skate).remote("hub", 0, kind), timeout=PATIENCE_S) == "went on"
    for _ in range(4):  # more than there are
        with pytest.raises(skate.exceptions.WorkerCrashedError, match="exit code 1"):
            skate.get(leave.remote(), timeout=PATIENCE_S)
    check_that_others_go_on(skate)


@pytest.mark.parametrize("status", ["SIGKILL), ", ""])
def test_error_says_that_skate_killed_the_worker_and_why(skate, status):
    """Although the zygote, which is stopped in the second round, does not say how it ended."""

    @skate.remote
    def zygote():
        return os.getppid()

    @skate.remote(max_retries=0)
    def talks_nonsense():
        import ctypes
        import threading
        from pathlib import Path

        lines = Path("/proc/self/maps").read_text().splitlines()
        [place] = [line.split()[0] for line in lines if "memfd:skate-control" in line]
        end = int(place.split("-")[1], 16)
        ring = 256 << 10  # what it tells the driver lies at the end

        def scribble():
            while True:
                ctypes.memset(end - ring, 0xFF, ring)

        threading.Thread(target=scribble, daemon=True).start()
        while True:
            skate.put(0)

    pid = skate.get(zygote.remote(), timeout=PATIENCE_S)
    if not status:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(skate.exceptions.WorkerCrashedError) as caught:
            skate.get(talks_nonsense.remote(), timeout=PATIENCE_S)
    finally:
        os.kill(pid, signal.SIGCONT)
    text = str(caught.value)
    assert f"{status}ended by skate: it wrote what is no message" in text
    assert "outside" not in text
