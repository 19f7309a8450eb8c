"""What belongs to a task before its code begins, and when it has ended: unpickling, output."""

import contextlib
import io
import os
import sys
import time

import pytest


class Unpickled:
    """Made anew, in the worker, by calling that."""

    def __init__(self, load, *args):
        self.load, self.args = load, args

    def __reduce__(self):
        return self.load, self.args


def with_captured(captured):
    def function():
        return captured

    return function


def test_cancel_while_output_is_flushed_harms_no_worker(fresh, gates):
    # KeyboardInterrupt was raised there, and ended the process with a traceback.
    fresh.init(num_cpus=1)
    started, go = gates("started"), gates("go")

    @fresh.remote(max_retries=0)
    def task(started, go):
        class Slow(io.StringIO):
            def flush(self):
                sys.stdout = sys.__stdout__
                started.write_bytes(f"{os.getpid()}".encode())
                go.read_bytes()

        print("something to flush", end="")
        sys.stdout = Slow()

    ref = task.remote(started, go)
    pid = int(started.read_bytes())
    fresh.cancel(ref)
    go.write_bytes(b"")
    with contextlib.suppress(fresh.exceptions.TaskCancelledError):
        fresh.get(ref)
    assert fresh.get(fresh.remote(lambda: os.getpid()).remote()) == pid


def test_cancel_while_the_function_is_unpickled_ends_the_task(fresh, gate):
    # Which imports modules, and may take long. The task ran to its end.
    fresh.init(num_cpus=1)

    def load(gate):
        gate.read_bytes()
        while True:  # not `Event.wait`, in which the interrupt may become a RuntimeError
            time.sleep(0.02)

    ref = fresh.remote(with_captured(Unpickled(load, gate))).remote()
    gate.write_bytes(b"")
    fresh.cancel(ref)
    with pytest.raises(fresh.exceptions.TaskCancelledError):
        fresh.get(ref)
    assert fresh.get(fresh.remote(with_captured("next")).remote()) == "next"


def test_unpickling_may_wait_for_a_task(fresh):
    # It belonged to no task, so its CPU, the only one, was not lent.
    fresh.init(num_cpus=1)

    def load():
        import skate

        return skate.get(skate.remote(with_captured("waited for")).remote())

    assert fresh.get(fresh.remote(with_captured(Unpickled(load))).remote()) == "waited for"


@pytest.mark.parametrize("name", [None, "named"])
def test_unpickling_knows_its_task(fresh, name):
    fresh.init(num_cpus=1)

    def load():
        context = fresh.get_runtime_context()
        return context.get_task_name(), context.get_task_id()

    ref = fresh.remote(with_captured(Unpickled(load))).options(name=name).remote()
    assert fresh.get(ref) == (name or "function", ref.task_id().hex())


@pytest.mark.parametrize("kind", ["in turn", "threads", "loop"])
def test_unpickling_of_a_class_may_wait_for_a_task(fresh, kind):
    fresh.init(num_cpus=1)

    def load():
        import skate

        return skate.get(skate.remote(with_captured("waited for")).remote())

    captured = Unpickled(load)

    class Plain:
        def method(self):
            return captured

    class Loop:
        async def method(self):
            return captured

    cls = fresh.remote(Loop if kind == "loop" else Plain)
    actor = cls.options(num_cpus=1, max_concurrency=2 if kind == "threads" else None).remote()
    assert fresh.get(actor.method.remote(), timeout=60) == "waited for"
