"""The helper thread is one for each session, whatever comes while it is started.

Two read one mailbox and took each other's letters, so futures never became ready.
"""

import logging
import re
import sys
import threading
from types import SimpleNamespace

import pytest

from skate import _helper, _session


@pytest.fixture
def session(fresh):
    fresh.init(num_cpus=1)
    return fresh


@pytest.fixture
def started(monkeypatch):
    """The helpers' threads that were started."""
    threads = []

    class Noted(threading.Thread):
        def start(self):
            super().start()
            threads.append(self)

    monkeypatch.setattr(threading, "Thread", Noted)
    return threads


def interrupted_wait():
    """What becomes of a Ctrl-C just as the wait of an `Event` has released its lock."""
    event = threading.Event()

    def release():
        event._cond.release()
        raise KeyboardInterrupt

    event._cond._release_save = release
    event.wait()


@pytest.mark.parametrize("when", ["before it runs", "once it runs", "while that is awaited"])
def test_ctrl_c_while_it_is_started(session, started, monkeypatch, when):
    # While that is awaited it was told as a limit of threads.
    class Interrupted(threading.Thread):
        def start(self):
            if when != "before it runs":
                super().start()
            if when == "while that is awaited":
                interrupted_wait()
            raise KeyboardInterrupt

    ref = session.put(1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(threading, "Thread", Interrupted)
        ref.future()
    assert [ref.future().result(20) for _ in range(3)] == [1, 1, 1]
    if when != "before it runs":
        assert len(started) == 2
        started[1].join(1)
    assert sum(each.is_alive() for each in started) == 1


def test_who_was_held_up_since_an_ended_session(session, started):
    old = _session.client
    session.shutdown()
    session.init(num_cpus=1)
    ref = session.put(1)
    assert ref.future().result(20) == 1
    _session.start_helper(old)
    assert ref.future().result(20) == 1
    assert len(started) == 1
    assert old not in _helper._helpers


def test_end_waits_while_lines_are_still_being_shown(session, monkeypatch):
    # It waited 5 s in all, and a machine that is busy with other things shows few lines in these.
    LINES, shown = 1000, []
    begun, asked = threading.Semaphore(0), threading.Semaphore(0)

    def write(text):
        begun.release()
        assert asked.acquire(timeout=20)
        shown.extend(re.findall(r"line (\d+)", text))

    class Slow(threading.Thread):
        def join(self, timeout=None):
            """Takes one batch of lines, as if that had lasted so long."""
            asked.release()
            if not begun.acquire(timeout=0.2):  # it was the last one
                super().join(timeout)

    @session.remote
    def speak():
        for k in range(LINES):
            print("line", k)

    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", Slow)
        patch.setattr(sys, "stdout", SimpleNamespace(write=write, flush=lambda: None))
        session.get(speak.remote())
        assert begun.acquire(timeout=20)
        session.shutdown()
    assert shown == [str(k) for k in range(LINES)]


@pytest.mark.parametrize("when", ["before", "after"])
def test_who_is_held_up_while_the_session_ends(session, monkeypatch, when):
    # The helper was taken away before it was waited for, and lines of workers were lost.
    old, finished = _session.client, []
    _session.start_helper(old)
    helper = _helper.of(old)
    finish, wake_waiters = _helper.Helper.finish, _session._wake_waiters

    def noted(self, **how):
        finished.append(self)
        finish(self, **how)

    def wake(ended, **how):
        if when == "before":
            _session.start_helper(ended)
        wake_waiters(ended, **how)
        if when == "after":
            _session.start_helper(ended)

    monkeypatch.setattr(_helper.Helper, "finish", noted)
    monkeypatch.setattr(_session, "_wake_waiters", wake)
    session.shutdown()
    assert finished == [helper]
    assert old not in _helper._helpers


def test_helper_that_is_made_while_the_session_ends(session, monkeypatch):
    # It was taken away unstarted, and what waits for it never heard of the end.
    old, told = _session.client, []
    ref = session.put(1)
    monkeypatch.setattr(_session, "client", None)  # another thread is about to close it
    monkeypatch.setattr(_session, "_ending", {old})
    _helper.of(old).when_ready(ref, lambda: told.append(True))
    monkeypatch.undo()
    session.shutdown()
    assert told
    assert old not in _helper._helpers


def test_finalizer_that_submits_while_it_is_made(run):
    # The same thread waited for its own lock.
    out, _ = run(
        """
        from skate import _helper

        @skate.remote
        def one():
            return 1

        class Display(_helper.Display):
            def __init__(self):
                super().__init__()
                _helper.Display = _helper.Display.__base__
                refs.append(one.remote())  # as a `__del__` may at any allocation

        refs = []
        _helper.Display = Display
        skate.init(num_cpus=1)
        refs.append(one.remote())
        print(sum(ref.future().result() for ref in refs), end="")
    """,
        timeout=20,
    )
    assert out == "2"


def test_what_no_thread_has_read_is_shown_at_the_end(session, monkeypatch, capfd):
    monkeypatch.setattr(_helper.Helper, "start", lambda _: None)  # as if it came late

    @session.remote
    def speak():
        print("heard")

    session.get(speak.remote())
    session.shutdown()
    assert "heard" in capfd.readouterr().out


def exits(by):
    """What the program looks at its output with: it raises SystemExit."""
    heard = threading.Event()

    def exit_once_heard(_what):
        heard.set()
        sys.exit(f"{by} has seen enough")

    return heard, exit_once_heard


def test_handler_of_the_driver_that_ends_the_program(session, monkeypatch, capfd):
    # As in programs that end by any critical record. It ended the helper's thread.
    heard, emit = exits("the handler")
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", emit)
    monkeypatch.setattr(logging.getLogger("helper"), "handlers", [handler])

    @session.remote
    def speak():
        logging.getLogger("helper").critical("it is critical")

    session.get(speak.remote())
    assert heard.wait(20)
    assert session.put(1).future().result(5) == 1
    assert "SystemExit: the handler has seen enough" in capfd.readouterr().err


def test_stream_of_the_driver_that_ends_the_program(session, monkeypatch, capfd):
    heard, write = exits("the stream")

    @session.remote
    def speak():
        print("a line")

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", SimpleNamespace(write=write, flush=lambda: None))
        session.get(speak.remote())
        assert heard.wait(20)
    assert session.put(1).future().result(5) == 1
    assert "SystemExit: the stream has seen enough" in capfd.readouterr().err


def test_ctrl_c_while_the_end_is_shown(session, monkeypatch):
    def write(_text):
        raise KeyboardInterrupt

    monkeypatch.setattr(_helper.Helper, "start", lambda _: None)

    @session.remote
    def speak():
        print("a line")

    session.get(speak.remote())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sys, "stdout", SimpleNamespace(write=write, flush=lambda: None))
        session.shutdown()
