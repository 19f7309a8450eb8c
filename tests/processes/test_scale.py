"""Many at once, large, and deep: right, and nothing is left; times are recorded."""

import time
from pathlib import Path

import numpy as np
import pytest
from programs import at_rest, wait_until


@pytest.fixture(scope="module")
def session():
    import skate

    skate.init(num_cpus=2)
    yield skate
    skate.shutdown()


@pytest.fixture
def skate(session, record_property):
    began = time.perf_counter()
    yield session
    record_property("seconds", round(time.perf_counter() - began, 3))
    wait_until(lambda: at_rest(session), session.statistics)


def test_thousand_tasks(skate):
    @skate.remote
    def square(x):
        return x * x

    refs = [square.remote(k) for k in range(1000)]
    assert [skate.get(ref) for ref in refs] == [k * k for k in range(1000)]


def test_hundred_thousand_yields_each_got(skate):
    @skate.remote
    def items():
        yield from range(100_000)

    for expected, ref in enumerate(items.remote()):
        assert skate.get(ref) == expected
    assert expected == 99_999


def test_array_of_a_gigabyte_put_and_got(skate):
    array = np.arange(1 << 27)
    ref = skate.put(array)
    view = skate.get(ref)
    assert view.nbytes == 1 << 30
    assert not view.flags.writeable
    assert np.array_equal(view, array)


def test_array_of_a_gigabyte_passed_and_returned(skate):
    @skate.remote
    def add(array):
        return array + 1

    view = skate.get(add.remote(skate.put(np.arange(1 << 27))))
    assert view[0] == 1
    assert view[-1] == 1 << 27
    assert view.sum() == (1 << 27) * ((1 << 27) + 1) // 2


def test_thirty_nested_gets_on_two_cpus(skate):
    @skate.remote
    def deep(n):
        return skate.get(deep.remote(n - 1)) + 1 if n else 0

    assert skate.get(deep.remote(30)) == 30


def test_ten_thousand_refs_in_one_get_and_one_wait(skate):
    refs = [skate.put(k) for k in range(10_000)]
    assert skate.get(refs) == list(range(10_000))
    assert skate.wait(refs, num_returns=10_000) == (refs, [])
    tasks = [skate.remote(lambda x: x).remote(k) for k in range(100)]
    ready, rest = skate.wait(refs + tasks, num_returns=10_100)
    assert (ready, rest) == (refs + tasks, [])


def test_hundred_thousand_pending_tasks(skate, gates):
    go = [gates("one"), gates("two")]

    @skate.remote
    def wait(gate):
        return gate.read_bytes()

    @skate.remote
    def same(x):
        return x

    held = [wait.remote(gate) for gate in go]
    refs = [same.remote(k) for k in range(100_000)]
    assert skate.statistics().tasks >= 100_000
    for gate in go:
        gate.write_bytes(b"")
    assert skate.get(refs) == list(range(100_000))
    assert skate.get(held) == [b"", b""]


def own_bytes():
    """Memory that is this process's alone: not the store."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split(maxsplit=1)[0])


def test_memory_of_a_hundred_thousand_tasks_goes_back(skate, gates):
    """Tables that never shrink, and holes between what stays, kept all of it: 800 B a task."""
    gate = gates("memory")

    @skate.remote(num_cpus=2)
    def first():
        return gate.read_bytes()

    @skate.remote
    def task(_):
        return None

    refs = [first.remote()]
    before = own_bytes()
    refs += [task.remote(k) for k in range(100_000)]
    taken = own_bytes() - before
    gate.write_bytes(b"")
    skate.get(refs)
    del refs
    wait_until(lambda: own_bytes() - before < taken / 3, own_bytes)


def test_ten_thousand_ref_arguments(skate):
    @skate.remote
    def total(*numbers):
        return sum(numbers)

    refs = [skate.put(k) for k in range(10_000)]
    assert skate.get(total.remote(*refs)) == sum(range(10_000))


def test_three_thousand_returns(skate):
    @skate.remote(num_returns=3000)
    def many():
        return tuple(range(3000))

    assert skate.get(many.remote()) == list(range(3000))


def test_three_thousand_static_yields(skate):
    @skate.remote(num_returns=3000)
    def many():
        yield from range(3000)

    assert skate.get(many.remote()) == list(range(3000))
