"""What is awaited comes although a signal's handler has raised in the event loop.

The tokens of what was ready were taken from the mailbox, and the exception came before anybody was
woken by them: in a loop that went on, those awaits never ended. Nor did those in other threads that
a Ctrl-C within `shutdown` kept from being woken.
"""

import asyncio
import contextlib
import itertools
import signal
import threading

import pytest
from handlers import raising

from skate import _async, _helper, _session
from skate.exceptions import RayError


class Interrupted:
    """Stands for the mailbox of an event loop until a handler raises as `take` returns."""

    def __init__(self, loop, error):
        self._bridge = _async._bridges[loop][_session.client]
        self._mailbox, self._bridge.mailbox = self._bridge.mailbox, self
        self._error = error

    def take(self):
        if self._mailbox.take():
            self._bridge.mailbox = self._mailbox
            raise self._error
        return []


@pytest.fixture
def loop():
    made = asyncio.new_event_loop()
    made.set_exception_handler(lambda *_: None)
    yield made
    made.close()


async def value_of(skate, what):
    if what.__class__ is skate.ObjectRef:
        return await what
    return await (await anext(what))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TimeoutError("a handler's own")], ids=repr)
@pytest.mark.parametrize("kind", ["ref", "stream"])
def test_what_is_ready_comes_after_the_exception(skate, gates, loop, kind, error):
    early, late = gates("early"), gates("late")

    @skate.remote
    def read(gate):
        return gate.read_bytes()

    @skate.remote
    def items(gate):
        yield gate.read_bytes()

    remote = read if kind == "ref" else items
    first, second = (
        loop.create_task(value_of(skate, remote.remote(gate))) for gate in (early, late)
    )
    loop.run_until_complete(asyncio.sleep(0))
    Interrupted(loop, error)
    early.write_bytes(b"1")
    try:
        assert loop.run_until_complete(asyncio.wait_for(first, 5)) == b"1"
    except KeyboardInterrupt:
        assert loop.run_until_complete(asyncio.wait_for(first, 5)) == b"1"
    assert not second.done()
    late.write_bytes(b"2")
    assert loop.run_until_complete(asyncio.wait_for(second, 5)) == b"2"


@contextlib.contextmanager
def awaited(ref):
    """In the loop of another thread; gives a list of what ended that await, once it has."""
    ends, is_awaited = [], threading.Event()

    async def wait():
        waiting = asyncio.ensure_future(_async.await_ref(ref))
        await asyncio.sleep(0)  # it sleeps now
        is_awaited.set()
        with contextlib.suppress(TimeoutError):
            try:
                await asyncio.wait_for(waiting, 20)
            except RayError as error:
                ends.append(error)

    thread = threading.Thread(target=asyncio.run, args=(wait(),))
    thread.start()
    is_awaited.wait()
    yield ends
    thread.join()


def test_ctrl_c_within_shutdown_keeps_nobody_waiting(fresh):
    meant = {
        each.__code__
        for each in (
            _session.end,
            _session._wake_waiters,
            _async.finish,
            _async._Bridge.close,
            _helper.finish,
            _helper.Helper.finish,
        )
    }
    for place in itertools.count(1):
        fresh.init(num_cpus=1)
        never = fresh.remote(lambda: signal.pause()).remote()
        promised = never.future()
        with awaited(never) as ends:
            with (
                contextlib.suppress(KeyboardInterrupt),
                raising(KeyboardInterrupt, place, meant.__contains__) as reached,
            ):
                fresh.shutdown()
            fresh.shutdown()  # if it came before anything was done
        assert len(ends) == 1
        assert isinstance(promised.exception(20), RayError)
        if not reached:
            break
    assert place > 20
