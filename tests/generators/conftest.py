"""Each test about generators leaves nothing behind: the gauges of the node return to zero.

`SKATE_TEST_ENGINE=local` runs them against skate in one process.
"""

import gc
import time

import pytest

PASSED = pytest.StashKey[bool]()
PATIENCE_S = 20
LEASE_BYTES = 1 << 20  # a worker keeps one such piece for its small blocks


def eventually(condition):
    """Waits until the condition holds; the test's own timeout ends it if that never happens."""
    while not condition():
        time.sleep(0.001)


def is_clean(skate):
    gc.collect()
    now = skate.statistics()
    kept = now.tasks + now.objects + now.streams + now.requests + now.pins
    handles = now.driver_handles + now.worker_handles
    return kept == handles == 0 and now.used_bytes <= now.leases * LEASE_BYTES


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.stash[PASSED] = report.passed
    return report


@pytest.fixture(autouse=True)
def leaves_nothing(request, skate):
    """Checked when the test's own frame is gone, with its refs; a traceback would keep them."""
    yield
    if request.node.stash.get(PASSED, False):
        deadline = time.monotonic() + PATIENCE_S
        eventually(lambda: is_clean(skate) or time.monotonic() > deadline)
        assert is_clean(skate), dict(skate.statistics())


@pytest.fixture(name="eventually")
def eventually_fixture():
    return eventually


@pytest.fixture(name="is_clean")
def is_clean_fixture():
    return is_clean
