"""A call finds the template of the session that it has seen, whenever the next one begins.

A call that had read the template of the ended session believed it to be one of the next.
"""

import sys
from types import SimpleNamespace

import pytest

from skate import _actor_handle, _remote_function


class Template(SimpleNamespace):
    """It says of which session it is when it is called."""

    def submit(self, _args, _kwargs, _name):
        return self.client


class Sessions:
    """In place of `_session`: which one is current, and which one a call has seen."""

    def __init__(self):
        self.now = self.seen = SimpleNamespace(is_driver=True)

    @property
    def caching(self):
        self.seen = self.now
        return self.now

    client = caching

    def connect(self):
        return self.caching

    def of(self, _):
        return self.caching

    def start_helper(self, client):
        pass


def a_function(patch):
    patch.setattr(
        _remote_function.Definition, "template", lambda _, client, __: Template(client=client)
    )
    return _remote_function.remote(lambda: None)


def a_method(_):
    ref = SimpleNamespace(submit=lambda template, *_: template.client)
    whole = SimpleNamespace(
        max_pending_calls=0, template=lambda client, *_: Template(client=client)
    )
    spec = SimpleNamespace(options={}, least=0, most=0)
    return _actor_handle.ActorMethod(ref, whole, spec, {})


def call_with(act, at, code, call):
    """Calls, and acts before the instruction with that number; None if there are not so many."""
    before, count = sys.gettrace(), 0

    def trace(frame, event, _):
        nonlocal count
        if frame.f_code is not code:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            count += 1
            if count == at:
                act()
        return trace

    sys.settrace(trace)
    try:
        result = call()
    finally:
        sys.settrace(before)
    return result if count >= at else None


@pytest.mark.parametrize("make", [a_function, a_method])
def test_the_next_session_begins_at_any_instruction_of_a_call(monkeypatch, make):
    called, sessions = make(monkeypatch), Sessions()
    for module in (_remote_function, _actor_handle):
        monkeypatch.setattr(module, "_session", sessions)

    def begin_another():
        sessions.now = SimpleNamespace(is_driver=True)
        called._bind()  # by a call of another thread
        sessions.seen = None  # nothing yet, by this one

    for at in range(1, 1000):
        called.remote()
        used = call_with(begin_another, at, type(called).remote.__code__, called.remote)
        if used is None:
            break
        assert used is sessions.seen or (sessions.seen is None and used is not sessions.now)
    assert at > 10
