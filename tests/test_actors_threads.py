"""An actor with threads serves its calls even if threads were not to be had at first.

When the first thread of a concurrency group could not be started, nobody tried again, for that
group and those after it: their calls waited for ever.
"""

import _thread
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
