"""What skate does around calls to Ray, with a stand-in for Ray that answers as a test wants it.

Ray itself is asked by tests/cluster, where it is installed.
"""

import pickle
import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest

import skate
from skate._cluster.client import Client
from skate._cluster.errors import ours
from skate._cluster.streams import Streaming


@pytest.fixture
def ray(monkeypatch):
    """A module of that name, and what was called of it."""
    ray = ModuleType("ray")
    ray.exceptions = ModuleType("ray.exceptions")
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", ray.exceptions)
    return ray


@pytest.fixture
def client(ray):
    return Client("0" * 16, "auto", is_driver=True)


@pytest.fixture
def mailbox():
    """The tokens that were posted."""
    posted = []
    return SimpleNamespace(post=posted.append, posted=posted)


def watching():
    return [each for each in threading.enumerate() if each.name == "skate-stream-watch"]


def test_the_thread_that_watches_a_stream_ends_when_nobody_awaits_it(ray, client, mailbox):
    """Each await that ended by its timeout left one, for as long as the stream gave nothing."""
    asked, over = threading.Event(), threading.Event()

    def nothing_yet(refs, *, num_returns, timeout=None):
        asked.set()
        over.wait(5 if timeout is None else 0)
        return [], refs

    ray.wait = nothing_yet
    request = client.watch(Streaming(None), mailbox, 7)
    [thread] = watching()
    assert asked.wait(5)
    client.forget(request)
    thread.join(1)
    is_left = thread.is_alive()
    over.set()
    thread.join()
    assert not is_left
    assert mailbox.posted == []


def test_nobody_watches_a_stream_any_more_when_ray_has_ended(ray, client, mailbox):
    """The next look, which connects by itself, began a Ray of this machine."""
    asked, is_down = threading.Event(), threading.Event()
    asked_too_late = []

    def nothing_yet(refs, *, num_returns, timeout):
        asked.set()
        if is_down.is_set():
            asked_too_late.append(refs)
        return [], refs

    def shutdown():
        is_down.set()
        for thread in watching():  # it looks once more, if it does
            thread.join(0.1)

    ray.wait, ray.shutdown = nothing_yet, shutdown
    request = client.watch(Streaming(None), mailbox, 7)
    assert asked.wait(5)
    client.close()
    client.forget(request)  # as whoever awaits does, who hears of the end after that
    assert not asked_too_late


def test_whoever_awaits_a_stream_that_cannot_be_watched_is_woken(ray, client, mailbox):
    """It slept on; the thread alone knew why."""

    def gone(refs, *, num_returns, timeout=None):
        raise RuntimeError

    ray.wait = gone
    client.watch(Streaming(None), mailbox, 7)
    for thread in watching():
        thread.join()
    assert mailbox.posted == [7]


@pytest.fixture
def cluster(ray, fresh):
    """Ray's `init`, which connects, and `shutdown`; `cluster.is_up` says how it stands."""
    state = SimpleNamespace(is_up=False)

    def init(**_options):
        if state.is_up:
            msg = "Maybe you called ray.init twice by accident?"
            raise RuntimeError(msg)
        state.is_up = True

    def shutdown():
        state.is_up = False

    ray.init, ray.shutdown, ray.is_initialized = init, shutdown, lambda: state.is_up
    ray.exceptions.AuthenticationError = type("AuthenticationError", (Exception,), {})
    return state


@pytest.mark.parametrize("place", ["get_runtime_context", "init"])
def test_an_interrupt_while_it_connects_leaves_no_connection(ray, cluster, monkeypatch, place):
    """skate had no session, and could begin none: Ray was connected already."""
    monkeypatch.setattr("skate._cluster.client.share_classes", lambda: None)
    connect = ray.init

    def interrupted(**_options):
        if place == "init":
            connect()
        raise KeyboardInterrupt

    setattr(ray, place, interrupted)
    with pytest.raises(KeyboardInterrupt):
        skate.init(address="auto")
    assert not cluster.is_up
    assert not skate.is_initialized()


def test_a_connection_that_the_program_made_itself_stays(ray, cluster):
    ray.init()
    with pytest.raises(skate.exceptions.RaySystemError, match="twice by accident"):
        skate.init(address="auto")
    assert cluster.is_up


def test_an_error_of_ray_has_its_text_once(ray):
    """skate's classes add words of their own, which Ray's had added before."""
    theirs = ray.exceptions

    class RayError(Exception):
        pass

    class RaySystemError(RayError):
        client_exc, traceback_str = "no node", None

        def __str__(self):
            return f"System error: {self.client_exc}"

    class RuntimeEnvSetupError(RayError):
        error_message = "no pip"

        def __str__(self):
            return f"Failed to set up runtime environment.\n{self.error_message}"

    class ActorUnavailableError(RayError):
        actor_id = "ab"

        def __str__(self):
            return "The actor ab is unavailable: gone. The task may have been executed."

    theirs.RayError = RayError
    theirs.RayTaskError = type("RayTaskError", (RayError,), {})
    for kind in (RaySystemError, RuntimeEnvSetupError, ActorUnavailableError):
        found = ours(kind())
        assert type(found) is getattr(skate.exceptions, kind.__name__)
        assert str(found) == str(kind())
        assert str(pickle.loads(pickle.dumps(found))) == str(found)
    assert ours(RaySystemError()).client_exc == "no node"
