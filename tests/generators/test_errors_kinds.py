"""A10, A11 for actors of every kind: what was yielded stays, then one error, then the end.

The same for tasks is in test_errors_matrix.py.
"""

import asyncio
import os
import threading

import pytest

MODES = ["static", "dynamic", "streaming"]
BEFORE = 2  # items before the failure
PROMISED = 4
PRELOAD = ["pytest"]


class Unpicklable(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


def fail(ray, way):
    """The third item."""
    match way:
        case "exception":
            raise ValueError("of the application")
        case "unpicklable item":
            return threading.Lock()
        case "unpicklable exception":
            raise Unpicklable("with a lock")
        case "crash":
            os._exit(1)
        case "leave":
            ray.actor.exit_actor()
    return None


@pytest.fixture(scope="module", params=["sync", "threaded", "async"])
def Producer(skate, request):
    class Sync:
        def items(self, way, _argument=None):
            for k in range(BEFORE):
                yield k
            yield fail(skate, way)

        def pause(self, reached, never):
            for k in range(BEFORE):
                yield k
            reached.write_bytes(b"")
            never.read_bytes()
            yield "never"

        def alive(self):
            return True

    class Async(Sync):
        async def items(self, way, _argument=None):
            for k in range(BEFORE):
                yield k
                await asyncio.sleep(0)
            yield fail(skate, way)

        async def pause(self, reached, _never):
            for k in range(BEFORE):
                yield k
            reached.write_bytes(b"")
            await asyncio.sleep(1000)
            yield "never"

    options = {"max_concurrency": 2} if request.param == "threaded" else {"max_restarts": 0}
    made = skate.remote(**options)(Async if request.param == "async" else Sync)
    made.kind = request.param
    return made


def start(mode, method, *args):
    return method.options(num_returns=PROMISED if mode == "static" else mode).remote(*args)


def check(skate, mode, result, error, match, before=BEFORE):  # noqa: PLR0917 - the claim
    refs = result
    if mode != "static":
        stream = skate.get(result) if mode == "dynamic" else result
        refs = list(stream)
        with pytest.raises(StopIteration):
            next(stream)
    assert len(refs) == (PROMISED if mode == "static" else before + 1)
    assert skate.get(refs[:before]) == list(range(before))
    for ref in refs[before:]:
        with pytest.raises(error, match=match):
            skate.get(ref)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("way", "error", "match"),
    [
        ("exception", ValueError, "of the application"),
        ("unpicklable item", TypeError, r"Could not serialize item 2 of .*items: .*lock"),
        ("unpicklable exception", Exception, "with a lock"),
    ],
)
def test_user_code_that_fails_leaves_the_actor_alive(  # noqa: PLR0917 - the cases
    skate, Producer, mode, way, error, match
):
    actor = Producer.remote()
    check(skate, mode, start(mode, actor.items, way), error, match)
    assert skate.get(actor.alive.remote())


@pytest.mark.parametrize("mode", MODES)
def test_failed_argument(skate, Producer, mode):
    @skate.remote
    def source():
        raise KeyError("source")

    result = start(mode, Producer.remote().items, "exception", source.remote())
    check(skate, mode, result, KeyError, "source", before=0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.processes("its process ends")
def test_crash(skate, Producer, mode):
    actor = Producer.remote()
    result = start(mode, actor.items, "crash")
    check(skate, mode, result, skate.exceptions.ActorDiedError, "its worker process has died")


@pytest.mark.parametrize("mode", MODES)
def test_exit_actor(skate, Producer, mode):
    actor = Producer.remote()
    result = start(mode, actor.items, "leave")
    check(skate, mode, result, skate.exceptions.ActorDiedError, "exit_actor")


@pytest.mark.parametrize("mode", MODES)
def test_kill(skate, Producer, mode, gates):
    reached, never = gates("reached"), gates("never")
    actor = Producer.remote()
    result = start(mode, actor.pause, reached, never)
    reached.read_bytes()
    skate.kill(actor)
    check(skate, mode, result, skate.exceptions.ActorDiedError, "killed by `ray")


@pytest.mark.parametrize("mode", MODES)
def test_cancel_of_a_running_async_generator(skate, Producer, mode, gates):
    if Producer.kind != "async":
        pytest.skip("a method that runs in a thread only sees a flag")
    reached, never = gates("reached"), gates("never")
    actor = Producer.remote()
    result = start(mode, actor.pause, reached, never)
    reached.read_bytes()
    skate.cancel(result[-1] if mode == "static" else result)
    check(skate, mode, result, skate.exceptions.TaskCancelledError, "was cancelled")
    assert skate.get(actor.alive.remote())


@pytest.mark.parametrize("mode", MODES)
def test_cancel_before_the_start(skate, Producer, mode, gates):
    hold = gates("hold")

    @skate.remote
    def wait():
        return hold.read_bytes()

    argument = wait.remote()
    actor = Producer.remote()
    result = start(mode, actor.items, "exception", argument)
    skate.cancel(result[0] if mode == "static" else result)
    hold.write_bytes(b"")
    check(skate, mode, result, skate.exceptions.TaskCancelledError, "was cancelled", before=0)
    skate.get(argument)
