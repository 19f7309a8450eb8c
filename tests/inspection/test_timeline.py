"""5.8: `timeline` gives a trace that the trace-event format allows, and that tells what was."""

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
    found = [event for event in events if event["ph"] == "X"]
    assert {each["pid"] for each in found} <= named(events, "process_name")
    assert {each["tid"] for each in found} <= named(events, "thread_name", key="tid")
    processes = defaultdict(set)
    for event in events:
        processes[event["tid"]].add(event["pid"])
    assert all(len(pids) == 1 for pids in processes.values()), "a row of several processes"
    replay(events)
    return events


def named(events, kind, key="pid"):
    return {event[key] for event in events if event["name"] == kind}


def ns(us):
    """As Perfetto's importer of JSON takes a time."""
    return round(us * 1000)


def end_ns(event):
    return ns(event["ts"]) + ns(event["dur"])


def replay(events):
    """The slices at both ends of each arrow, by the rules of Perfetto's importer.

    It takes events by their time in ns, and as they stand in the file where times are equal. A
    slice lies within the one of its row that is open; an arrow belongs to the one that began last.
    """
    rows, starts, arrows = defaultdict(list), {}, []
    timed = [event for event in events if event["ph"] in "Xsf"]
    for event in sorted(timed, key=lambda event: ns(event["ts"])):
        at, row = ns(event["ts"]), rows[event["tid"]]
        if event["ph"] == "X":
            while row and row[-1][0] <= at:
                row.pop()
            end = end_ns(event)
            assert not row or end <= row[-1][0], "slices overlap and are not nested"
            row.append((end, event))
            continue
        assert row, "an arrow begins or ends beside every slice"
        end, innermost = row[-1]
        assert at <= end, "an arrow begins or ends after its slice"
        if event["ph"] == "s":
            assert event["id"] not in starts
            starts[event["id"]] = innermost
        else:
            arrows.append((starts.pop(event["id"]), innermost))
    assert not starts, "an arrow without an end"
    return arrows


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
        row, each = state.get_task(ref.task_id()), found[ref.task_id().hex()]
        assert each["pid"] == pid
        assert each["dur"] >= 20_000
        assert each["args"]["state"] == "FINISHED"
        # Python saw the time after the slice began, and rested for 20 ms before it ended.
        assert row.start_time_ms - CLOCKS_MS <= began * 1000
        assert began * 1000 + 20 <= row.end_time_ms + CLOCKS_MS
        apart_ms = (each["ts"] - found[refs[0].task_id().hex()]["ts"]) / 1000
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
        assert ns(task["ts"]) <= ns(item["ts"]) <= end_ns(task)
    ends = [end_ns(item) for item in items]
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
    edges = [(start["name"], end["name"]) for start, end in replay(trace())]
    assert sorted(edge for edge in edges if edge[1] in {"middle", "sink"}) == [
        *[("middle", "sink")] * 3,
        *[(f"source[{index}]", "middle") for index in range(3)],
    ]


def test_an_arrow_to_a_generator_ends_at_its_task_and_not_at_its_first_item(skate, trace):
    @skate.remote
    def one():
        return 1

    @skate.remote
    def repeated(x):
        yield from [x] * 3

    assert len(list(repeated.remote(one.remote()))) == 3
    ends = [end["name"] for start, end in replay(trace()) if start["name"] == "one"]
    assert ends == ["repeated"]


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
        def __init__(self):
            import asyncio

            self.begun, self.all_have = 0, asyncio.Event()

        async def meet(self, count):
            self.begun += 1
            if self.begun == count:
                self.all_have.set()
            await self.all_have.wait()

    loop = Loop.remote()
    skate.get([loop.meet.remote(5) for _ in range(5)])
    calls = slices(trace(), "Loop.meet")
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
    assert end_ns(load) <= end_ns(task)
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


def test_numbers_that_json_has_not_are_texts(skate, trace):
    # Viewers refused the whole file.
    with skate.profiling.profile("odd", {"loss": [float("nan"), float("-inf"), 1.0]}):
        pass
    [odd] = slices(trace(), "odd")
    assert odd["args"]["extra"] == {"loss": ["NaN", "-Infinity", 1.0]}


def test_span_of_a_name_that_is_no_utf_8(skate, trace):
    # What its end raised took the place of what the block had raised.
    with pytest.raises(KeyError), skate.profiling.profile("half a \ud800"):
        raise KeyError
    assert len(slices(trace(), r"half a \ud800")) == 1


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
