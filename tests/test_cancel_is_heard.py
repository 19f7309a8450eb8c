"""A cancel reaches the code of a running task whatever that does just then.

Python looks for signals between two instructions: not when a system call begins just after one, and
not while a generator hands on what C code yields.
"""

import contextlib
import functools
import hashlib
import itertools
import operator
import os
import signal
import threading
import time
import weakref

import pytest

from skate._output import Labelled

pytestmark = pytest.mark.processes("in one, only what yields is interrupted")


def a_pipe():
    return functools.partial(os.read, os.pipe()[0], 1)


def a_lock():
    lock = threading.Lock()
    lock.acquire()
    return lock.acquire


@pytest.mark.parametrize("blocker", [a_pipe, a_lock])
def test_signal_just_before_a_system_call_ends_it(skate, gate, attempts, blocker):
    """One in thousands was lost, and its task waited for ever. Here the signal comes in C code."""

    @skate.remote
    def task():
        steps = [
            functools.partial(os.close, os.open(gate, os.O_WRONLY)),
            functools.partial(hashlib.pbkdf2_hmac, "sha1", b"", b"", 1_000_000),  # not to be ended
            blocker(),
        ]
        try:
            list(map(operator.call, steps))
        finally:
            time.sleep(0.1)  # the end of which a second interrupt would take away
            with attempts.open("ab") as file:
                file.write(b"x")

    ref = task.remote()
    gate.read_bytes()
    skate.cancel(ref)
    with pytest.raises(skate.exceptions.TaskCancelledError):
        skate.get(ref, timeout=30)
    assert attempts.stat().st_size == 1


@pytest.mark.parametrize("mode", ["streaming", "dynamic"])
def test_generator_that_hands_on_what_c_code_yields_is_interrupted(skate, attempts, mode):
    """It yielded all of it, and knew of no cancel."""

    @skate.remote(num_returns=mode)
    def items():
        try:
            yield from itertools.count()
        except KeyboardInterrupt:
            with attempts.open("ab") as file:
                file.write(b"x")
            raise

    made = items.remote()
    stream = made if mode == "streaming" else skate.get(made)
    assert skate.get(next(stream)) == 0
    skate.cancel(made)
    with pytest.raises(skate.exceptions.TaskCancelledError):
        for at, ref in enumerate(stream, 1):
            assert skate.get(ref) == at
    assert attempts.stat().st_size == 1


def test_what_it_yields_when_it_is_interrupted_is_read(skate):
    @skate.remote
    def items():
        try:
            yield from itertools.count()
        except KeyboardInterrupt:
            yield "caught"
        yield from range(3)

    stream = items.remote()
    assert skate.get(next(stream)) == 0
    skate.cancel(stream)
    values = [skate.get(ref) for ref in stream]
    at = values.index("caught")
    assert values == [*range(1, at + 1), "caught", 0, 1, 2]


def finalized(finalize):
    class Finalized:
        def __del__(self):
            finalize()

    return Finalized()


def watched(finalize):
    class Watched:
        pass

    made = Watched()
    kept.append(weakref.ref(made, lambda _: finalize()))
    return made


def closed(finalize):
    def items():
        try:
            yield
        finally:
            finalize()

    made = items()
    next(made)
    return made


kept = []  # weak references, without which their callbacks are not called


@pytest.mark.parametrize("make", [finalized, watched, closed])
def test_interrupt_that_a_finalizer_swallows_is_raised_after_it(skate, gate, attempts, make):
    """Python prints it and goes on, and so did the task. Finalizers that follow run whole."""

    @skate.remote
    def task():
        interrupted = []

        def finalize():
            if not interrupted:
                interrupted.append(True)
                gate.write_bytes(b"")
                while True:
                    time.sleep(1)
            with attempts.open("ab") as file:
                file.write(b"x")

        made = [make(finalize) for _ in range(4)]
        made.clear()
        kept.clear()
        return "ran to its end"

    ref = task.remote()
    gate.read_bytes()
    skate.cancel(ref)
    with pytest.raises(skate.exceptions.TaskCancelledError):
        skate.get(ref)
    assert attempts.stat().st_size == 3
    assert skate.get(skate.remote(lambda: 1).remote()) == 1


def test_what_swallowed_an_interrupt_can_be_interrupted_in_the_next_task(fresh, gate):
    """It may be any code, such as a generator's that was dropped, and was spared ever after."""
    fresh.init(num_cpus=1)

    @fresh.remote
    def task(number):
        def waits():
            gate.write_bytes(b"")
            while True:
                time.sleep(1)

        def items():
            try:
                yield
                waits()
            finally:
                if number == 1:
                    waits()

        made = items()
        next(made)
        if number == 1:
            del made
            kept.clear()  # a call, after which Python looks for signals
        else:
            next(made)

    for number in (1, 2):
        ref = task.remote(number)
        gate.read_bytes()
        fresh.cancel(ref)
        with pytest.raises(fresh.exceptions.TaskCancelledError):
            fresh.get(ref, timeout=10)


def test_what_runs_where_an_interrupt_waits_looks_no_further_down(skate, gate, attempts):
    """At each turn of a loop the whole stack was walked: 117 us for a stack of 500 frames."""

    @skate.remote
    def task():
        spared = Labelled.write.__code__

        class Spared:
            f_code = spared

            @property
            def f_back(self):
                attempts.write_bytes(b"x")

        try:
            gate.write_bytes(b"")
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            with contextlib.suppress(KeyboardInterrupt):  # it waits no longer than the call
                signal.getsignal(signal.SIGINT)(signal.SIGINT, Spared())
            raise

    ref = task.remote()
    gate.read_bytes()
    skate.cancel(ref)
    with pytest.raises(skate.exceptions.TaskCancelledError):
        skate.get(ref)
    assert attempts.stat().st_size == 0


def test_the_wakeup_descriptor_is_left_to_programs(skate):
    """Trio warns when somebody has it, and who has its own would get no signal by that of skate."""
    assert skate.get(skate.remote(lambda: signal.set_wakeup_fd(-1)).remote()) == -1
