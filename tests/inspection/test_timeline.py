"""5.8: `timeline` gives a trace that the trace-event format allows, and that tells what was."""

import itertools
import json
import os
import signal
import time
from collections import defaultdict

import pytest

from skate.util import state

pytestmark = pytest.mark.processes("local_mode records nothing")

REQUIRED = {
    "X": {"name": str, "cat": str, "ts": float, "dur": float, "pid": int, "tid": int},
    "M": {"name": str, "pid": int, "tid": int, "args": dict},
    "s": {"name": str, "cat": str, "ts": float, "pid": int, "tid": int, "id": int},
    "f": {"name": str, "cat": str, "ts": float, "pid": int, "tid": int, "id": int, "bp": str},
    "i": {"name": str, "ts": float, "pid": int, "tid": int, "s": str},
}
"""Keys of the trace-event format for each phase that is used here, with their types."""


def check(events):
    """What the trace-event format asks for, and what viewers rely on."""
    json.dumps(events, allow_nan=False)
    for event in events:
        for key, kind in REQUIRED[event["ph"]].items():
            assert isinstance(event[key], kind), (key, event)
        assert event.get("ts", 0) >= 0
        assert event.get("dur", 0) >= 0
    rows = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            rows[event["pid"], event["tid"]].append(event)
    for slices in rows.values():
        open_until = []
        for each in sorted(slices, key=lambda each: (each["ts"], -each["dur"])):
            while open_until and open_until[-1] <= each["ts"]:
                open_until.pop()
            end = each["ts"] + each["dur"]
            assert not open_until or end <= open_until[-1] + 0.5, (
                "slices overlap and are not nested"
            )
            open_until.append(end)
    named = {event["pid"] for event in events if event["name"] == "process_name"}
    assert {pid for pid, _ in rows} <= named
    starts = {event["id"]: event for event in events if event["ph"] == "s"}
    ends = {event["id"]: event for event in events if event["ph"] == "f"}
    assert starts.keys() == ends.keys()
    for number, start in starts.items():
        assert start["ts"] <= ends[number]["ts"], "an arrow goes back in time"
        for event in (start, ends[number]):
            around = rows[event["pid"], event["tid"]]
            assert any(
                each["ts"] - 0.5 <= event["ts"] <= each["ts"] + each["dur"] + 0.5 for each in around
            ), "an arrow begins or ends beside every slice"
    return events


def slices(events, name):
    found = [event for event in events if event["ph"] == "X" and event["name"] == name]
    return sorted(found, key=lambda event: event["ts"])


CLOCKS_MS = 0.5
"""The clock since 1970 and that of all processes may move apart by so much in a test."""


@pytest.fixture
def trace(skate):
    return lambda: check(skate.timeline())


def test_slice_lies_where_and_when_the_task_ran(skate, trace):
    @skate.remote
    def placed():
        began = time.time()
        time.sleep(0.02)
        return os.getpid(), began

    refs = [placed.remote() for _ in range(6)]
    told = skate.get(refs)
    found = {each["args"]["task_id"]: each for each in slices(trace(), "placed")}
    first = state.get_task(refs[0].task_id())
    for ref, (pid, began) in zip(refs, told, strict=True):
        row, each = state.get_task(ref.task_id()), found[ref.task_id()]
        assert each["pid"] == pid
        assert each["dur"] >= 20_000
        assert each["args"]["state"] == "FINISHED"
        # Python saw the time after the slice began, and rested for 20 ms before it ended.
        assert row.start_time_ms - CLOCKS_MS <= began * 1000
        assert began * 1000 + 20 <= row.end_time_ms + CLOCKS_MS
        apart_ms = (each["ts"] - found[refs[0].task_id()]["ts"]) / 1000
        assert apart_ms == pytest.approx(row.start_time_ms - first.start_time_ms, abs=0.01)


def test_each_item_of_a_generator_is_a_slice_within_its_task(skate, trace):
    @skate.remote
    def counting(n):
        yield from range(n)

    refs = list(counting.remote(5))
    skate.get(refs)
    events = trace()
    [task] = slices(events, "counting")
    items = [slices(events, f"counting[{index}]")[0] for index in range(5)]
    assert [item["args"]["object_id"] for item in items] == [ref.hex() for ref in refs]
    for item in items:
        assert (item["pid"], item["tid"]) == (task["pid"], task["tid"])
        assert task["ts"] <= item["ts"] <= task["ts"] + task["dur"]
    ends = [item["ts"] + item["dur"] for item in items]
    assert ends == sorted(ends)


def test_arrows_lead_from_producers_to_consumers(skate, trace):
    @skate.remote
    def source(n):
        yield from range(n)

    @skate.remote
    def middle(x):
        return x + 1

    @skate.remote
    def sink(x):
        return x

    middles = [middle.remote(ref) for ref in source.remote(3)]
    assert skate.get([sink.remote(ref) for ref in middles]) == [1, 2, 3]
    events = trace()
    starts = {event["id"]: event for event in events if event["ph"] == "s"}
    edges = set()
    for end in (event for event in events if event["ph"] == "f"):
        start = starts[end["id"]]

        def at(event):
            around = [
                each for each in events
                if each["ph"] == "X" and (each["pid"], each["tid"]) == (event["pid"], event["tid"])
                and each["ts"] - 0.5 <= event["ts"] <= each["ts"] + each["dur"] + 0.5
            ]  # fmt: skip
            return {each["name"] for each in around}

        edges |= set(itertools.product(at(start), at(end)))
    assert {(f"source[{index}]", "middle") for index in range(3)} <= edges
    assert ("middle", "sink") in edges


def test_failed_attempts_and_running_tasks_are_slices_too(skate, trace, gate, attempts, until):
    @skate.remote(max_retries=1)
    def crashing():
        with attempts.open("ab") as file:
            file.write(b".")
        if attempts.stat().st_size == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    @skate.remote
    def endless(path):
        path.read_bytes()

    skate.get(crashing.remote())
    ref = endless.remote(gate)
    [running] = until(lambda: slices(trace(), "endless"))
    assert running["args"]["state"] == "RUNNING"
    assert slices(trace(), "crashing")[-1]["args"]["state"] == "FINISHED"
    gate.write_bytes(b"")
    skate.get(ref)
    assert slices(trace(), "endless")[0]["args"]["state"] == "FINISHED"


def test_calls_that_run_at_once_have_rows_of_their_own(skate, trace):
    @skate.remote
    class Loop:
        async def rest(self, s):
            import asyncio

            await asyncio.sleep(s)

    loop = Loop.remote()
    skate.get([loop.rest.remote(0.05) for _ in range(5)])
    calls = slices(trace(), "Loop.rest")
    assert len(calls) == 5
    assert len({call["tid"] for call in calls}) == 5


def test_named_spans_are_slices_of_their_process(skate, trace):
    @skate.remote
    def loading():
        with skate.profiling.profile("load", {"rows": 3}), skate.profiling.profile("parse"):
            time.sleep(0.01)
        return os.getpid()

    pid = skate.get(loading.remote())
    with skate.profiling.profile("waiting"):
        time.sleep(0.001)
    events = trace()
    [load], [parse], [waiting] = (slices(events, name) for name in ("load", "parse", "waiting"))
    assert load["args"]["extra"] == {"rows": 3}
    assert (load["pid"], waiting["pid"]) == (pid, os.getpid())
    [task] = slices(events, "loading")
    assert task["ts"] <= load["ts"] <= parse["ts"]
    assert load["ts"] + load["dur"] <= task["ts"] + task["dur"]
    assert parse["dur"] >= 10_000


def test_spans_of_threads_that_overlap_lie_in_rows_of_their_own(skate, trace):
    """The first ends while the second is open: neither is within the other."""
    first, second = skate.profiling.profile("first"), skate.profiling.profile("second")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    events = trace()
    assert slices(events, "first")[0]["tid"] != slices(events, "second")[0]["tid"]


def test_span_of_a_block_that_raises_is_there_and_the_exception_goes_on(skate, trace):
    with pytest.raises(KeyError), skate.profiling.profile("failing"):
        raise KeyError
    assert len(slices(trace(), "failing")) == 1
    with pytest.raises(TypeError, match="not JSON serializable"):
        skate.profiling.profile("bad", object())


def test_span_without_a_session_is_nothing(fresh):
    with fresh.profiling.profile("alone"):
        pass
    assert not fresh.is_initialized()


def test_file_is_what_viewers_read(skate, tmp_path):
    @skate.remote
    def one():
        return 1

    skate.get(one.remote())
    path = tmp_path / "trace.json"
    assert skate.timeline(str(path)) is None
    trace = json.loads(path.read_text())
    check(trace["traceEvents"])
    assert trace["otherData"] == {"dropped": {"attempts": 0, "yields": 0, "spans": 0}}
    with pytest.raises(FileNotFoundError):
        skate.timeline(str(tmp_path / "no" / "trace.json"))


def test_what_was_forgotten_is_counted_and_said(fresh):
    fresh.init(num_cpus=2)

    @fresh.remote
    def nothing():
        pass

    fresh.get([nothing.remote() for _ in range(8_692)])
    events = check(fresh.timeline())
    [note] = [event for event in events if event["ph"] == "i"]
    assert note["name"] == "not shown: 500 earlier attempts, 0 earlier yields, 0 earlier spans"
    assert len(slices(events, "nothing")) == 8_192
