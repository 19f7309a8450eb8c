"""Actor processes that are killed at any moment: calls end, order and counts stay right."""

import os
import random
import signal

import pytest

KINDS = {
    "turns": {"max_concurrency": 1},
    "threads": {"max_concurrency": 4},
    "loop": {"max_concurrency": 1000},
}


def make(skate, kind, **options):
    if kind == "loop":

        @skate.remote(**KINDS[kind], **options)
        class Victim:
            async def pid(self):
                return os.getpid()

            async def work(self, value):
                return value

            async def items(self, count):
                for index in range(count):
                    yield index

    else:

        @skate.remote(**KINDS[kind], **options)
        class Victim:
            def pid(self):
                return os.getpid()

            def work(self, value):
                return value

            def items(self, count):
                yield from range(count)

    return Victim.remote()


@pytest.mark.parametrize("kind", KINDS)
def test_killed_actor_with_retries_answers_every_call(skate, kind):
    victim = make(skate, kind, max_restarts=-1, max_task_retries=-1)
    chance = random.Random(7)
    for _ in range(8):
        pid = skate.get(victim.pid.remote())
        calls = [victim.work.remote(number) for number in range(300)]
        skate.wait(calls, num_returns=chance.randrange(1, 200))
        os.kill(pid, signal.SIGKILL)
        assert skate.get(calls) == list(range(300))


@pytest.mark.parametrize("kind", KINDS)
def test_killed_actor_without_restarts_fails_what_it_had_not_done(skate, kind):
    for seed in range(6):
        victim = make(skate, kind)
        pid = skate.get(victim.pid.remote())
        calls = [victim.work.remote(number) for number in range(200)]
        skate.wait(calls, num_returns=1 + 30 * seed)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(skate.exceptions.ActorDiedError):
            skate.get(victim.work.remote(0))
        done = 0
        for number, call in enumerate(calls):
            try:
                assert skate.get(call) == number
                done += 1
            except skate.exceptions.ActorDiedError:
                continue
        assert done >= 1 + 30 * seed


@pytest.mark.parametrize("kind", KINDS)
def test_stream_of_a_killed_actor_is_read_without_gap_or_double(skate, kind):
    victim = make(skate, kind, max_restarts=-1, max_task_retries=-1)
    for taken in (1, 20, 70):
        pid = skate.get(victim.pid.remote())
        stream = victim.items.remote(300)
        items = [skate.get(next(stream)) for _ in range(taken)]
        os.kill(pid, signal.SIGKILL)
        items += [skate.get(ref) for ref in stream]
        assert items == list(range(300))


@pytest.mark.parametrize("kind", KINDS)
def test_stream_of_a_dead_actor_ends_with_the_error(skate, kind):
    victim = make(skate, kind)
    pid = skate.get(victim.pid.remote())
    stream = victim.items.options(generator_backpressure_num_objects=5).remote(300)
    items = [skate.get(next(stream)) for _ in range(10)]
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(skate.exceptions.ActorDiedError):
        items += [skate.get(ref) for ref in stream]
    assert items == list(range(len(items)))
    with pytest.raises(StopIteration):
        next(stream)


def test_actor_killed_while_it_starts_is_started_again(skate, gates, attempts):
    started = gates("started")

    @skate.remote(max_restarts=-1, max_task_retries=-1)
    class Slow:
        def __init__(self):
            with attempts.open("ab") as log:
                log.write(b"x")
            if attempts.stat().st_size < 4:
                started.write_bytes(str(os.getpid()).encode())
                signal.pause()

        def hello(self):
            return "hello"

    slow = Slow.remote()
    hello = slow.hello.remote()
    for _ in range(3):
        os.kill(int(started.read_bytes()), signal.SIGKILL)
    assert skate.get(hello) == "hello"


def test_order_survives_the_death_of_the_process(skate, attempts):
    @skate.remote(max_restarts=-1, max_task_retries=-1)
    class Log:
        def __init__(self):
            self.lines = []

        def add(self, number):
            if number % 100 == 50 and str(number) not in attempts.read_text():
                with attempts.open("a") as log:
                    log.write(f"{number},")
                os.kill(os.getpid(), signal.SIGKILL)
            self.lines.append(number)

        def get(self):
            return self.lines

    log = Log.remote()
    for number in range(500):
        log.add.remote(number)
    assert skate.get(log.get.remote()) == list(range(450, 500))
    assert attempts.read_text() == "50,150,250,350,450,"
