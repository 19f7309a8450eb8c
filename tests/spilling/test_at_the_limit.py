"""Producers and readers at the store's limit, for as long as one likes: memory stays as it is."""

import os
import time
from pathlib import Path

import numpy as np

MB = 1_000_000
SECONDS = float(os.environ.get("SKATE_SOAK_SECONDS", "4"))


def own_bytes():
    """Memory of this process alone."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("RssAnon:")[2].split(maxsplit=1)[0])


def test_memory_is_constant_at_the_limit(small, at_rest):
    """Three times the store in refs, read and replaced at random; tasks make and read more."""

    @small.remote
    def sum_of(array, more):
        return int(array[0]) + sum(int(each[0]) for each in small.get(more))

    @small.remote
    def produce(number):
        for _ in range(4):
            yield np.full(MB // 2, number)

    dice = np.random.default_rng(1)
    refs = [small.put(np.full(MB // 2, k)) for k in range(60)]
    numbers = list(range(60))
    deadline = time.monotonic() + SECONDS
    seen, rounds = [], 0
    while time.monotonic() < deadline or rounds < 10:
        picks = [int(k) for k in dice.integers(60, size=6)]
        call = sum_of.remote(refs[picks[0]], [refs[k] for k in picks[1:3]])
        stream = produce.remote(rounds)
        assert small.get(call) == sum(numbers[k] for k in picks[:3])
        for ref in stream:
            assert small.get(ref)[-1] == rounds
        for k in picks[3:]:
            assert small.get(refs[k])[-1] == numbers[k]
            numbers[k] = rounds
            refs[k] = small.put(np.full(MB // 2, rounds))
        rounds += 1
        statistics = small.statistics()
        seen.append((own_bytes(), statistics.resident_bytes, statistics.disk_resident_bytes))
    half = seen[len(seen) // 2 :]
    private, store, disk = (max(row[which] for row in half) for which in range(3))
    assert private <= min(row[0] for row in seen) + 60 * MB
    assert store <= 80 * MB + (2 << 20)
    # Every value once, what is on its way, and what the streams leave for a moment.
    assert disk <= 400 * MB
    del refs, call, stream, ref
    statistics = at_rest(small)
    assert statistics.disk_bytes == statistics.spilled_objects == statistics.pins == 0
