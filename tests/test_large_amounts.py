"""Resources of hundreds of gigabytes count as what they are.

Amounts above 112,589,990,684 were cut to that, without a word.
"""

import pytest

GB = 10**9


def test_memory_of_many_tasks_fits_a_large_machine(fresh, gates):
    fresh.init(num_cpus=4, _memory=500 * GB, resources={"big": 10**12})
    resources = fresh.cluster_resources()
    assert resources["memory"] == 500 * GB
    assert resources["big"] == 10**12
    started = [gates(f"started{number}") for number in range(2)]
    go_on = [gates(f"go_on{number}") for number in range(2)]

    @fresh.remote(memory=100 * GB, num_cpus=0)
    def work(number):
        started[number].write_bytes(b"")
        go_on[number].read_bytes()

    refs = [work.remote(number) for number in range(2)]
    for gate in started:  # both run at once
        gate.read_bytes()
    assert fresh.available_resources()["memory"] == 300 * GB
    for gate in go_on:
        gate.write_bytes(b"")
    fresh.get(refs)


def test_more_than_can_be_counted_is_refused(fresh):
    with pytest.raises(ValueError, match="init: _memory is 1000000000000000000, but must be from"):
        fresh.init(num_cpus=1, _memory=10**18)
    with pytest.raises(ValueError, match=r"resource big is \d+, but must be from 0"):
        fresh.init(num_cpus=1, resources={"big": 10**18})
