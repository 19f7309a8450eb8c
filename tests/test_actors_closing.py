"""`__ray_shutdown__` of actors: what it may not hold up, and when it does not run."""

import os

import pytest

PRELOAD = ["pytest"]


@pytest.fixture
def Closing(fresh):
    fresh.init(num_cpus=2, preload=PRELOAD)

    class Closing:
        def __init__(self, begins, goes_on):
            self.gates = begins, goes_on

        def pid(self):
            return os.getpid()

        def __ray_shutdown__(self):
            begins, goes_on = self.gates
            begins.write_bytes(b"")
            goes_on.read_bytes()

    return fresh.remote(Closing)


def test_session_ends_although_an_actor_is_still_closing(fresh, Closing, gates):
    begins, never = gates("begins"), gates("never")
    actor = Closing.remote(begins, never)
    pid = fresh.get(actor.pid.remote())
    del actor
    begins.read_bytes()
    fresh.shutdown()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("end", ["kill", "shutdown"])
def test_actor_that_is_killed_closes_nothing(fresh, Closing, tmp_path, end):
    begun, nothing = tmp_path / "begun", tmp_path / "nothing"
    nothing.touch()
    actor = Closing.remote(begun, nothing)
    fresh.get(actor.pid.remote())
    if end == "kill":
        fresh.kill(actor)
    fresh.shutdown()
    assert not begun.exists()
