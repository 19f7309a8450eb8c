"""What skate does around calls to Ray, with a stand-in for Ray that answers as a test wants it.

Ray itself is asked by tests/cluster, where it is installed.
"""

import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest

from skate._cluster.client import Client
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


def test_whoever_awaits_a_stream_that_cannot_be_watched_is_woken(ray, client, mailbox):
    """It slept on; the thread alone knew why."""

    def gone(refs, *, num_returns, timeout=None):
        raise RuntimeError

    ray.wait = gone
    client.watch(Streaming(None), mailbox, 7)
    for thread in watching():
        thread.join()
    assert mailbox.posted == [7]
