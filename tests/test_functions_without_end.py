"""Functions and classes that a program makes again and again: they work, and leave nothing."""

import gc
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from skate import _latest

PRELOAD = ["pytest"]
MANY = 600  # of those that nobody holds some hundred are kept
# Twice what is held: by a function and an actor's methods the latest so many each.
KEPT = 4 * _latest.MOST + 50


def make(number):
    def function():
        return number

    return function


def make_many(skate, first=0):
    """Makes and calls so many that what nobody holds is taken back."""
    for start in range(first, first + MANY, 100):
        refs = [skate.remote(make(number)).remote() for number in range(start, start + 100)]
        assert skate.get(refs) == list(range(start, start + 100))


def resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_thousands_leave_nothing_in_the_driver_and_the_workers(fresh):
    """Each left 1.4 KB in the driver and 2.7 KB in the worker: 17 MB here."""
    fresh.init(num_cpus=1)
    pid = fresh.get(fresh.remote(lambda: os.getpid()).remote())
    make_many(fresh)
    gc.collect()
    pids = {os.getpid(), pid}  # one in local mode
    before = sum(map(resident, pids))
    for number in range(7):
        make_many(fresh, (number + 1) * MANY)
    gc.collect()
    assert fresh.statistics().templates <= KEPT
    assert sum(map(resident, pids)) - before < 9_000_000


def test_options_without_end_leave_nothing(fresh):
    """Each stayed with its function, and so with the node: 2.5 KB there and 2 KB in each worker."""
    fresh.init(num_cpus=1)
    function = fresh.remote(make("result"))

    @fresh.remote
    class Actor:
        def method(self):
            return "result"

    actor = Actor.remote()
    for number in range(MANY):
        refs = [
            function.options(num_cpus=number / 10_000).remote(),
            actor.method.options(max_task_retries=number).remote(),
        ]
        assert fresh.get(refs) == ["result"] * 2
    assert fresh.statistics().templates <= KEPT


def test_one_that_is_held_is_called_again(skate):
    held = skate.remote(make("held"))
    assert skate.get(held.remote()) == "held"
    make_many(skate)
    assert skate.get(held.remote()) == "held"


def test_one_that_was_dropped_is_made_again(skate):
    assert skate.get(skate.remote(make("again")).remote()) == "again"
    make_many(skate)
    assert skate.get([skate.remote(make("again")).remote() for _ in range(20)]) == ["again"] * 20


@pytest.mark.processes("the task waits for the test")
def test_tasks_outlive_the_functions_that_they_are_calls_of(fresh, gate):
    fresh.init(num_cpus=1)

    @fresh.remote
    def wait():
        gate.read_bytes()
        return "waited"

    first = wait.remote()
    queued = [fresh.remote(make(f"queued {place}")).remote() for place in range(MANY)]
    del wait
    # Each of these makes room among what is known.
    for place in range(MANY):
        fresh.remote(make(f"dropped {place}")).options(name="x").remote()
    gate.write_bytes(b"")
    assert fresh.get(first) == "waited"
    assert fresh.get(queued) == [f"queued {place}" for place in range(MANY)]


@pytest.mark.processes("a worker is killed")
def test_a_task_whose_function_was_dropped_is_run_again(skate, attempts, gate):
    def die_once():
        with attempts.open("ab") as file:
            file.write(b"x")
        if attempts.stat().st_size == 1:
            gate.read_bytes()
            os.kill(os.getpid(), signal.SIGKILL)
        return attempts.stat().st_size

    ref = skate.remote(max_retries=1)(die_once).remote()
    make_many(skate)
    gate.write_bytes(b"")
    assert skate.get(ref) == 2


@pytest.mark.processes("the actor's process is killed")
def test_an_actor_whose_class_was_dropped_is_started_again(skate):
    class Counter:
        def __init__(self):
            self.count = 0

        def add(self):
            self.count += 1
            return self.count, os.getpid()

    actor = skate.remote(max_restarts=1, max_task_retries=1)(Counter).remote()
    count, pid = skate.get(actor.add.remote())
    del Counter
    make_many(skate)
    os.kill(pid, signal.SIGKILL)
    count, other = skate.get(actor.add.remote())
    assert (count, other != pid) == (1, True)


def test_a_task_makes_functions_without_end(fresh):
    fresh.init(num_cpus=2)

    @fresh.remote
    def outer(rounds):
        total = 0
        for number in range(rounds):
            total += fresh.get(fresh.remote(make(number)).remote())
        return total

    assert fresh.get(outer.remote(2 * MANY)) == sum(range(2 * MANY))
    assert fresh.statistics().templates <= KEPT


@pytest.mark.processes("workers die")
def test_what_a_worker_made_goes_with_it(fresh):
    fresh.init(num_cpus=2)

    @fresh.remote(max_retries=0)
    def leave():
        fresh.get([fresh.remote(make(number)).remote() for number in range(100)])
        os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(5):
        with pytest.raises(fresh.exceptions.WorkerCrashedError):
            fresh.get(leave.remote())
    assert fresh.statistics().templates <= 100


class AtDrop:
    """Calls that when it is dropped, in the worker that unpickled it."""

    def __init__(self, act, *args, driver=None):
        self.act, self.args, self.driver = act, args, driver or os.getpid()

    def __reduce__(self):
        return partial(type(self), driver=self.driver), (self.act, *self.args)

    def __del__(self):
        if os.getpid() != self.driver:
            self.act(*self.args)

    def captured(self):
        """A function that has it."""
        return lambda: self.driver and os.getpid()


def use_skate(directory):
    import skate

    value = skate.get(skate.put(os.getpid()))
    (directory / f"dropped by {value}").touch()


@pytest.mark.processes("what is dropped there has a destructor")
def test_what_is_dropped_in_the_worker_may_use_skate(fresh, tmp_path):
    fresh.init(num_cpus=1)
    pid = fresh.get(fresh.remote(AtDrop(use_skate, tmp_path).captured()).remote())
    make_many(fresh)
    make_many(fresh, MANY)
    assert [path.name for path in tmp_path.iterdir()] == [f"dropped by {pid}"]


def wait_for_a_task(path):
    import skate

    path.write_text(skate.get(skate.remote(make("waited for")).remote()))


@pytest.mark.processes("what is dropped there has a destructor")
def test_what_is_dropped_may_wait_for_a_task(fresh, tmp_path):
    """It belonged to no task, so its CPU, the only one, was not lent."""
    fresh.init(num_cpus=1)
    fresh.get(fresh.remote(AtDrop(wait_for_a_task, tmp_path / "told").captured()).remote())
    make_many(fresh)
    make_many(fresh, MANY)
    assert (tmp_path / "told").read_text() == "waited for"


def take_long(begun):
    begun.read_bytes()
    while True:  # not `Event.wait`, in which the interrupt may become a RuntimeError
        time.sleep(0.02)


@pytest.mark.processes("what is dropped there has a destructor")
def test_a_cancel_meanwhile_ends_the_task(fresh, gate, attempts):
    """Its exception ends in the destructor, and the task went on to its end."""
    fresh.init(num_cpus=1)

    @fresh.remote
    def task():
        attempts.write_bytes(b"x")

    fresh.get(fresh.remote(AtDrop(take_long, gate).captured()).remote())
    for number in range(MANY):  # without a run, so that it is dropped with the next one
        fresh.remote(make(number))._bind()
    ref = task.remote()
    gate.write_bytes(b"")
    fresh.cancel(ref)
    with pytest.raises(fresh.exceptions.TaskCancelledError):
        fresh.get(ref)
    assert attempts.stat().st_size == 0


def test_large_functions_are_taken_back_sooner(fresh):
    """Some hundred of them were kept, whatever their size."""
    fresh.init(num_cpus=1)
    for number in range(60):
        assert fresh.get(fresh.remote(make(bytes([number]) * 1_000_000)).remote())[0] == number
    assert fresh.statistics().templates < 40


@pytest.mark.processes("local mode has no node that would be busy meanwhile")
def test_thousands_are_taken_back_a_few_at_a_time(fresh):
    """All at once kept the driver's other threads from the node: 100,000 for 1.1 s."""
    fresh.init(num_cpus=1)
    held = [fresh.remote(make(number)) for number in range(3 * MANY)]
    for function in held:
        function._bind()
    del function, held
    known, taken_back = fresh.statistics().templates, []
    for number in range(MANY):
        fresh.remote(make(("new", number)))._bind()
        taken_back.append(known + 1 - fresh.statistics().templates)
        known = fresh.statistics().templates
    assert known <= MANY
    assert max(taken_back) <= 64


@pytest.mark.processes("local mode unpickles nothing")
def test_what_large_functions_took_goes_back_to_the_system(fresh):
    """The worker's allocator kept 20 MB of it."""
    fresh.init(num_cpus=1)

    def make_large(number):
        values = [bytes([number]) * 1_000 for _ in range(2_000)]
        return lambda: (len(values), os.getpid())

    _, pid = fresh.get(fresh.remote(make_large(255)).remote())
    with_one = resident(pid)
    for number in range(40):
        assert fresh.get(fresh.remote(make_large(number)).remote()) == (2_000, pid)
    make_many(fresh)
    assert resident(pid) - with_one < 10_000_000


@pytest.mark.processes("threads")
def test_threads_make_the_same_and_others_at_once(skate):
    wrong = []

    def work(own):
        for number in range(300):
            mine, ours = skate.remote(make((own, number))), skate.remote(make(number))
            found = skate.get([mine.remote(), ours.remote(), ours.remote()])
            if found != [(own, number), number, number]:
                wrong.append((own, number, found))

    threads = [threading.Thread(target=work, args=(own,)) for own in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_function_that_asks_for_a_removed_group_for_the_first_time_fails(skate):
    """It waited for ever: only what had asked before was told."""
    group = skate.util.placement_group([{"CPU": 1}])
    skate.get(group.ready())
    skate.util.remove_placement_group(group)
    strategy = skate.util.scheduling_strategies.PlacementGroupSchedulingStrategy(group)
    for cpus in (0, 0.25, 1):
        late = skate.remote(num_cpus=cpus, scheduling_strategy=strategy)(make(1))
        with pytest.raises(skate.exceptions.TaskPlacementGroupRemoved):
            skate.get(late.remote(), timeout=60)

    @skate.remote(num_cpus=0.125, scheduling_strategy=strategy)
    class Late:
        def call(self):
            return 1

    with pytest.raises(skate.exceptions.ActorDiedError, match="its placement group was removed"):
        skate.get(Late.remote().call.remote(), timeout=60)


def test_groups_without_end_are_removed_once(skate):
    """In local mode one that was removed again, long after, was taken for the oldest: KeyError."""

    def make_and_remove(count):
        for _ in range(count):
            skate.util.remove_placement_group(skate.util.placement_group([{"CPU": 1}]))

    first = skate.util.placement_group([{"CPU": 1}])
    skate.util.remove_placement_group(first)
    make_and_remove(1_100)
    skate.util.remove_placement_group(first)
    make_and_remove(1_100)
    assert len(skate.util.placement_group_table()) <= 1_001
