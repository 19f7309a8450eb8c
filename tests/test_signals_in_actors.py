"""Handlers of signals that an actor's code installs run while it idles, too, and do not end it."""

import os
import signal

import pytest

from skate import _actor_worker, _worker

PRELOAD = ["pytest"]

pytestmark = pytest.mark.processes("signals are sent to actors")


class Actor:
    def __init__(self, told, error=None):
        self.told, self.error, self.signals = told, error, 0
        signal.signal(signal.SIGUSR1, self.handle)

    def handle(self, *_):
        self.signals += 1
        self.told.write_bytes(b"")
        if self.error:
            raise self.error

    def state(self):
        return os.getpid(), self.signals


class Loop(Actor):
    async def state(self):
        return super().state()


KINDS = {"in turn": (Actor, 1), "threads": (Actor, 4), "loop": (Loop, 4)}


@pytest.mark.parametrize("kind", KINDS)
def test_handler_runs_while_the_actor_idles(skate, gate, kind):
    """With threads the main one slept, and no handler ever ran."""
    cls, concurrency = KINDS[kind]
    actor = skate.remote(max_concurrency=concurrency)(cls).remote(gate)
    pid, _ = skate.get(actor.state.remote())
    for _ in range(2):
        os.kill(pid, signal.SIGUSR1)
        gate.read_bytes()
    assert skate.get(actor.state.remote()) == (pid, 2)


@pytest.mark.parametrize("kind", ["in turn", "threads"])
def test_handler_that_raises_does_not_end_an_actor_that_idles(skate, gates, kind):
    """A timer left by an earlier call took the actor's state with it.

    With threads the first signal comes while the main one is on its way to its sleep.
    """
    cls, concurrency = KINDS[kind]
    make = skate.remote(max_concurrency=concurrency)(cls)
    for number in range(12 if kind == "threads" else 3):
        gate = gates(f"gate {number}")
        actor = make.remote(gate, TimeoutError("late"))
        pid, _ = skate.get(actor.state.remote())
        for count in (1, 2):
            os.kill(pid, signal.SIGUSR1)
            gate.read_bytes()
            assert skate.get(actor.state.remote()) == (pid, count)


@pytest.mark.parametrize("kind", ["in turn", "threads"])
def test_handler_may_end_the_process(skate, gate, kind):
    cls, concurrency = KINDS[kind]
    actor = skate.remote(max_concurrency=concurrency)(cls).remote(gate, SystemExit(3))
    pid, _ = skate.get(actor.state.remote())
    os.kill(pid, signal.SIGUSR1)
    gate.read_bytes()
    with pytest.raises(skate.exceptions.ActorDiedError):
        while True:
            skate.get(actor.state.remote())


class Interrupted:
    """A handler raises as skate begins to ask what to do with the error of a call."""

    def __init__(self, asks):
        module = _actor_worker if asks == "way_out" else _worker
        real = getattr(module, asks)

        def interrupted(*_):
            setattr(module, asks, real)
            raise TimeoutError("a handler's own")

        setattr(module, asks, interrupted)
        self.calls = 0

    def fail(self):
        self.calls += 1
        raise KeyError("its own")

    def state(self):
        return self.calls


class InterruptedLoop(Interrupted):
    async def fail(self):
        return super().fail()


@pytest.mark.parametrize("asks", ["way_out", "is_retryable"])
@pytest.mark.parametrize("cls", [Interrupted, InterruptedLoop])
def test_handler_that_raises_as_a_call_has_failed(skate, cls, asks):
    """A call of an async actor never ended; the process of another one did."""
    actor = skate.remote(max_task_retries=1)(cls).remote(asks)
    failing = actor.fail.options(retry_exceptions=[KeyError]).remote()
    with pytest.raises(KeyError, match="its own"):
        skate.get(failing, timeout=20)
    assert skate.get(actor.state.remote()) == 2
