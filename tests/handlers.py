"""Handlers of signals that raise, at each place in turn where Python runs them.

Invariant: a place is where a function begins, or where a call that it makes has returned. In
between Python runs none, but where a loop begins anew, which such a call precedes in these tests.
"""

import contextlib
import dis
import functools
import itertools
import sys
import threading

_RUN_AFTER = {"RESUME", "CALL", "CALL_KW", "CALL_FUNCTION_EX"}


@functools.cache
def _places(code):
    steps = itertools.pairwise(dis.get_instructions(code))
    return frozenset(after.offset for step, after in steps if step.opname in _RUN_AFTER)


@contextlib.contextmanager
def raising(error, at, is_meant, is_spared=lambda _: False):
    """Raises at the place of that number in code that is meant, unless that frame is spared.

    Gives a list that stays empty if there are not so many places.
    """
    reached = []
    left = at

    def trace(frame, event, _):
        nonlocal left
        if not is_meant(frame.f_code):
            return None
        if event == "opcode" and frame.f_lasti in _places(frame.f_code):
            left -= 1
            if left == 0:
                reached.append(at)
                if not is_spared(frame):
                    raise error
        frame.f_trace_opcodes = True
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield reached
    finally:
        sys.settrace(before)


@contextlib.contextmanager
def second_interrupt(monkeypatch):
    """In the sleep of a condition, and again as it takes its lock back, if that is by Python."""

    class Lock:
        """What a condition sleeps in: it is taken, and then waited for."""

        def __init__(self):
            self.is_taken = False

        def acquire(self):
            if self.is_taken:
                raise KeyboardInterrupt
            self.is_taken = True

        def release(self):
            pass

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading, "_allocate_lock", Lock)
        patch.setattr(threading.Condition, "_acquire_restore", interrupt)
        yield
