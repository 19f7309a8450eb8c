"""An actor with threads or loops serves its calls even if threads were not to be had at first.

When the first thread of a concurrency group could not be started, nobody tried again, for that
group and those after it: their calls waited for ever. An async actor crashed.
"""

import _thread
import asyncio
import os
import threading

import pytest

from skate import _actor_worker


class Serving:
    """Stands for the native one: an actor of two groups, which leaves when both are served."""

    lanes = 2
    is_loop = False

    def __init__(self):
        self.served = threading.Barrier(3)

    def serve(self, _lane, _spawn):
        self.served.wait(20)

    def wait(self):
        try:
            self.served.wait(5)
        except threading.BrokenBarrierError:
            return 1
        return 0


@pytest.mark.parametrize("starts", [(threading.Thread, "start"), (_thread, "start_new_thread")])
@pytest.mark.parametrize("failures", [1, 2])
def test_thread_that_cannot_be_started_is_started_later(monkeypatch, capfd, starts, failures):
    module, name = starts
    start = getattr(module, name)
    left = iter(range(failures))

    def fails_first(*args):
        if next(left, None) is not None:
            raise RuntimeError("can't start new thread")
        return start(*args)

    monkeypatch.setattr(module, name, fails_first)
    monkeypatch.setattr(_actor_worker, "RETRY_S", 0)
    assert _actor_worker.serve(Serving()) == 0
    assert capfd.readouterr().err.count("RuntimeError: can't start new thread") == failures


class Loops(Serving):
    """The same, with loops instead of threads."""

    is_loop = True

    def __init__(self):
        self.bells = [os.eventfd(0) for _ in range(self.lanes)]
        self.looked = set()

    def use_loop(self, lane, _variable):
        return self.bells[lane]

    def take(self, lane):
        if lane not in self.looked:
            self.looked.add(lane)
            for bell in self.bells:
                os.eventfd_write(bell, 1)
        return [], [], len(self.looked) == self.lanes

    def leave(self, _code):
        pass

    def wait(self):
        return 0


@pytest.fixture
def loops(monkeypatch):
    """An actor with loops, which a process would take with it when it ends."""
    made = []

    class Noted(asyncio.SelectorEventLoop):
        def __init__(self, selector):
            super().__init__(selector)
            made.append(self)

    monkeypatch.setattr(asyncio, "SelectorEventLoop", Noted)
    serving = Loops()
    yield serving
    asyncio.set_event_loop(None)
    for loop in made:
        loop.close()
    for bell in serving.bells:
        os.close(bell)


@pytest.mark.parametrize("when", ["before it runs", "once it runs"])
def test_thread_of_a_loop_that_cannot_be_started_is_started_later(monkeypatch, capfd, loops, when):
    # "Once it runs" it is a signal's handler that raises, and there are two threads for a while.
    start, left = threading.Thread.start, iter(range(2))

    def fails_first(thread):
        if next(left, None) is None:
            start(thread)
            return
        if when == "once it runs":
            start(thread)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fails_first)
    monkeypatch.setattr(_actor_worker, "RETRY_S", 0)
    assert _actor_worker.serve(loops) == 0
    failures = capfd.readouterr().err.count("RuntimeError: can't start new thread")
    assert failures == 2 if when == "before it runs" else 1 <= failures <= 2
