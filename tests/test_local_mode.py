"""A16: `init(local_mode=True)`. What holds in both engines is in conformance/ and generators/."""

import _weakrefset
import asyncio
import contextlib
import gc
import itertools
import os
import pickle
import subprocess
import sys
import threading
import traceback
import weakref
from pathlib import Path

import pytest
from handlers import raising

import skate._local
from skate import _session
from skate._local import client as local_client
from skate._local.sink import Sink
from skate._local.streams import Channel
from skate.util.state import list_unhandled_errors


@pytest.fixture
def local(fresh):
    fresh.init(local_mode=True)
    return fresh


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


def test_reader_that_goes_as_its_generator_is_about_to_pause_wakes_it(local, monkeypatch):
    # It slept for ever, with its place among the calls of the actor: it looked whether it had a
    # reader, the last one went, which found nobody to wake, and then it said whom to wake.
    look = Sink.is_dropped.fget
    held, is_held = [], threading.Event()

    def looks_and_loses_its_reader(sink):
        is_dropped = look(sink)
        if sink.channel.published:
            assert is_held.wait(20)
            held.clear()
        return is_dropped

    def hold(stream):
        held.append(stream)
        del stream
        is_held.set()

    monkeypatch.setattr(Sink, "is_dropped", property(looks_and_loses_its_reader))
    assert next_call_of_actor_that_pauses(local, hold) == 1


def test_generator_that_is_about_to_pause_as_its_reader_goes_does_not(local, monkeypatch):
    # It slept for ever: who goes has woken all that paused, but is still there for who looks.
    look, go_on = Sink.is_dropped.fget, Channel.go_on
    pauses, goes, has_looked = (threading.Event() for _ in range(3))

    def looks_while_its_reader_goes(sink):
        if sink.channel.published:
            pauses.set()
            assert goes.wait(20)
        is_dropped = look(sink)
        has_looked.set()
        return is_dropped

    def goes_while_it_is_looked_for(channel, *gone):
        go_on(channel, *gone)
        has_looked.clear()
        goes.set()
        assert has_looked.wait(20)

    monkeypatch.setattr(Sink, "is_dropped", property(looks_while_its_reader_goes))
    monkeypatch.setattr(Channel, "go_on", goes_while_it_is_looked_for)

    def drop(stream):
        assert pauses.wait(20)
        del stream

    assert next_call_of_actor_that_pauses(local, drop) == 1


def next_call_of_actor_that_pauses(local, then):
    @local.remote(max_concurrency=1)
    class Actor:
        @local.method(generator_backpressure_num_objects=1)
        async def items(self):
            for k in range(3):
                yield k

        async def call(self):
            return 1

    actor = Actor.remote()
    then(actor.items.remote())
    return local.get(actor.call.remote(), timeout=20)


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


def test_awaits_that_are_cancelled_leave_nothing(local):
    @local.remote
    class Actor:
        async def sleep(self):
            await asyncio.sleep(3600)

        async def take(self, _):
            pass

    actor = Actor.remote()
    ref = actor.sleep.remote()
    waiting = actor.take.remote(ref)

    async def value():
        return await ref

    async def main():
        for _ in range(3):
            task = asyncio.create_task(value())
            await asyncio.sleep(0)
            assert len(ref.kept.cell.watchers) >= 1
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(main())
    local.cancel(waiting)
    with pytest.raises(local.exceptions.TaskCancelledError):
        local.get(waiting)
    assert ref.kept.cell.watchers == []


@pytest.mark.parametrize(
    "look",
    [
        lambda skate, ref: skate.cancel(ref),
        lambda skate, _: skate.statistics(),
        lambda skate, _: skate.util.list_named_actors(),
        lambda skate, _: skate.util.placement_group_table(),
        lambda *_: _session.client.unseen(10),  # by `shutdown`, first
    ],
)
def test_tables_may_change_while_they_are_looked_through(local, look):
    # As by other threads, or finalizers: "dictionary changed size during iteration", and the end of
    # the session was no end.
    @local.remote(num_returns="streaming")
    def task():
        yield 1

    @local.remote
    class Actor:
        pass

    made = [task.remote(), Actor.options(name="first").remote(), local.put(1)]
    tables = {weakref.__file__, _weakrefset.__file__, local_client.__file__}

    def make_more(frame, _event, _):
        if frame.f_code.co_filename not in tables:
            return None
        if len(made) < 200:
            actor = Actor.options(name=f"{len(made)}").remote()
            group = local.util.placement_group([{"CPU": 1}])
            made.extend([task.remote(), actor, local.put(1), group])
        return make_more

    before = sys.gettrace()
    sys.settrace(make_more)
    try:
        look(local, made[0])
    finally:
        sys.settrace(before)
    assert len(made) > 3


def test_groups_are_removed_by_many_threads_at_once(local, monkeypatch):
    # Two that dropped the oldest of too many removed groups met: the second raised a KeyError.
    monkeypatch.setattr(local_client, "_MOST_REMOVED", 1)
    groups = [local.util.placement_group([{"CPU": 1}]) for _ in range(20)]
    left = iter(groups)

    def remove_another(frame, event, _):
        if frame.f_code is not local_client.Client.remove_group.__code__:
            return None
        if event == "line" and (group := next(left, None)):
            local.util.remove_placement_group(group)
        return remove_another

    before = sys.gettrace()
    sys.settrace(remove_another)
    try:
        local.util.remove_placement_group(next(left))
    finally:
        sys.settrace(before)
    assert len(_session.client.removed) == 1


def test_ctrl_c_leaves_nothing_held(local):
    # In `Condition.__exit__` it left a lock held, and where a task was about to be driven, that
    # task: other threads waited for ever; where a task was entered, the driver was in it for good.
    # So it comes wherever Python handles signals, each in turn: as a function begins, and after
    # each call.
    def use():
        nonlocal stream
        stream = items.remote()
        local.get(next(stream))
        local.cancel(stream)

    @local.remote
    def items():
        yield 1
        yield 2

    def goes_on():
        local.statistics()
        list(stream)

    files = {threading.__file__, *(str(path) for path in Path(skate._local.__path__[0]).iterdir())}

    def is_meant(code):
        return code.co_filename in files

    def is_of_finalizer(frame):  # Python ignores what is raised there
        names = (each.f_code.co_name for each, _ in traceback.walk_stack(frame))
        return any(name in {"__del__", "go_on"} for name in names)

    stream = None
    use()  # what is made once, is
    for place in itertools.count(1):
        with (
            contextlib.suppress(KeyboardInterrupt),
            raising(KeyboardInterrupt, place, is_meant, is_of_finalizer) as reached,
        ):
            use()
        if not reached:
            break
        other = threading.Thread(target=goes_on, daemon=True)
        other.start()
        other.join(5)
        assert not other.is_alive()
        assert _session.client.is_driver
    assert place > 100


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
