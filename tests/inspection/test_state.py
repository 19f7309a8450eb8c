"""5.9, S7, S9: the state API lists what there is, exactly, and refuses what it cannot answer."""

import os
import signal
import threading
import time
from itertools import pairwise

import pytest

from skate.util import state


def states(*refs):
    return [state.get_task(ref.task_id()).state for ref in refs]


def test_a_task_is_seen_in_each_state(skate, f, held, until):
    until(lambda: states(held) == ["RUNNING"])
    done, dependent = f.remote(1), f.remote(held)
    skate.get(done)
    never = f.options(resources={"mars": 1}).remote()
    assert states(done, dependent) == ["FINISHED", "PENDING_ARGS_AVAIL"]
    assert states(never) == ["PENDING_NODE_ASSIGNMENT"]
    skate.cancel(never)


def test_failed_task_says_why(skate):
    @skate.remote(max_retries=0)
    def fail(how):
        if how == "exit":
            os._exit(3)
        raise ValueError(how)

    raised, crashed = fail.remote("x"), fail.remote("exit")
    skate.wait([raised, crashed], num_returns=2)
    rows = [state.get_task(ref.task_id()) for ref in (raised, crashed)]
    assert [row.state for row in rows] == ["FAILED", "FAILED"]
    assert [row.error_type for row in rows] == ["TASK_EXECUTION_EXCEPTION", "WORKER_DIED"]
    assert "exit code 3" in rows[1].error_message


def test_each_attempt_of_a_task_is_a_row(skate, attempts):
    @skate.remote(max_retries=2, retry_exceptions=True)
    def flaky():
        with attempts.open("ab") as file:
            file.write(b".")
        if attempts.stat().st_size < 3:
            raise ValueError

    ref = flaky.remote()
    skate.get(ref)
    rows = state.get_task(ref.task_id())
    assert [row.attempt_number for row in rows] == [0, 1, 2]
    assert [row.state for row in rows] == ["FAILED", "FAILED", "FINISHED"]


def test_times_of_a_task_are_those_of_its_life(skate):
    @skate.remote
    def now():
        return time.time()

    before = time.time()
    ref = now.remote()
    within = skate.get(ref)
    row = state.get_task(ref.task_id())
    times = [before, row.creation_time_ms / 1e3, row.start_time_ms / 1e3, within]
    times += [row.end_time_ms / 1e3, time.time()]
    # A submission has the time of the node, which is at most 10 ms old; the rest is exact.
    assert times[1] - times[0] > -0.02
    assert all(later - sooner > -0.0005 for sooner, later in pairwise([times[0], *times[2:]]))
    assert times[2] >= times[1]


def test_rows_have_attributes_and_items(skate, f):
    ref = f.remote()
    skate.get(ref)
    row = state.get_task(ref.task_id())
    assert row["name"] == row.name == dict(row)["name"] == "f"
    assert row.asdict()["job_id"] == skate.get_runtime_context().get_job_id()
    assert row.node_id == skate.get_runtime_context().get_node_id()
    with pytest.raises(KeyError):
        row["colour"]
    with pytest.raises(AttributeError):
        row.name = "g"


def test_details_come_when_they_are_asked_for(skate, f):
    skate.get(f.remote())
    assert state.list_tasks(limit=1)[0].required_resources is None
    assert state.list_tasks(limit=1, detail=True)[0].required_resources == {"CPU": 1}


def test_filters_choose(skate, f):
    refs = [f.options(name="odd" if k % 2 else "even").remote(k) for k in range(6)]
    skate.get(refs)
    odd = state.list_tasks(filters=[("name", "=", "odd"), ("state", "=", "finished")])
    assert {row.task_id for row in odd} == {ref.task_id().hex() for ref in refs[1::2]}
    assert state.list_tasks(filters=[("name", "!=", "odd"), ("name", "=", "odd")]) == []
    pid = odd[0].worker_pid
    assert {row.worker_pid for row in state.list_tasks(filters=[("worker_pid", "=", pid)])} == {pid}
    assert state.list_tasks(filters=[("node_id", "=", "elsewhere")]) == []
    assert state.list_tasks(filters=[("job_id", "!=", "elsewhere")])


def test_limit_bounds_the_rows_and_total_counts_all(skate, f):
    skate.get([f.remote() for _ in range(150)])
    rows = state.list_tasks()
    assert len(rows) == 100
    assert rows.total >= 150
    assert len(state.list_tasks(limit=3)) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"filters": [("stat", "=", "RUNNING")]},
            r"no column 'stat'.*did you mean 'state'.*task_id",
        ),
        ({"filters": [("state", "<", "RUNNING")]}, r"filter on 'state' is '<', but must be \"=\""),
        (
            {"filters": ("state", "=", "RUNNING")},
            r"a filter is 'state', but filters must be a list",
        ),
        ({"filters": "state=RUNNING"}, r"filters is 'state=RUNNING', but must be a list"),
        ({"filters": [("worker_pid", "=", "x")]}, r"'worker_pid' compares with 'x', but must with"),
        ({"filters": [("state", "=", 3)]}, r"filter on 'state' compares with 3, but must with str"),
        ({"filters": [("arguments", "=", [])]}, r"rows cannot be chosen by 'arguments'"),
        ({"limit": 0}, r"limit is 0, but must be a whole number from 1"),
        ({"limit": "many"}, r"limit is 'many', but must be a whole number"),
    ],
)
def test_bad_question_is_told_what_is_wrong(skate, arguments, said):
    with pytest.raises(ValueError, match=f"list_tasks: .*{said}"):
        state.list_tasks(**arguments)


def test_id_that_is_not_there_gives_none(skate):
    assert state.get_task("00" * 24) is None
    assert state.get_actor("nobody") is None
    assert state.get_objects("nothing") == []
    with pytest.raises(ValueError, match="get_task: id is 3, but must be a str of hex digits"):
        state.get_task(3)


def test_actors_are_listed_from_their_creation_to_after_their_end(skate, gate, until):
    @skate.remote
    class Counter:
        def __init__(self, path=None):
            if path:
                path.read_bytes()

        def pid(self):
            return os.getpid()

    counter = Counter.options(name="counter").remote(gate)
    actor = counter._actor_id.hex()
    assert state.get_actor(actor).state == "PENDING_CREATION"
    gate.write_bytes(b"")
    pid = skate.get(counter.pid.remote())
    row = state.get_actor(actor)
    assert (row.state, row.name, row.class_name) == ("ALIVE", "counter", "Counter")
    assert row.pid == pid
    skate.kill(counter)
    row = until(
        lambda: state.list_actors(filters=[("actor_id", "=", actor), ("state", "=", "dead")])
    )[0]
    assert row.death_cause == "it was killed"
    del counter
    assert until(lambda: state.get_actor(actor).num_handles == 0)
    assert state.get_actor(actor).state == "DEAD"


def test_restarting_actor_is_restarting(skate, until, gate):
    @skate.remote(max_restarts=1)
    class Phoenix:
        def __init__(self, path):
            if skate.get_runtime_context().was_current_actor_reconstructed:
                path.read_bytes()

        def pid(self):
            return os.getpid()

    phoenix = Phoenix.remote(gate)
    os.kill(skate.get(phoenix.pid.remote()), signal.SIGKILL)
    until(lambda: state.get_actor(phoenix._actor_id.hex()).state == "RESTARTING")
    gate.write_bytes(b"")
    skate.get(phoenix.pid.remote())
    row = state.get_actor(phoenix._actor_id.hex())
    assert (row.state, row.num_restarts) == ("ALIVE", 1)


def test_object_says_where_it_is_and_who_holds_and_pins_it(skate, f, held):
    import numpy as np

    big = skate.put(np.zeros(1 << 20))
    [row] = state.get_objects(big.hex())
    assert (row.state, row.place, row.pinned_by) == ("READY", "STORE", [])
    assert row.object_size > 8 << 20
    view = skate.get(big)
    waiting = f.remote([big])
    skate.get(waiting)
    dependent = f.options(resources={"mars": 1}).remote(big)
    outer = skate.put([big])
    [row] = state.get_objects(big.hex())
    assert row.pinned_by == [os.getpid()]
    kinds = {holder["kind"]: holder for holder in row.held_by}
    assert {"REF", "VIEW", "ARGUMENT", "CONTAINED"} <= set(kinds)
    assert kinds["ARGUMENT"]["by"] == dependent.task_id().hex()
    assert kinds["CONTAINED"]["by"] in {outer.hex(), waiting.hex()}
    assert view.sum() == 0
    del view
    assert state.get_objects(big.hex())[0].pinned_by == []
    assert state.get_objects(held.hex())[0].state == "PENDING"
    skate.cancel(dependent)


def test_a_hundred_keepers_are_named_and_the_others_counted(skate, f):
    """An object may be the argument of a million tasks: who lists it is not told of each."""
    never = f.options(resources={"mars": 1})
    shared = skate.put(1)
    refs = [never.remote(shared) for _ in range(150)]
    [row] = state.get_objects(shared.hex())
    assert len(row.held_by) == 101
    assert row.held_by[-1]["kind"] == "OTHERS"
    assert sum(holder["count"] for holder in row.held_by) == row.num_holders == 151
    for ref in refs:
        skate.cancel(ref)


def test_view_in_a_worker_pins_with_its_pid(skate, gates, until):
    import numpy as np

    opened, closing = gates("opened"), gates("closing")

    @skate.remote
    def look(array, opened, closing):
        opened.write_text(str(os.getpid()))
        closing.read_bytes()
        return array.sum()

    big = skate.put(np.ones(1 << 17))
    time.sleep(0.2)  # the workers have nothing left to say, and do not look for it
    ref = look.remote(big, opened, closing)
    pid = int(opened.read_text())
    # A worker tells of its views within a tick, although it has nothing else to say.
    until(lambda: state.get_objects(big.hex())[0].pinned_by == [pid])
    closing.write_bytes(b"")
    assert skate.get(ref) == 1 << 17


def test_objects_are_listed_largest_first(skate, until):
    refs = [skate.put(b"x" * size) for size in (10, 1_000_000, 100_000)]
    sizes = [row.object_size for row in state.list_objects()]
    assert sizes == sorted(sizes, reverse=True)
    # Those of the tests before go when their workers have told of it.
    until(lambda: state.list_objects(limit=1)[0].object_id == refs[1].hex())


def test_workers_are_listed_with_the_driver(skate, held, until):
    until(lambda: states(held) == ["RUNNING"])
    rows = state.list_workers(detail=True)
    assert (rows[0].worker_type, rows[0].pid) == ("DRIVER", os.getpid())
    [busy] = [row for row in rows if row.task_name == "held"]
    assert (busy.state, busy.num_running, busy.resources) == ("RUNNING", 1, {"CPU": 1})
    assert state.get_worker(busy.worker_id).pid == busy.pid


def test_stream_shows_its_buffer(skate, until):
    @skate.remote(generator_backpressure_num_objects=3)
    def numbers():
        yield from range(100)

    stream = numbers.remote()
    task = stream.task_id()
    row = until(
        lambda: state.list_streams(filters=[("task_id", "=", task), ("state", "=", "PAUSED")])
    )[0]
    assert (row.num_yielded, row.num_unread, row.window, row.name) == (3, 3, 3, "numbers")
    next(stream)
    row = until(
        lambda: state.list_streams(filters=[("task_id", "=", task), ("num_yielded", "=", 4)])
    )[0]
    assert row.num_unread == 3
    stream.close()


def test_node_and_job_are_one_row_each(skate):
    [node] = state.list_nodes()
    assert (node.state, node.resources_total["CPU"]) == ("ALIVE", 2)
    assert state.get_node(node.node_id).resources_total == node.resources_total
    assert state.get_node("elsewhere") is None
    assert node.node_id == skate.nodes()[0]["NodeID"]
    [job] = state.list_jobs()
    assert (job.status, job.driver_pid) == ("RUNNING", os.getpid())
    assert state.list_jobs(filters=[("status", "!=", "RUNNING")]) == []


def test_placement_groups_are_listed(skate):
    group = skate.util.placement_group([{"CPU": 1}], name="mine")
    skate.get(group.ready())
    [row] = state.list_placement_groups(filters=[("name", "=", "mine")], detail=True)
    assert (row.state, row.bundles) == ("CREATED", [{"CPU": 1}])
    assert state.get_placement_group(row.placement_group_id) == row
    skate.util.remove_placement_group(group)
    assert state.get_placement_group(row.placement_group_id).state == "REMOVED"


def test_summaries_count_by_function_class_and_place(skate, f, until):
    @skate.remote
    def counted():
        pass

    skate.get([counted.remote() for _ in range(5)])
    summary = state.summarize_tasks()["cluster"]["summary"]
    assert summary["counted"]["state_counts"] == {"FINISHED": 5}
    assert summary["counted"]["type"] == "NORMAL_TASK"
    kept = skate.put(b"x" * 100_000)
    until(lambda: not skate.statistics().tasks)  # those of the tests before have ended, too
    objects = state.summarize_objects()["cluster"]
    assert objects["summary"]["STORE"]["total_size_bytes"] >= 100_000
    assert objects["total_objects"] == skate.statistics().objects
    assert state.summarize_actors()["cluster"]["summary_by"] == "class"
    del kept


def test_a_task_may_ask_too(skate):
    @skate.remote
    def look():
        running = state.list_tasks(filters=[("state", "=", "RUNNING")])
        own = skate.get_runtime_context().get_task_id()
        return own in {row.task_id for row in running}, state.list_workers()[0].worker_type

    assert skate.get(look.remote()) == (True, "DRIVER")


def test_lists_are_whole_while_thousands_of_tasks_run_and_workers_die(fresh):
    """Looking at all tables in one thread, while another submits and the test kills workers."""
    fresh.init(num_cpus=2)

    @fresh.remote(max_retries=-1)
    def work(x):
        return x

    ended = threading.Event()
    seen = []

    def look():
        while not ended.is_set():
            tasks = state.list_tasks(limit=10_000, detail=True)
            ids = [(row.task_id, row.attempt_number) for row in tasks]
            assert len(ids) == len(set(ids))
            assert all(row.worker_pid for row in tasks if row.state == "RUNNING")
            state.list_objects(limit=50, detail=True)
            state.summarize_tasks()
            state.why()
            seen.append(tasks.total)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for turn in range(4):
            refs = [work.remote(k) for k in range(3000)]
            workers = [row.pid for row in state.list_workers() if row.worker_type == "WORKER"]
            if turn % 2 and workers:
                os.kill(workers[0], signal.SIGKILL)
            assert fresh.get(refs) == list(range(3000))
    finally:
        ended.set()
        looker.join()
    assert seen


def test_a_list_of_a_hundred_thousand_queued_tasks_is_quick(fresh):
    """It visits each row once and makes only those that it returns."""
    fresh.init(num_cpus=1)

    @fresh.remote
    def later(x):
        return x

    blocker = later.options(resources={"mars": 1}).remote(0)
    refs = [later.remote(blocker) for _ in range(100_000)]
    began = time.perf_counter()
    rows = state.list_tasks()
    took_s = time.perf_counter() - began
    assert (len(rows), rows.total) == (100, 100_001)
    assert took_s < 1
    summary = state.summarize_tasks()["cluster"]["summary"]["later"]["state_counts"]
    assert summary == {"PENDING_ARGS_AVAIL": 100_000, "PENDING_NODE_ASSIGNMENT": 1}
    del refs


def test_history_is_bounded_and_keeps_the_latest(fresh):
    fresh.init(num_cpus=2)

    @fresh.remote
    def nothing():
        pass

    fresh.get([nothing.remote() for _ in range(11_000)])
    last = nothing.options(name="last").remote()
    fresh.get(last)
    rows = state.list_tasks(limit=20_000)
    assert rows.total == len(rows) == 8_192
    assert rows[0].name == "last"


def test_in_local_mode_it_is_refused_in_one_sentence(fresh):
    fresh.init(local_mode=True)
    with pytest.raises(fresh.exceptions.RaySystemError, match=r"local_mode has none: use .*stat"):
        state.list_tasks()
