"""A pickle that skate does not see keeps what it names for the session; one that it sees, too.

A ref that a task had pickled by itself was kept by the worker's own ledger: when that worker was
gone, whoever loaded the pickle was killed for holding what is not there. So was a worker one of
whose threads read a dynamic generator while another put it into the store.
"""

import os
import pickle
import select
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest


def end_of(pid):
    """Kills a worker, and returns when it is gone."""
    process = os.pidfd_open(pid)
    signal.pidfd_send_signal(process, signal.SIGKILL)
    select.select([process], [], [])
    os.close(process)


@pytest.fixture(scope="module")
def load(skate):
    @skate.remote(max_retries=0)
    def load(pickled, use):
        return use(skate, pickle.loads(pickled))

    return load


def value_of(skate, ref):
    return skate.get(ref)


def items_of(skate, generator):
    return skate.get(list(generator))


def call_of(skate, actor):
    return skate.get(actor.method.remote())


def test_ref_outlives_the_worker_that_pickled_it(skate, load):
    @skate.remote(max_retries=0)
    def make():
        return pickle.dumps(skate.put({"a": 1})), os.getpid()

    pickled, pid = skate.get(make.remote())
    assert skate.get(load.remote(pickled, value_of)) == {"a": 1}
    end_of(pid)
    assert skate.get(load.remote(pickled, value_of)) == {"a": 1}
    assert skate.get(pickle.loads(pickled)) == {"a": 1}


def test_generator_outlives_the_worker_that_pickled_it(skate, load):
    @skate.remote(num_returns="dynamic")
    def items():
        yield from range(3)

    @skate.remote(max_retries=0)
    def make():
        return pickle.dumps(skate.get(items.remote())), os.getpid()

    pickled, pid = skate.get(make.remote())
    end_of(pid)
    assert skate.get(load.remote(pickled, items_of)) == [0, 1, 2]
    assert skate.get(list(pickle.loads(pickled))) == [0, 1, 2]


def test_actor_outlives_the_worker_that_pickled_its_handle(skate, load):
    @skate.remote(num_cpus=0)
    class Actor:
        def method(self):
            return "method"

    @skate.remote(max_retries=0)
    def make():
        actor = Actor.remote()
        skate.get(actor.method.remote())
        return pickle.dumps(actor), os.getpid()

    pickled, pid = skate.get(make.remote())
    end_of(pid)
    assert skate.get(load.remote(pickled, call_of)) == "method"
    assert call_of(skate, pickle.loads(pickled)) == "method"


class Slow:
    """Pickled slowly: meanwhile another thread goes on."""

    def __init__(self, begun, go):
        self.begun, self.go = begun, go

    def __reduce__(self):
        self.begun.set()
        self.go.wait()
        return str, ()


@pytest.mark.parametrize("is_over", [True, False], ids=["over", "under way"])
@pytest.mark.parametrize("where", ["in a task", "in the driver"])
def test_generator_is_read_while_it_is_pickled(skate, where, is_over):
    @skate.remote(num_returns="dynamic")
    def items():
        yield from range(5)

    def put_and_read():
        generator = skate.get(items.remote())
        assert not is_over or len(generator) == 5  # once it is, `next` need not ask the node
        begun, go = threading.Event(), threading.Event()

        def read():
            begun.wait()
            read_items.extend(skate.get([next(generator) for _ in range(3)]))
            skate.put(0)  # sends what has gathered
            go.set()

        read_items = []
        reader = threading.Thread(target=read)
        reader.start()
        ref = skate.put((generator, Slow(begun, go)))
        reader.join()
        return read_items, skate.get(list(skate.get(ref)[0]))

    task = skate.remote(max_retries=0)(put_and_read)
    outcome = skate.get(task.remote()) if where == "in a task" else put_and_read()
    assert outcome == ([0, 1, 2], [0, 1, 2, 3, 4])


def copy_by_put(skate, generator):
    return skate.get(skate.put([generator]))[0]


def copy_by_hand(_skate, generator):
    return pickle.loads(pickle.dumps(generator))


@pytest.mark.parametrize("copy", [copy_by_put, copy_by_hand])
@pytest.mark.parametrize("where", ["in a task", "in the driver"])
def test_generator_is_pickled_while_an_answer_to_next_is_on_its_way(skate, where, copy):
    @skate.remote(num_returns="dynamic", num_cpus=0)
    def items():
        yield 0
        time.sleep(0.2)
        yield 1
        yield 2

    def read_and_copy():
        generator = skate.get(items.remote())
        assert skate.get(next(generator)) == 0
        with ThreadPoolExecutor() as pool:
            reads = pool.submit(next, generator)
            time.sleep(0.05)  # most likely it waits by now; if not, it is an easier case
            interval = sys.getswitchinterval()
            try:
                sys.setswitchinterval(1000)  # it cannot have the interpreter until this one waits
                until = time.monotonic() + 0.3
                while time.monotonic() < until:
                    pass
                copied = copy(skate, generator)
            finally:
                sys.setswitchinterval(interval)
            assert skate.get(reads.result()) == 1
        rest = skate.get(list(generator))
        return rest, skate.get(list(copied))

    task = skate.remote(max_retries=0)(read_and_copy)
    rest, copied = skate.get(task.remote()) if where == "in a task" else read_and_copy()
    assert rest == [2]
    assert copied in ([1, 2], [2])
