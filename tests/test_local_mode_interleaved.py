"""`local_mode` with several threads, and a Ctrl-C between any two steps of its engine."""

import _weakrefset
import asyncio
import contextlib
import itertools
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
from skate._local import loop, sink
from skate._local.calls import Producer
from skate._local.sink import Sink
from skate._local.streams import Channel


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


def test_generator_that_ends_in_statistics_may_wait_for_a_thread(local, monkeypatch):
    # Another thread dropped it, and `statistics` held it last, and the lock that the thread for
    # which its `finally` waited needed.
    waited = []

    @local.remote
    def items():
        try:
            yield 1
            yield 2
        finally:
            thread = threading.Thread(target=lambda: local.get(one.remote()), daemon=True)
            thread.start()
            thread.join(5)
            sys._skate_test_waited.append(thread.is_alive())

    def living_while_another_thread_drops(table):
        found = living(table)
        if any(isinstance(each, Producer) for each in found):
            thread = threading.Thread(target=streams.clear)
            thread.start()
            thread.join()
        return found

    one = local.remote(lambda: 1)
    monkeypatch.setattr(sys, "_skate_test_waited", waited, raising=False)
    streams = [items.remote()]
    next(streams[0])
    living = local_client.living
    monkeypatch.setattr(local_client, "living", living_while_another_thread_drops)
    local.statistics()
    assert waited == [False]


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


def test_async_call_that_ctrl_c_interrupts_does_not_count_for_ever(local):
    # With `max_pending_calls`, none was taken from then on.
    @local.remote
    class Actor:
        async def call(self):
            pass

    def is_meant(code):
        return code.co_filename in {loop.__file__, sink.__file__}

    actor = Actor.remote()
    for place in itertools.count(1):
        with (
            contextlib.suppress(KeyboardInterrupt),
            raising(KeyboardInterrupt, place, is_meant) as reached,
        ):
            actor.call.remote()
        for _turn in range(20):  # more than it needs, if it was sent
            _session.client.loop().call(lambda: None)
        assert actor._ref.calls_under_way() == 0
        if not reached:
            break
    assert place > 10


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
