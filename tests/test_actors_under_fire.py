"""What actors can do, each of it on each kind of actor, while their processes are killed at random.

All of it can be repeated (`max_task_retries=-1`), so every answer must be what it would be without
a kill.
"""

import contextlib
import os
import random
import signal
import threading
from pathlib import Path

import pytest

KINDS = {
    "turns": {"max_concurrency": 1},
    "threads": {"max_concurrency": 4},
    "loop": {"max_concurrency": 100},
}
KILLS = 4
PRELOAD = ["pytest"]


class Methods:
    """Stateless, so that a call may be repeated."""

    def __init__(self, pids):
        # One line for each life; appended whole.
        with Path(pids).open("a") as file:
            file.write(f"{os.getpid()}\n")

    def double(self, value):
        return 2 * value

    def both(self, value):
        return value, -value

    def large(self, value):
        return bytes([value % 256]) * 200_000

    def fail(self, value):
        raise KeyError(value)

    def items(self, count):
        yield from range(count)

    def nested(self, refs):
        import skate

        return sum(skate.get(refs))

    def submit(self, value):
        import skate

        @skate.remote(num_cpus=0)
        def plus_one(number):
            return number + 1

        return skate.get(plus_one.remote(value))


class AsyncMethods(Methods):
    """The same on an event loop."""

    async def double(self, value):
        return 2 * value

    async def both(self, value):
        return value, -value

    async def large(self, value):
        return bytes([value % 256]) * 200_000

    async def fail(self, value):
        raise KeyError(value)

    async def items(self, count):
        for index in range(count):
            yield index

    async def nested(self, refs):
        return sum([await ref for ref in refs])

    async def submit(self, value):
        import skate

        @skate.remote(num_cpus=0)
        def plus_one(number):
            return number + 1

        return await plus_one.remote(value)


class Killer(threading.Thread):
    """Kills the process of each of the first lives, at a random moment of it."""

    def __init__(self, pids, seed):
        super().__init__()
        self._pids = pids
        self._chance = random.Random(seed)
        self._is_over = threading.Event()
        self.killed = []

    def run(self):
        while len(self.killed) < KILLS and not self._is_over.wait(self._chance.uniform(0, 0.03)):
            lives = self._pids.read_text().splitlines()[len(self.killed) :]
            if lives:
                self.killed.append(int(lives[0]))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.killed[-1], signal.SIGKILL)

    def stop(self):
        self._is_over.set()
        self.join()


def pool_map(skate, actor):
    pool = skate.util.ActorPool([actor])
    results = pool.map(lambda one, value: one.double.remote(value), range(20))
    assert list(results) == [2 * value for value in range(20)]


def error_of(skate, actor):
    with pytest.raises(KeyError) as caught:
        skate.get(actor.fail.remote("mine"))
    assert isinstance(caught.value, skate.exceptions.RayTaskError)


def items_of(skate, actor, returns):
    made = actor.items.options(num_returns=returns).remote(40)
    if returns == "dynamic":
        made = skate.get(made)
    assert [skate.get(ref) for ref in made] == list(range(40))


def handle_in_task(skate, actor):
    @skate.remote(num_cpus=0)
    def call(handle, value):
        return skate.get(handle.double.remote(value))

    assert skate.get([call.remote(actor, k) for k in range(5)]) == [0, 2, 4, 6, 8]


BEHAVIOURS = {
    "call": lambda skate, actor: (
        skate.get([actor.double.remote(k) for k in range(50)]) == [2 * k for k in range(50)]
    ),
    "keyword": lambda skate, actor: skate.get(actor.double.remote(value=4)) == 8,
    "ref as argument": lambda skate, actor: skate.get(actor.double.remote(skate.put(21))) == 42,
    "result as argument": lambda skate, actor: (
        skate.get(actor.double.remote(actor.double.remote(5))) == 20
    ),
    "nested refs": lambda skate, actor: (
        skate.get(actor.nested.remote([skate.put(k) for k in range(5)])) == 10
    ),
    "two returns": lambda skate, actor: (
        skate.get(actor.both.options(num_returns=2).remote(3)) == [3, -3]
    ),
    "large value": lambda skate, actor: skate.get(actor.large.remote(7)) == bytes([7]) * 200_000,
    "tasks of its own": lambda skate, actor: skate.get(actor.submit.remote(1)) == 2,
    "wait": lambda skate, actor: (
        len(skate.wait([actor.double.remote(k) for k in range(9)], num_returns=9)[0]) == 9
    ),
    "error": error_of,
    "pool": pool_map,
    "handle in a task": handle_in_task,
    "streaming": lambda skate, actor: items_of(skate, actor, "streaming"),
    "dynamic": lambda skate, actor: items_of(skate, actor, "dynamic"),
    "static": lambda skate, actor: items_of(skate, actor, 40),
}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("kind", KINDS)
def test_answer_is_the_same_under_kills(skate, tmp_path, kind, behaviour):
    pids = tmp_path / "pids"
    pids.touch()
    methods = AsyncMethods if kind == "loop" else Methods
    make = skate.remote(max_restarts=-1, max_task_retries=-1, **KINDS[kind])(methods)
    actor = make.remote(str(pids))
    killer = Killer(pids, f"{kind}, {behaviour}")
    killer.start()
    try:
        rounds = 0
        while killer.is_alive() or rounds < 3:
            assert BEHAVIOURS[behaviour](skate, actor) in (True, None)
            rounds += 1
    finally:
        killer.stop()
    assert len(killer.killed) == KILLS
