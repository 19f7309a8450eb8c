"""A16: `init(local_mode=True)`. What holds in both engines is in conformance/ and generators/."""

import asyncio
import contextlib
import gc
import os
import pickle
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from skate.util.state import list_unhandled_errors


@pytest.fixture
def log():
    """Tasks of a module that can be imported would share it; these are copied, so it is a name."""
    name = "_skate_test_log"
    events = []
    setattr(sys, name, events)
    yield events
    delattr(sys, name)


def note(event):
    sys._skate_test_log.append(event)


def test_task_runs_in_the_calling_thread_before_remote_returns(local, log):
    @local.remote
    def task():
        note(threading.get_ident())
        return os.getpid()

    ref = task.remote()
    assert log == [threading.get_ident()]
    assert local.get(ref) == os.getpid()


def test_sync_actor_runs_in_the_calling_thread(local, log):
    @local.remote
    class Actor:
        def __init__(self):
            note("made")

        def call(self):
            note(threading.get_ident())

    actor = Actor.remote()
    actor.call.remote()
    assert log == ["made", threading.get_ident()]


def children():
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            found.update((thread / "children").read_text().split())
    return found


def test_there_is_no_other_process(fresh):
    before = children()
    fresh.init(local_mode=True)

    @fresh.remote
    def task():
        return 1

    assert fresh.get(task.remote()) == 1
    assert children() <= before


def test_generator_runs_in_the_thread_that_asks_and_not_before(local, log):
    @local.remote
    def items():
        for k in range(3):
            note((k, threading.get_ident()))
            yield k

    stream = items.remote()
    assert log == []
    first = next(stream)
    assert log == [(0, threading.get_ident())]
    with_thread = []
    thread = threading.Thread(target=lambda: with_thread.append(next(stream)))
    thread.start()
    thread.join()
    assert log[1][0] == 1
    assert log[1][1] != threading.get_ident()
    assert local.get([first, *with_thread, *stream]) == [0, 1, 2]


@pytest.mark.parametrize("mode", [3, "dynamic"])
def test_static_and_dynamic_generators_run_to_their_end_at_the_call(local, log, mode):
    @local.remote(num_returns=mode)
    def items():
        for k in range(3):
            note(k)
            yield k

    result = items.remote()
    assert log == [0, 1, 2]
    assert local.get(list(local.get(result)) if mode == "dynamic" else result) == [0, 1, 2]


def test_completed_drives_the_generator_to_its_end(local, log):
    @local.remote
    def items():
        for k in range(3):
            note(k)
            yield k
        return "value"

    stream = items.remote()
    assert local.get(stream.completed()) == "value"
    assert log == [0, 1, 2]
    assert local.get(list(stream)) == [0, 1, 2]


def test_async_actors_share_one_thread(local):
    @local.remote
    class Actor:
        async def thread(self):
            await asyncio.sleep(0)
            return threading.get_ident(), threading.current_thread().name

    first, second = Actor.remote(), Actor.remote()
    threads = set(local.get([each.thread.remote() for each in (first, second, first)]))
    assert len(threads) == 1
    assert threads.pop()[0] != threading.get_ident()


def test_constructor_of_an_async_actor_runs_on_the_loop(local):
    @local.remote
    class Actor:
        def __init__(self):
            self.loop = asyncio.get_running_loop()

        async def is_same(self):
            return self.loop is asyncio.get_running_loop()

    assert local.get(Actor.remote().is_same.remote())


def test_debugger_stops_inside_of_the_task(local, monkeypatch):
    stopped = []

    def hook():
        frame = sys._getframe(1)
        stopped.append((frame.f_code.co_name, frame.f_locals["x"], frame.f_code.co_filename))

    monkeypatch.setattr(sys, "breakpointhook", hook)

    @local.remote
    def task(x):
        breakpoint()  # noqa: T100 - that is the case
        return x

    assert local.get(task.remote(7)) == 7
    assert stopped == [("task", 7, __file__)]


def test_caller_does_not_see_what_a_task_does_to_its_argument(local):
    @local.remote
    def change(values):
        values.append(1)
        return values

    values = []
    assert local.get(change.remote(values)) == [1]
    assert values == []


def test_what_cannot_be_pickled_fails_as_it_would(local):
    @local.remote
    def task(x=None):
        return threading.Lock()

    with pytest.raises(TypeError, match=r"Could not serialize the argument x of .*task"):
        task.remote(threading.Lock())
    with pytest.raises(TypeError, match="Could not serialize the return value of"):
        local.get(task.remote())


def test_cancel_acts_between_items(local, log):
    @local.remote
    def items():
        try:
            yield 1
            yield 2
        except KeyboardInterrupt:
            note("interrupted")
            raise

    stream = items.remote()
    first = next(stream)
    local.cancel(stream)
    assert log == ["interrupted"]
    assert local.get(first) == 1
    with pytest.raises(local.exceptions.TaskCancelledError):
        local.get(next(stream))
    assert list(stream) == []


def test_generator_that_is_cancelled_before_it_began_never_runs(local, log):
    @local.remote
    def items():
        note("ran")
        yield 1

    stream = items.remote()
    local.cancel(stream)
    with pytest.raises(local.exceptions.TaskCancelledError):
        local.get(next(stream))
    assert log == []


@pytest.mark.parametrize("end", ["close", "drop"])
def test_closed_or_dropped_generator_gets_generator_exit(local, log, end):
    @local.remote
    def items():
        try:
            yield 1
            yield 2
        finally:
            note(local.get_runtime_context().get_task_name())

    stream = items.remote()
    next(stream)
    if end == "close":
        stream.close()
        assert list(stream) == []
        assert local.get(stream.completed()) is None
    else:
        del stream
    assert log == ["items"]


def test_passed_stream_that_was_read_forbids_a_retry(local, log):
    @local.remote
    def items():
        yield from range(3)

    @local.remote(retry_exceptions=True)
    def consume(stream):
        note(local.get(next(stream)))
        raise ValueError("after one")

    stream = items.remote()
    with pytest.raises(ValueError, match=r"(?s)after one.*had consumed 1 items of stream"):
        local.get(consume.remote(stream))
    assert log == [0]
    assert local.get(list(stream)) == [1, 2]


def test_window_of_an_async_generator_is_exact(local):
    @local.remote
    class Actor:
        made = 0

        async def items(self):
            for k in range(10):
                self.made += 1
                yield k

        async def count(self):
            return self.made

    actor = Actor.remote()
    stream = actor.items.options(generator_backpressure_num_objects=2).remote()
    for taken in range(5):
        local.wait([stream])
        counts = [local.get(actor.count.remote()) for _ in range(10)]
        assert max(counts) <= taken + 2
        next(stream)
    assert len(list(stream)) == 5


def test_waiting_on_the_loop_for_the_loop_is_refused(local):
    @local.remote
    class Actor:
        async def value(self):
            return 1

        async def blocks(self, other):
            return local.get(other.value.remote())

    first, second = Actor.remote(), Actor.remote()
    with pytest.raises(local.exceptions.RaySystemError, match="use `await`"):
        local.get(first.blocks.remote(second))


def test_generator_that_waits_for_itself_is_refused(local):
    @local.remote
    def items(box):
        yield 1
        yield next(local.get(box.take.remote()))

    @local.remote
    class Box:
        def put(self, stream):
            self.stream = stream

        def take(self):
            return self.stream

    box = Box.remote()
    stream = items.remote(box)
    box.put.remote(stream)
    next(stream)
    with pytest.raises(local.exceptions.RaySystemError, match="waits for itself"):
        local.get(next(stream))
    del stream, box


def test_interrupt_in_a_task_reaches_the_caller(local):
    @local.remote
    def task():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        task.remote()


def test_exit_of_a_task_is_a_worker_crash(local):
    @local.remote
    def task():
        sys.exit(3)

    with pytest.raises(local.exceptions.WorkerCrashedError, match=r"sys.exit\(3\)"):
        local.get(task.remote())


def test_killed_actor_is_dead_and_its_generator_ends_with_that(local):
    @local.remote
    class Actor:
        def items(self):
            yield from range(3)

    actor = Actor.remote()
    stream = actor.items.remote()
    first = next(stream)
    local.kill(actor)
    with pytest.raises(local.exceptions.ActorDiedError, match="killed"):
        local.get(next(stream))
    assert list(stream) == []
    assert local.get(first) == 0


def test_unread_error_is_reported_with_its_last_ref(local, capfd):
    @local.remote
    def task():
        raise ValueError("nobody looks")

    ref = task.remote()
    assert list_unhandled_errors() == []
    del ref
    (row,) = list_unhandled_errors()
    assert row.name == "task"
    assert isinstance(row.error, ValueError)
    assert "nobody looks" in capfd.readouterr().err


def test_unread_error_of_a_ref_that_outlives_the_session_is_told_at_its_end(fresh):
    # When the ref is dropped nothing can be imported for it any more.
    program = """
import skate
skate.init(local_mode=True)
@skate.remote
def task():
    raise ValueError
ref = task.remote()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True
    )
    assert ended.stderr.count("Unhandled error") == 1
    assert "Exception ignored" not in ended.stderr


def test_values_go_with_their_last_reader(local):
    @local.remote
    def items():
        for _ in range(3):
            yield b"x" * 1000

    stream = items.remote()
    held = next(stream)
    assert local.statistics().objects == 1
    assert local.statistics().used_bytes > 1000
    del held
    assert local.statistics().used_bytes == 0
    rest = list(stream)
    nested = local.put([rest[0]])
    del rest
    assert local.statistics().objects == 2
    del nested, stream
    gc.collect()
    now = local.statistics()
    assert (now.objects, now.streams, now.tasks, now.driver_handles) == (0, 0, 0, 0)


def test_async_call_that_is_cancelled_as_it_begins_ends(local, log):
    # It never did: asyncio throws the cancel into a coroutine that has not begun.
    @local.remote
    class Actor:
        async def stop_the_loop(self):
            sys._skate_test_log[0].wait(20)

        async def answer(self):
            pass

    log.append(threading.Event())
    actor = Actor.remote()
    actor.stop_the_loop.remote()
    ref = actor.answer.remote()
    local.cancel(ref)
    log[0].set()
    with pytest.raises(local.exceptions.TaskCancelledError):
        local.get(ref, timeout=20)


@pytest.mark.parametrize("retries", [0, 1])
def test_async_call_that_user_code_cancels_before_its_first_step_ends(local, log, retries):
    # Likewise. One that is to be tried again is.
    @local.remote
    class Actor:
        async def stop_the_loop(self):
            sys._skate_test_log[0].wait(20)

        async def stop_others(self):
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        async def answer(self):
            return 1

    log.append(threading.Event())
    actor = Actor.remote()
    options = {"max_task_retries": retries, "retry_exceptions": True}
    calls = [actor.stop_the_loop, actor.stop_others, actor.answer.options(**options)]
    refs = [call.remote() for call in calls]
    log[0].set()
    if retries:
        assert local.get(refs[-1], timeout=20) == 1
    else:
        with pytest.raises(asyncio.CancelledError):
            local.get(refs[-1], timeout=20)
    assert local.get(actor.answer.remote(), timeout=20) == 1


def test_async_call_is_held_while_it_runs(local, log):
    # It was collected with its actor, as nobody else held what it awaited.
    @local.remote
    class Actor:
        async def wait(self):
            there = asyncio.get_running_loop().create_future()
            note(weakref.ref(there))
            sys._skate_test_log[0].set()
            return await there

    log.append(threading.Event())
    ref = Actor.remote().wait.remote()
    assert log[0].wait(20)
    gc.collect()
    there = log[1]()
    assert there is not None
    there.get_loop().call_soon_threadsafe(there.set_result, 7)
    assert local.get(ref, timeout=20) == 7


def test_shutdown_does_not_retry_what_it_cancels(local, log):
    # It ran once more, and `shutdown` waited for it.
    @local.remote
    class Actor:
        @local.method(max_task_retries=-1, retry_exceptions=True)
        async def sleep(self):
            note("runs")
            await asyncio.sleep(3600)

        async def answer(self):
            pass

    actor = Actor.remote()
    ref = actor.sleep.remote()
    local.get(actor.answer.remote())
    local.shutdown()
    del ref
    assert log == ["runs"]
    assert not [each for each in threading.enumerate() if each.name == "skate-local-loop"]


def test_threads_that_make_an_actor_of_one_name_get_the_same(local, log):
    # Each found that there was none, and made its own.
    @local.remote
    class Actor:
        def __init__(self):
            note("made")

        def call(self):
            return 1

    begin = threading.Barrier(4)
    made = []

    def make(name):
        begin.wait(20)
        actor = Actor.options(name=name, get_if_exists=True).remote()
        made.append((actor, local.get(actor.call.remote())))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for number in range(20):
            threads = [threading.Thread(target=make, args=(f"{number}",)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
    finally:
        sys.setswitchinterval(before)
    assert len(made) == 80
    assert log == ["made"] * 20


def test_session_of_processes_may_follow(local):
    ref = local.put(1)
    local.shutdown()
    local.init(num_cpus=1)
    with pytest.raises(local.exceptions.RaySystemError, match="earlier session"):
        local.get(ref)

    @local.remote
    def task():
        return os.getpid()

    assert local.get(task.remote()) != os.getpid()


def test_handles_of_an_earlier_session_say_so_and_no_other_takes_them(local):
    # Generators said that no session had been started, `wait` called them ready, `cancel` did
    # nothing, a ref could be pickled, and of an actor a weakref could not.
    @local.remote
    def items():
        yield 1
        yield 2

    @local.remote(num_returns="dynamic")
    def parts():
        yield 1

    @local.remote
    class Actor:
        def call(self):
            pass

    @local.remote
    def take(_):
        pass

    stream, dynamic, ref = items.remote(), local.get(parts.remote()), local.put(1)
    actor = Actor.remote()
    group = local.util.placement_group([{"CPU": 1}])
    local.shutdown()
    local.init(local_mode=True)
    uses = [
        lambda: next(stream),
        lambda: asyncio.run(anext(stream)),
        lambda: stream.close(),
        lambda: stream.completed(),
        lambda: len(dynamic),
        lambda: local.wait([stream], timeout=0),
        lambda: local.wait([dynamic], timeout=0),
        lambda: local.cancel(stream),
        lambda: actor.call.remote(),
        lambda: local.kill(actor),
        lambda: pickle.dumps(ref),
        lambda: pickle.dumps(actor),
    ]
    for use in uses:
        with pytest.raises(local.exceptions.RaySystemError, match="belongs to an earlier session"):
            use()
    with pytest.raises(TypeError, match=r"argument _ of .* before the last shutdown$"):
        take.remote(actor)
    assert local.util.placement_group_table(group) == {}
    assert local.statistics().driver_handles == 0
