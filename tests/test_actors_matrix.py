"""The exact number of attempts: each kind of actor, each way to fail, each number of retries.

A call that has n retries is begun 1 + n times, whether it raises, kills its process or leaves by
`sys.exit`; the actor may always restart. `sys.exit(0)` is never followed by another attempt.
"""

import os
import signal
import sys

import pytest

WAYS = ("exception", "kill", "exit", "leave")
RETRIES = (0, 2)
PRELOAD = ["pytest"]


def count(log):
    with log.open("ab") as file:
        file.write(b"x")


def fail(way):
    match way:
        case "exception":
            raise ValueError("on purpose")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            sys.exit(5)
        case "leave":
            sys.exit(0)


def classes(skate):
    class Sync:
        def call(self, way, log):
            count(log)
            fail(way)

    class Async:
        async def call(self, way, log):
            count(log)
            fail(way)

    return {
        "sync": skate.remote(max_restarts=-1)(Sync),
        "threaded": skate.remote(max_restarts=-1, max_concurrency=2)(Sync),
        "async": skate.remote(max_restarts=-1)(Async),
    }


@pytest.mark.parametrize("retries", RETRIES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["sync", "threaded", "async"])
def test_attempts(skate, attempts, kind, way, retries):
    actor = classes(skate)[kind].remote()
    call = actor.call.options(max_task_retries=retries, retry_exceptions=True)
    expected = ValueError if way == "exception" else skate.exceptions.RayActorError
    with pytest.raises(expected):
        skate.get(call.remote(way, attempts))
    assert attempts.stat().st_size == (1 if way == "leave" else 1 + retries)
