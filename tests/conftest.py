"""What every test may use: gates between the test and its tasks, and a session of skate.

Tests never wait by the clock. A gate is a FIFO: a task that reads it stops until the test writes,
and the test's write returns only when a task has come to read, so either side learns of the other.
"""

import contextlib
import gc
import os
import signal

import pytest

ENGINE = os.environ.get("SKATE_TEST_ENGINE", "skate")


def skip_what_needs_processes(item):
    """For the engine in one process, where a test and its tasks take turns in one thread."""
    marked = item.get_closest_marker("processes")
    if marked is not None:
        item.add_marker(pytest.mark.skip(reason=f"one process: {marked.args[0]}"))
    elif {"gate", "gates", "eventually"} & set(item.fixturenames):
        item.add_marker(pytest.mark.skip(reason="one process: the test and its task take turns"))


def pytest_collection_modifyitems(items):
    if ENGINE == "local":
        for item in items:
            skip_what_needs_processes(item)


def pytest_collection_finish():
    """The tests themselves are no garbage: thousands of `gc.collect()` need not look at them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def sigint_counts():
    """Ctrl-C counts, although a shell that starts the tests in its background has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def chosen_engine():
    """What every `init` starts, in programs of the tests, too."""
    with pytest.MonkeyPatch.context() as patch:
        if ENGINE == "local":
            patch.setenv("SKATE_LOCAL_MODE", "1")
        yield


@pytest.fixture
def gates(tmp_path):
    """Make named gates: a task's `gate.read_bytes()` waits for the test's `gate.write_bytes(b"")`.

    The other way round it tells the test that the task has come to this point.
    """
    made = []

    def make(name):
        path = tmp_path / name
        os.mkfifo(path)
        made.append(path)
        return path

    yield make
    for path in made:  # whoever still waits, after a failure, goes on
        both_ends = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        path.unlink()
        os.close(both_ends)


@pytest.fixture
def gate(gates):
    """One gate."""
    return gates("gate")


@pytest.fixture
def attempts(tmp_path):
    """A file to which each attempt of a task adds one byte; its size is their number."""
    path = tmp_path / "attempts"
    path.touch()
    return path


@pytest.fixture(scope="module")
def skate(request):
    """skate with a session of two CPUs that the tests of one file share.

    A file whose actors are of classes of its own says `PRELOAD = ["pytest"]`, so that not each of
    their processes imports that with it.
    """
    import skate as module

    module.init(num_cpus=2, preload=getattr(request.module, "PRELOAD", None))
    yield module
    module.shutdown()


@pytest.fixture
def fresh():
    """skate without a session, before and after."""
    import skate as module

    module.shutdown()
    yield module
    with contextlib.suppress(Exception):
        module.shutdown()


@pytest.fixture
def local(fresh):
    """A session in this process alone."""
    fresh.init(local_mode=True)
    return fresh
