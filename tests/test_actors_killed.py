"""What becomes of the calls of an actor that is killed at the moment they arrive."""

import os
import time

import pytest

pytestmark = pytest.mark.processes("kills a process")

ROUNDS = 100


def test_no_call_runs_after_one_that_was_taken_back(skate):
    """One in twenty did: its process went on with the next call while the node took them back."""

    @skate.remote
    class Mortal:
        def pid(self):
            return os.getpid()

        def sleep(self):
            time.sleep(60)

    for _ in range(ROUNDS):
        mortal = Mortal.remote()
        awake = [mortal.pid.remote() for _ in range(2)]
        skate.get(awake[0])
        calls = [mortal.sleep.remote(), mortal.pid.remote(), mortal.pid.remote()]
        skate.kill(mortal)
        for call in calls:
            with pytest.raises(skate.exceptions.ActorDiedError, match="it was killed by `ray"):
                skate.get(call)
