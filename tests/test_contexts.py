"""What `init` gives back: it names one session, and ends no other."""

import threading

from skate import _session


class Gate:
    """A lock before which one thread stops."""

    def __init__(self, lock):
        self.lock = lock
        self.stopped = None
        self.is_there, self.may_pass = threading.Event(), threading.Event()

    def __enter__(self):
        if threading.current_thread() is self.stopped:
            self.is_there.set()
            self.may_pass.wait(30)
        return self.lock.__enter__()

    def __exit__(self, *error):
        return self.lock.__exit__(*error)


def test_disconnect_ends_no_session_that_began_meanwhile(fresh, monkeypatch):
    """It looked which session was there, and then ended whatever was."""
    first = fresh.init(local_mode=True)
    gate = Gate(_session._lock)
    monkeypatch.setattr(_session, "_lock", gate)
    gate.stopped = threading.Thread(target=first.disconnect)
    gate.stopped.start()
    assert gate.is_there.wait(30)
    fresh.shutdown()
    second = fresh.init(local_mode=True)
    gate.may_pass.set()
    gate.stopped.join(30)
    assert fresh.is_initialized()
    second.disconnect()
    assert not fresh.is_initialized()
