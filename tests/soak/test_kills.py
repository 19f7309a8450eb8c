"""SIGKILL of driver, zygote or worker at many seeded moments of a busy program: nothing is left."""

import os
import random
import signal

import pytest

MOMENTS = int(os.environ.get("SKATE_SOAK_MOMENTS", "100"))


def after_random_steps(program, seed):
    """Lets the program come to a moment that the seed says; the generator, for more choices."""
    dice = random.Random(seed)
    program.read(dice.randrange(120))
    for _ in range(dice.randrange(2000)):
        dice.random()  # a moment between two steps
    return dice


@pytest.mark.parametrize("seed", range(MOMENTS))
def test_driver(busy, seed):
    after_random_steps(busy, seed)
    busy.signal(signal.SIGKILL)
    busy.popen.wait()
    busy.check_nothing_is_left()


@pytest.mark.parametrize("seed", range(MOMENTS))
def test_some_of_its_processes_then_the_driver(busy, seed):
    dice = after_random_steps(busy, seed)
    others = [pid for pid in busy.processes() if pid != busy.pid]
    for pid in dice.sample(others, min(len(others), 1 + seed % 2)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    if seed % 3:
        busy.read(20)  # tasks are retried: it goes on
    busy.signal(signal.SIGKILL)
    busy.popen.wait()
    busy.check_nothing_is_left()
