"""`util.multiprocessing.Pool`: the claims of the standard library's `Pool`, and of its own."""

import contextlib
import itertools
import multiprocessing
import os
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from handlers import raising, second_interrupt

from skate.util.multiprocessing import Pool
from skate.util.multiprocessing import feeder as feeder_module
from skate.util.multiprocessing import pool as pool_module
from skate.util.multiprocessing import results as results_module
from skate.util.multiprocessing.feeder import Chunk
from skate.util.multiprocessing.results import Results, Single


@pytest.fixture(scope="module")
def pool(skate):
    with Pool(2) as made:
        yield made


def square(n):
    return n * n


def test_map_keeps_the_order(pool):
    assert pool.map(square, range(50)) == [n * n for n in range(50)]
    assert pool.map(square, range(7), chunksize=3) == [n * n for n in range(7)]
    assert pool.map(square, []) == []


def test_starmap_unpacks(pool):
    assert pool.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]
    assert pool.starmap_async(lambda a, b: a - b, [(5, 2)]).get() == [3]


def test_apply_takes_keywords(pool):
    assert pool.apply(lambda a, b=1: (a, b), (1,), {"b": 2}) == (1, 2)
    assert pool.apply(int) == 0


def test_closures_may_be_called(pool):
    base = 100
    assert pool.map(lambda n: n + base, range(3)) == [100, 101, 102]


def test_async_results_tell_how_they_stand(pool, gate):
    result = pool.apply_async(gate.read_bytes)
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=0)
    gate.write_bytes(b"x")
    assert result.get() == b"x"
    assert result.ready()
    assert result.successful()


def test_callbacks_get_the_value_or_the_error(pool):
    seen = []
    pool.map_async(square, [1, 2], callback=seen.append).wait()
    pool.apply_async(lambda: 1 / 0, error_callback=seen.append).wait()
    assert seen[0] == [1, 4]
    assert isinstance(seen[1], ZeroDivisionError)


@pytest.fixture
def callback():
    """A callback that notes its value, but only when it may."""

    class Callback:
        def __init__(self):
            self.begun, self.may_go_on, self.seen = threading.Event(), threading.Event(), []

        def __call__(self, value):
            self.begun.set()
            self.may_go_on.wait(30)
            self.seen.append(value)

    made = Callback()
    yield made
    made.may_go_on.set()


def test_a_result_is_ready_when_its_callback_has_run(pool, callback):
    """It was ready before, so `wait` returned before what the callback does had been done."""
    result = pool.map_async(square, [1, 2], callback=callback)
    assert callback.begun.wait(30)
    assert not result.ready()
    callback.may_go_on.set()
    result.wait()
    assert callback.seen == [[1, 4]]


def test_join_waits_for_callbacks(skate, monkeypatch, callback):
    """It returned when the values were there, before anybody had been told of them."""
    pool = Pool(1)
    pool.apply_async(int, callback=callback)
    assert callback.begun.wait(30)
    pool.close()
    wait = pool._changed.wait
    monkeypatch.setattr(pool._changed, "wait", lambda: callback.may_go_on.set() or wait())
    pool.join()
    assert callback.seen == [0]


def test_a_second_interrupt_while_join_waits_is_an_interrupt(skate, gate, monkeypatch):
    """It left the lock released, and was told as a lock that is released twice."""

    pool = Pool(1)
    result = pool.apply_async(gate.read_bytes)
    pool.close()
    with second_interrupt(monkeypatch), pytest.raises(KeyboardInterrupt):
        pool.join()
    gate.write_bytes(b"")
    assert result.get(timeout=10) == b""
    pool.join()


def test_a_callback_may_join(skate):
    pool, joined = Pool(1), threading.Event()

    def join(_value):
        pool.close()
        pool.join()
        joined.set()

    pool.apply_async(int, callback=join)
    assert joined.wait(30)


def test_a_callback_that_raises_stops_nothing(pool, capfd):
    assert pool.apply_async(int, callback=lambda _: 1 / 0).get() == 0
    assert pool.map(square, [3]) == [9]


def test_an_error_has_the_class_that_was_raised(pool):
    with pytest.raises(ZeroDivisionError):
        pool.map(lambda n: 1 // n, [1, 0])
    assert pool.map(square, [2]) == [4]


def test_imap_gives_values_in_order_and_errors_in_their_place(pool):
    values = pool.imap(lambda n: 1 // n, [1, 0, 1])
    assert next(values) == 1
    with pytest.raises(ZeroDivisionError):
        next(values)
    assert list(values) == [1]


def test_imap_unordered_gives_the_first_that_comes(pool, gate):
    def late_if_zero(n):
        if n == 0:
            gate.read_bytes()
        return n

    values = pool.imap_unordered(late_if_zero, [0, 1])
    assert next(values) == 1
    gate.write_bytes(b"")
    assert list(values) == [0]


def test_next_of_imap_has_a_timeout(pool, gate):
    values = pool.imap(lambda _: gate.read_bytes(), [0])
    with pytest.raises(multiprocessing.TimeoutError):
        values.next(timeout=0)
    gate.write_bytes(b"")
    assert values.next() == b""


def test_imap_reads_an_endless_iterable_only_as_far_as_needed(pool):
    read = []

    def endless():
        n = 0
        while True:
            read.append(n)
            yield n
            n += 1

    values = pool.imap(square, endless(), chunksize=2)
    assert [next(values) for _ in range(5)] == [0, 1, 4, 9, 16]
    assert len(read) < 50


def test_an_interrupt_while_a_value_is_taken_leaves_no_lock_taken(monkeypatch):
    """Ctrl-C came when the lock was to be released, and everybody else waited for it for ever."""

    def interrupted(*_):
        raise KeyboardInterrupt

    results = Results(lambda: None, in_order=True)
    results.settle(0, [1, 2, 3])
    for name in ("__enter__", "__exit__"):
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(threading.Condition, name, interrupted)
            results.next()
    read = []
    reader = threading.Thread(target=lambda: read.append(results.next()), daemon=True)
    reader.start()
    reader.join(10)
    assert read == [3]


@pytest.mark.parametrize("in_order", [True, False])
def test_an_interrupt_while_a_value_is_taken_loses_none(in_order):
    """It comes wherever Python handles signals: as a function begins, and after each call.

    When it came while the iterable was read on, the value had been taken and was never given.
    """
    codes = {Results.next.__code__, Results._has_something.__code__}
    for place in itertools.count(1):
        results = Results(lambda: None, in_order=in_order)
        results.settle(1, [3])
        results.settle(0, [1, 2])
        results.end(2)
        read = []
        with (
            contextlib.suppress(KeyboardInterrupt),
            raising(KeyboardInterrupt, place, codes.__contains__) as reached,
        ):
            read.append(results.next())
        if not reached:
            break
        with contextlib.suppress(StopIteration):
            while True:
                read.append(results.next(timeout=0))
        assert read == ([1, 2, 3] if in_order else [3, 1, 2])
    assert place > 5


def test_an_interrupt_while_an_imap_is_fed_loses_nothing(pool):
    """What had been read and not been submitted was lost, or the reader waited for ever."""

    def is_meant(code):
        return code.co_filename == feeder_module.__file__ or code.co_name == "submit_chunks"

    for place in itertools.count(1):
        values, read = pool.imap(square, iter(range(24)), chunksize=2), []
        with (
            contextlib.suppress(KeyboardInterrupt),
            raising(KeyboardInterrupt, place, is_meant) as reached,
        ):
            for _ in range(24):
                read.append(next(values))
        with contextlib.suppress(StopIteration):
            while True:
                read.append(values.next(timeout=10))
        assert read == [n * n for n in range(24)]
        if not reached:
            break
    assert place > 20


def test_an_error_of_the_iterable_comes_in_its_place(pool):
    def broken():
        yield 1
        raise KeyError("iterable")

    values = pool.imap(square, broken())
    assert next(values) == 1
    with pytest.raises(KeyError):
        next(values)
    with pytest.raises(StopIteration):
        next(values)


def test_arguments_that_cannot_be_pickled_are_the_calls_error(pool):
    result = pool.apply_async(square, (threading.Lock(),))
    with pytest.raises(TypeError, match="cannot pickle"):
        result.get(timeout=10)


class Interrupts:
    """Ctrl-C while it is pickled."""

    def __reduce__(self):
        raise KeyboardInterrupt


def test_an_interrupt_while_a_chunk_is_sent_costs_no_process(skate):
    """Its slot was neither idle nor at work from then on, and `join` waited for ever."""
    pool = Pool(1)
    with pytest.raises(KeyboardInterrupt):
        pool.apply_async(square, (Interrupts(),))
    assert pool.apply_async(square, (3,)).get(timeout=10) == 9
    pool.close()
    pool.join()


def test_an_interrupt_keeps_no_other_chunk_from_being_sent(skate, attempts):
    def note(_n):
        with attempts.open("a") as file:
            file.write("x")

    pool = Pool(2)
    with pytest.raises(KeyboardInterrupt):
        pool.map_async(note, [Interrupts(), 1, Interrupts(), 2, 3], chunksize=1)
    pool.close()
    pool.join()
    assert attempts.stat().st_size == 3


def test_an_interrupt_anywhere_in_a_call_leaves_nothing_behind(skate, attempts):
    """The chunk was in the table, but nobody sent it, so that `join` waited for ever."""

    def note(place):
        with attempts.open("a") as file:
            file.write(f"{place}\n")

    def is_meant(code):
        return code.co_filename == pool_module.__file__

    for place in itertools.count(1):
        pool = Pool(1)
        with (
            contextlib.suppress(KeyboardInterrupt),
            raising(KeyboardInterrupt, place, is_meant) as reached,
        ):
            pool.apply_async(note, (place,))
        with pool._lock:  # what is in the table has been sent
            assert not pool._waiting or not pool._idle
        pool.close()
        joining = threading.Thread(target=pool.join, daemon=True)
        joining.start()
        joining.join(10)
        assert not joining.is_alive()
        if not reached:
            break
    assert place > 10
    ran = attempts.read_text().split()
    assert len(ran) == len(set(ran))


@pytest.mark.parametrize("is_heard", [False, True])
def test_an_interrupt_when_a_chunk_was_sent_fails_no_other(skate, monkeypatch, is_heard):
    """Whether its end was heard of already, and its slot has the next one, or never will be."""
    pool = Pool(1)
    result = Single(1, None, None)

    class Sent(Future):
        def future(self):
            monkeypatch.undo()
            pool._waiting.append(Chunk(result, 0, square, [((3,), {})]))
            self.set_result([0])
            return self

        def add_done_callback(self, act):
            if is_heard:
                super().add_done_callback(act)
            raise KeyboardInterrupt

    monkeypatch.setattr(pool, "_send", lambda *_: Sent())
    with pytest.raises(KeyboardInterrupt):
        pool.apply_async(int)
    assert result.get(timeout=10) == 9


@pytest.mark.parametrize("size", [0, -1])
def test_chunks_of_nothing_are_refused(pool, size):
    for call in (pool.imap, pool.imap_unordered, pool.map):
        with pytest.raises(ValueError, match="Chunksize must be 1"):
            call(square, [1], size)


def test_the_initializer_runs_once_in_each_process(skate, attempts):
    def begin(path):
        with path.open("a") as file:
            file.write("x")

    with Pool(2, initializer=begin, initargs=(attempts,)) as pool:
        pool.map(square, range(20), chunksize=1)
        pool.close()
        pool.join()
    assert attempts.stat().st_size == 2


def test_a_process_is_replaced_after_so_many_chunks(skate):
    with Pool(1, maxtasksperchild=2) as pool:
        pids = pool.map(lambda _: os.getpid(), range(6), chunksize=1)
    assert len(set(pids)) == 3
    assert pids[0] == pids[1] != pids[2]


def test_a_process_that_cannot_be_replaced_fails_its_chunk(skate):
    """Its name was taken still. The chunk was never settled, and `map` waited for ever."""
    with Pool(1, maxtasksperchild=1, ray_remote_args={"name": "the_only_one"}) as pool:
        results = [pool.apply_async(square, (n,)) for n in range(3)]
        for result in results:
            with pytest.raises(ValueError, match="the_only_one"):
                result.get(timeout=30)


def ends_in_time(act):
    """Calls it in a thread, as it may wait for itself for ever."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(10)
    return not thread.is_alive()


def test_a_finalizer_may_use_the_pool_while_a_process_is_replaced(skate, monkeypatch):
    """That was done under the pool's lock, for which the same thread waited for ever."""
    pool = Pool(2, maxtasksperchild=1)
    fresh, values = pool._fresh, []

    class Uses:
        def __del__(self):
            values.append(pool.apply(square, (3,)))

    def make():
        monkeypatch.undo()
        Uses()  # as the collector may at any allocation
        return fresh()

    monkeypatch.setattr(pool, "_fresh", make)
    assert ends_in_time(lambda: pool.apply_async(square, (threading.Lock(),)))
    assert values == [9]
    pool.terminate()


def test_a_finalizer_may_use_the_pool_under_its_lock(skate):
    pool, results = Pool(1), []

    class Uses:
        def __del__(self):
            results.append(pool.apply_async(square, (3,)))

    class Feeders(list):
        def append(self, feeder):
            Uses()
            super().append(feeder)

    pool._feeders = Feeders()
    assert ends_in_time(lambda: results.append(pool.imap(square, [2])))
    assert [results[0].get(timeout=10), *results[1]] == [9, 4]
    pool.terminate()


def test_a_process_that_is_replaced_as_the_pool_is_terminated_ends(skate, monkeypatch):
    pool = Pool(1, maxtasksperchild=1)
    fresh, made = pool._fresh, []

    def make():
        pool.terminate()
        made.append(fresh())
        return made[0]

    monkeypatch.setattr(pool, "_fresh", make)
    with pytest.raises(TypeError, match="cannot pickle"):
        pool.apply(square, (threading.Lock(),))
    with pytest.raises(skate.exceptions.RayActorError):
        skate.get(made[0].actor.ping.remote())
    pool.join()


def test_an_interrupt_while_a_process_is_replaced_costs_no_chunk(skate, monkeypatch):
    """Neither its result came, nor was its slot used again."""
    pool, told = Pool(1, maxtasksperchild=1), []

    def make():
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "_fresh", make)
    with pytest.raises(KeyboardInterrupt):
        pool.apply_async(square, (threading.Lock(),), error_callback=told.append)
    assert [type(error) for error in told] == [TypeError]
    assert pool.apply_async(square, (3,)).get(timeout=10) == 9
    pool.terminate()


def test_a_dead_process_fails_its_calls_and_is_replaced(skate):
    with Pool(1) as pool:
        result = pool.apply_async(os._exit, (3,))
        with pytest.raises(skate.exceptions.RayActorError):
            result.get(timeout=30)
        assert pool.apply(square, (4,)) == 16


def test_close_lets_everything_finish_even_what_nobody_reads(skate, attempts):
    def note(_n):
        with attempts.open("a") as file:
            file.write("x")

    pool = Pool(2)
    pool.imap(note, range(40))
    pool.close()
    pool.join()
    assert attempts.stat().st_size == 40
    for call in (lambda: pool.map(square, [1]), lambda: pool.apply_async(int), pool.__enter__):
        with pytest.raises(ValueError, match="not running"):
            call()


def test_a_callback_cannot_join_while_others_run(skate, gates):
    """It waited in the thread that brings all results: none came any more."""
    early, late = gates("early"), gates("late")
    pool, raised, has_tried = Pool(2), [], threading.Event()

    def join(_value):
        pool.close()
        try:
            pool.join()
        except RuntimeError as error:
            raised.append(str(error))
        has_tried.set()

    other = pool.apply_async(late.read_bytes)
    pool.apply_async(early.read_bytes, callback=join)
    early.write_bytes(b"")
    assert has_tried.wait(10)
    assert "from a callback" in raised[0]
    late.write_bytes(b"")
    assert other.get(timeout=10) == b""
    pool.join()


def test_join_waits_for_who_reads_an_iterable(skate, monkeypatch):
    """Nothing was under way while that hesitated: `join` ended the processes, and the rest of the
    `imap` never came.
    """
    begun, may_go_on = threading.Event(), threading.Event()

    def items():
        yield from range(2)
        begun.set()
        may_go_on.wait(30)
        yield from range(2, 10)

    def read():
        results = pool.imap(square, items())
        return [results.next(timeout=10) for _ in range(10)]

    pool = Pool(1)
    with ThreadPoolExecutor() as readers:
        reading = readers.submit(read)
        assert begun.wait(30)
        pool.close()
        feeder = pool._feeders[0]
        wait_for = feeder._left.wait_for

        def waits(is_left):
            may_go_on.set()
            return wait_for(is_left)

        monkeypatch.setattr(feeder._left, "wait_for", waits)
        pool.join()
        may_go_on.set()
        assert reading.result(timeout=30) == [n * n for n in range(10)]


def test_join_wants_a_closed_pool(pool):
    with pytest.raises(ValueError, match="still running"):
        pool.join()


def test_terminate_fails_what_has_not_ended(skate, gate):
    pool = Pool(1)
    running = pool.apply_async(gate.read_bytes)
    waiting = pool.map_async(square, [1])
    pool.terminate()
    for result in (running, waiting):
        with pytest.raises(RuntimeError, match="terminated"):
            result.get(timeout=10)
    pool.join()


@pytest.mark.parametrize("name", ["imap", "imap_unordered"])
def test_terminate_ends_what_reads_on(skate, gate, name):
    def call(number):
        return number if number < 2 else gate.read_bytes()

    pool = Pool(1)
    results = getattr(pool, name)(call, itertools.count())
    assert [results.next(timeout=10) for _ in range(2)] == [0, 1]
    pool.terminate()
    errors = [str(error) for error in drain(results)]
    assert 1 <= len(errors) <= 10  # of each call that had been asked for
    assert set(errors) == {"the pool was terminated"}
    pool.join()


def test_terminate_reaches_a_reader_that_waits(skate, gate):
    pool = Pool(1)
    results = pool.imap(lambda _: gate.read_bytes(), range(3))
    with ThreadPoolExecutor() as readers:
        reading = readers.submit(lambda: [type(error) for error in drain(results)])
        pool.terminate()
        assert reading.result(timeout=10) == [RuntimeError] * 3


@pytest.mark.parametrize("name", ["imap", "imap_unordered"])
def test_an_interrupt_while_it_is_terminated_leaves_nobody_waiting(skate, gate, name):
    """What had been taken out of its tables was told by nobody, and its processes ran on."""
    files = {pool_module.__file__, results_module.__file__, feeder_module.__file__}

    def is_meant(code):
        return code.co_filename in files and code.co_name != "terminate"

    for place in itertools.count(1):
        pool = Pool(1)
        (slot,) = pool._slots
        called = []
        running = pool.apply_async(gate.read_bytes, error_callback=called.append)
        waiting = pool.map_async(square, [1, 2], chunksize=1, error_callback=called.append)
        results = getattr(pool, name)(square, range(3))
        with (
            contextlib.suppress(KeyboardInterrupt),
            raising(KeyboardInterrupt, place, is_meant) as reached,
        ):
            pool.terminate()
        assert running.ready()
        assert waiting.ready()
        assert 1 <= len(called) <= 2  # the interrupt may come instead of one
        with pytest.raises(skate.exceptions.RayActorError):
            skate.get(slot.actor.ping.remote(), timeout=10)
        assert [str(error) for error in drain(results)] == ["the pool was terminated"] * 3
        pool.join()
        if not reached:
            break
    assert place > 60
    assert len(called) == 2


def test_callbacks_that_exit_end_no_more_than_terminate(skate, gate):
    pool = Pool(1)
    results = [
        pool.apply_async(gate.read_bytes, error_callback=lambda _: sys.exit(3)) for _ in range(5)
    ]
    with pytest.raises(SystemExit):
        pool.terminate()
    assert [result.ready() for result in results] == [True] * 5
    pool.join()


def drain(results):
    """The errors up to the end."""
    while True:
        try:
            results.next(timeout=10)
        except StopIteration:
            return
        except RuntimeError as error:
            yield error


def test_what_is_asked_while_it_is_terminated_fails(skate, monkeypatch):
    pool = Pool(1)
    monkeypatch.setattr(pool, "_check_running", pool.terminate)  # just after the look
    with pytest.raises(RuntimeError, match="terminated"):
        pool.apply_async(square, [2]).get(timeout=10)


def test_a_pool_does_not_travel(pool):
    import pickle

    with pytest.raises(NotImplementedError, match="cannot be passed"):
        pickle.dumps(pool)


@pytest.mark.parametrize(
    "wrong", [{"processes": 0}, {"initializer": 3}, {"maxtasksperchild": 0}], ids=str
)
def test_senseless_arguments_are_refused(skate, wrong):
    with pytest.raises((ValueError, TypeError)):
        Pool(**wrong)


def test_as_many_processes_as_cpus_and_a_session_of_its_own(fresh):
    with Pool() as pool:
        assert fresh.is_initialized()
        assert len(pool._slots) == int(fresh.cluster_resources()["CPU"])
        assert pool.map(square, [3]) == [9]
