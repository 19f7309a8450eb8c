"""Who is woken for a result: whoever waits for it, and otherwise nobody before the next tick.

Each wake-up of the driver's background thread used to cost a round trip a second and a third hop:
it took the lead in the place of the thread that was about to ask.
"""

import contextlib
from pathlib import Path

import pytest
from programs import wait_until

TRIPS = 1_000


def pump_wakeups() -> int:
    """How often the driver's background thread has gone to sleep."""
    for status in Path("/proc/self/task").glob("*/status"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
            if lines["Name"] == "skate-pump":
                return int(lines["voluntary_ctxt_switches"])
    pytest.fail("the driver has no background thread")


def test_round_trips_leave_the_background_thread_asleep(skate):
    @skate.remote
    def nothing():
        return None

    skate.get([nothing.remote() for _ in range(100)])
    before = pump_wakeups()
    for _ in range(TRIPS):
        skate.get(nothing.remote())
    assert pump_wakeups() - before < TRIPS / 10


def running_tasks() -> list[str]:
    """Names of the tasks that run, as far as the node has heard: asking makes it read nothing."""
    from skate import _session

    rows = _session.connect().describe_workers()
    return [row["task_name"] for row in rows if row["state"] == "RUNNING"]


def test_result_that_nobody_waits_for_is_read_within_ticks(skate, gate):
    @skate.remote
    def passes_the_gate():
        gate.read_bytes()

    ref = passes_the_gate.remote()
    wait_until(lambda: running_tasks() == ["passes_the_gate"])
    gate.write_bytes(b"")
    wait_until(lambda: running_tasks() == [])
    assert skate.wait([ref], timeout=0) == ([ref], [])
