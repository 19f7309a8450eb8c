"""`skate.Executor`: the claims of `concurrent.futures`."""

import asyncio
import concurrent.futures
import contextlib
import itertools
import os
import threading
from collections import deque

import pytest
from handlers import raising, second_interrupt

from skate import executor as executor_module


@pytest.fixture
def executor(skate):
    with skate.Executor(max_workers=2) as made:
        yield made


def test_it_is_an_executor(executor):
    assert isinstance(executor, concurrent.futures.Executor)
    assert executor.submit(pow, 2, exp=3).result() == 8
    assert executor.submit(os.getpid).result() != os.getpid()


def test_map_keeps_the_order(executor):
    assert list(executor.map(lambda a, b: a + b, range(20), range(20))) == list(range(0, 40, 2))


def test_an_error_is_the_futures(executor):
    future = executor.submit(lambda: 1 / 0)
    assert isinstance(future.exception(), ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        future.result()
    with pytest.raises(TypeError, match="cannot pickle"):
        executor.submit(id, threading.Lock()).result()


def test_an_interrupt_while_a_call_is_sent_leaves_nothing_running(skate):
    """`shutdown` waited for ever for a call that had never been made."""

    class Interrupts:
        def __reduce__(self):
            raise KeyboardInterrupt

    with skate.Executor(max_workers=1) as executor:
        with pytest.raises(KeyboardInterrupt):
            executor.submit(id, Interrupts())
        assert executor.submit(int).result() == 0


@pytest.mark.parametrize("is_heard", [False, True])
def test_an_interrupt_when_a_call_was_sent_leaves_nothing_running(skate, monkeypatch, is_heard):
    """Whether its end was heard of already, or never will be."""

    class Sent(concurrent.futures.Future):
        def future(self):
            monkeypatch.undo()
            self.set_result(0)
            return self

        def add_done_callback(self, act):
            if is_heard:
                super().add_done_callback(act)
            raise KeyboardInterrupt

    with skate.Executor(max_workers=1) as executor:
        monkeypatch.setattr(executor, "_send", lambda *_: Sent())
        with pytest.raises(KeyboardInterrupt):
            executor.submit(int)
        assert executor.submit(pow, 2, 3).result(timeout=10) == 8


def test_an_interrupt_anywhere_in_submit_leaves_nothing_behind(skate, attempts):
    """The call was in the table, but nobody sent it, so that `shutdown` waited for ever."""

    def note(place):
        with attempts.open("a") as file:
            file.write(f"{place}\n")

    def is_meant(code):
        return code.co_filename == executor_module.__file__

    for place in itertools.count(1):
        executor = skate.Executor(max_workers=1)
        with (
            contextlib.suppress(KeyboardInterrupt),
            raising(KeyboardInterrupt, place, is_meant) as reached,
        ):
            executor.submit(note, place)
        with executor._lock:  # what is in the table has been sent
            assert not executor._waiting or executor._running
        shutting_down = threading.Thread(target=executor.shutdown, daemon=True)
        shutting_down.start()
        shutting_down.join(10)
        assert not shutting_down.is_alive()
        if not reached:
            break
    assert place > 10
    ran = attempts.read_text().split()
    assert len(ran) == len(set(ran))


def test_an_interrupt_keeps_no_other_call_from_being_sent(skate):
    """The place came free with nobody to look at it, and `shutdown` waited for ever."""
    executor = skate.Executor(max_workers=1)
    others = []

    class Interrupts:
        def __reduce__(self):
            others.append(executor.submit(int))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executor.submit(id, Interrupts())
    assert others[0].result(timeout=10) == 0
    executor.shutdown()


def test_wait_and_as_completed_work(executor, gate):
    late, early = executor.submit(gate.read_bytes), executor.submit(int)
    done, pending = concurrent.futures.wait([late, early], return_when="FIRST_COMPLETED")
    assert (done, pending) == ({early}, {late})
    gate.write_bytes(b"")
    assert set(concurrent.futures.as_completed([late, early])) == {late, early}


def test_at_most_so_many_run_and_the_others_can_be_cancelled(skate, gate):
    with skate.Executor(max_workers=1) as executor:
        running = executor.submit(gate.read_bytes)
        pending = executor.submit(int)
        assert running.running()
        assert not running.cancel()
        assert pending.cancel()
        gate.write_bytes(b"")
        assert running.result() == b""
    with pytest.raises(concurrent.futures.CancelledError):
        pending.result()


def test_shutdown_waits_and_then_refuses(skate, gate):
    executor = skate.Executor(max_workers=1)
    future = executor.submit(gate.read_bytes)
    thread = threading.Thread(target=executor.shutdown)
    thread.start()
    gate.write_bytes(b"")
    thread.join(30)
    assert not thread.is_alive()
    assert future.done()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(int)


def test_shutdown_waits_until_results_are_told(skate, gate, monkeypatch):
    """It returned when the task had ended, and the future was not done yet."""
    begun, may_go_on = threading.Event(), threading.Event()
    executor = skate.Executor(max_workers=1)
    future = executor.submit(gate.read_bytes)
    set_result, wait = future.set_result, executor._quiet.wait

    def hesitate(value):
        begun.set()
        may_go_on.wait(30)
        set_result(value)

    monkeypatch.setattr(future, "set_result", hesitate)
    monkeypatch.setattr(executor._quiet, "wait", lambda *args: may_go_on.set() or wait(*args))
    gate.write_bytes(b"")
    assert begun.wait(30)
    try:
        executor.shutdown()
        assert future.done()
    finally:
        may_go_on.set()


def test_a_second_interrupt_while_shutdown_waits_is_an_interrupt(skate, gate, monkeypatch):
    """It left the lock released, and was told as a lock that is released twice."""

    executor = skate.Executor(max_workers=1)
    future = executor.submit(gate.read_bytes)
    with second_interrupt(monkeypatch), pytest.raises(KeyboardInterrupt):
        executor.shutdown()
    gate.write_bytes(b"")
    assert future.result(timeout=10) == b""
    executor.shutdown()


def test_a_finalizer_may_submit_under_its_lock(skate):
    """The same thread waited for its own lock."""
    executor, futures = skate.Executor(max_workers=1), []

    class Waiting(deque):
        def append(self, call):
            if not futures:
                futures.append(None)
                futures[0] = executor.submit(int)  # as a `__del__` may at any allocation
            super().append(call)

    executor._waiting = Waiting()
    thread = threading.Thread(target=lambda: futures.append(executor.submit(int)), daemon=True)
    thread.start()
    thread.join(10)
    assert [future.result(timeout=10) for future in futures] == [0, 0]
    executor.shutdown()


def test_a_callback_may_shut_down(skate):
    executor, is_down = skate.Executor(max_workers=1), threading.Event()

    def shut_down(_future):
        executor.shutdown()
        is_down.set()

    executor.submit(int).add_done_callback(shut_down)
    assert is_down.wait(30)


def test_a_callback_cannot_wait_for_other_calls(skate, gates):
    """It waited in the thread that brings all results: none came any more."""
    early, late = gates("early"), gates("late")
    executor, raised, has_tried = skate.Executor(max_workers=2), [], threading.Event()

    def shut_down(_future):
        try:
            executor.shutdown()
        except RuntimeError as error:
            raised.append(str(error))
        has_tried.set()

    other = executor.submit(late.read_bytes)
    executor.submit(early.read_bytes).add_done_callback(shut_down)
    early.write_bytes(b"")
    assert has_tried.wait(10)
    assert "from a callback" in raised[0]
    late.write_bytes(b"")
    assert other.result(timeout=10) == b""
    executor.shutdown()


def test_shutdown_can_cancel_what_waits(skate, gate):
    executor = skate.Executor(max_workers=1)
    running, pending = executor.submit(gate.read_bytes), executor.submit(int)
    executor.shutdown(wait=False, cancel_futures=True)
    assert pending.cancelled()
    gate.write_bytes(b"")
    assert running.result() == b""


def test_shutdown_that_is_interrupted_can_cancel_what_waits(skate):
    """It had taken the calls out of the table, and nobody told their futures."""

    def is_meant(code):
        return code.co_filename == executor_module.__file__

    for place in itertools.count(1):
        executor = skate.Executor(max_workers=1)
        executor._running[concurrent.futures.Future()] = None  # so that the others wait
        pending = [executor.submit(int) for _ in range(3)]
        with (
            contextlib.suppress(KeyboardInterrupt),
            raising(KeyboardInterrupt, place, is_meant) as reached,
        ):
            executor.shutdown(wait=False, cancel_futures=True)
        executor.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in pending)
        if not reached:
            break
    assert place > 10
    assert concurrent.futures.wait(pending, timeout=0).done == set(pending)


def test_shutdown_waits_for_who_cancels_in_another_thread(skate):
    """It found nothing waiting, and returned with futures that were not done."""
    executor = skate.Executor(max_workers=1)
    running = concurrent.futures.Future()
    executor._running[running] = None
    pending = [executor.submit(int) for _ in range(2)]
    is_told, may_go_on = threading.Event(), threading.Event()
    pending[0].add_done_callback(lambda _: (is_told.set(), may_go_on.wait(10)))
    cancelling = threading.Thread(target=lambda: executor.shutdown(False, cancel_futures=True))
    cancelling.start()
    assert is_told.wait(10)
    executor._finish(running, None, None)
    executor.shutdown()
    are_done = [future.done() for future in pending]
    may_go_on.set()
    cancelling.join()
    assert are_done == [True, True]


def test_callbacks_may_submit(executor):
    results = []
    done = threading.Event()

    def more(future):
        if future.result() < 3:
            executor.submit(lambda n: n + 1, future.result()).add_done_callback(more)
        else:
            results.append(future.result())
            done.set()

    executor.submit(int).add_done_callback(more)
    assert done.wait(30)
    assert results == [3]


def test_an_event_loop_can_use_it(executor):
    async def main():
        return await asyncio.get_running_loop().run_in_executor(executor, pow, 2, 5)

    assert asyncio.run(main()) == 32


def test_options_are_those_of_the_tasks(skate):
    with skate.Executor(num_cpus=2) as executor:
        held = executor.submit(lambda: skate.get_runtime_context().get_assigned_resources())
        assert held.result() == {"CPU": 2.0}


@pytest.mark.parametrize("wrong", [{"max_workers": 0}, {"num_cpus": -1}, {"nonsense": 1}], ids=str)
def test_senseless_arguments_are_refused(skate, wrong):
    with pytest.raises(ValueError):
        skate.Executor(**wrong)


def test_a_thousand_calls_of_two_places(executor):
    assert sum(executor.map(lambda n: n, range(1000))) == 499_500
