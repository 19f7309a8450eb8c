"""`__ray_shutdown__` of actors: what it may not hold up, and when it does not run."""

import os
import select

import pytest

PRELOAD = ["pytest"]


@pytest.fixture
def Closing(fresh):
    fresh.init(num_cpus=2, preload=PRELOAD)

    class Closing:
        def __init__(self, begins, goes_on):
            self.gates = begins, goes_on
            self.begin_to_count = lambda: None

        def pid(self, closing_s=None):
            from skate import _actor_worker

            if closing_s is not None:
                import faulthandler

                # Not before it closes: this process may lose its CPU on the way there.
                def later(seconds, *, begin=faulthandler.dump_traceback_later, **how):
                    self.begin_to_count = lambda: begin(seconds, **how)

                faulthandler.dump_traceback_later = later
                _actor_worker.CLOSING_S = closing_s
            return os.getpid()

        def __ray_shutdown__(self):
            begins, goes_on = self.gates
            begins.write_bytes(b"")
            self.begin_to_count()
            goes_on.read_bytes()

    return fresh.remote(Closing)


def test_session_ends_although_an_actor_is_still_closing(fresh, Closing, gates):
    begins, never = gates("begins"), gates("never")
    actor = Closing.remote(begins, never)
    process = os.pidfd_open(fresh.get(actor.pid.remote()))
    del actor
    begins.read_bytes()
    fresh.shutdown()
    has_ended, _, _ = select.select([process], [], [], 0)
    os.close(process)
    assert has_ended


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


def test_an_end_that_hangs_is_ended(fresh, Closing, gates, tmp_path, capfd):
    """It held the actor's CPU for the rest of the session."""
    actor = Closing.options(num_cpus=2).remote(tmp_path / "begins", gates("never"))
    pid = fresh.get(actor.pid.remote(closing_s=0.05))
    del actor
    assert fresh.get(fresh.remote(num_cpus=2)(lambda: os.getpid()).remote(), timeout=60) != pid
    fresh.shutdown()
    assert "__ray_shutdown__" in capfd.readouterr().err
