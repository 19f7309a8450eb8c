"""How actors end, and what becomes of their calls."""

import os
import signal
import sys

import pytest


@pytest.fixture(scope="module")
def Mortal(ray):
    @ray.remote
    class Mortal:
        def __init__(self, farewell=None):
            if farewell is not None:
                import atexit

                atexit.register(farewell.write_bytes, b"bye")

        def pid(self):
            return os.getpid()

        def wait_for(self, gate):
            gate.read_bytes()
            return "waited"

        def was_restarted(self):
            return ray.get_runtime_context().was_current_actor_reconstructed

        def exit_actor(self):
            ray.actor.exit_actor()

        def sys_exit(self, code):
            sys.exit(code)

        def crash(self):
            os.kill(os.getpid(), signal.SIGKILL)

    return Mortal


@pytest.fixture(scope="module")
def closing_classes(ray):
    """A class that closes what it has opened, by how it serves its calls."""

    class Closing:
        def __init__(self, farewell):
            import atexit

            self.said = said = []
            self.itself = self  # the collector must find it
            atexit.register(lambda: farewell.write_text(" ".join(said)))

        def exit_actor(self):
            ray.actor.exit_actor()

        def sys_exit(self):
            sys.exit(3)

        def __ray_shutdown__(self):
            self.said.append("shutdown")

        def __del__(self):
            self.said.append("del")

    class AsyncClosing(Closing):
        async def exit_actor(self):
            ray.actor.exit_actor()

    class Failing(Closing):
        def __ray_shutdown__(self):
            super().__ray_shutdown__()
            raise ValueError("closed already")

    return {
        "in turn": ray.remote(Closing),
        "threads": ray.remote(max_concurrency=2)(Closing),
        "loop": ray.remote(AsyncClosing),
        "failing": ray.remote(Failing),
    }


@pytest.mark.parametrize("kind", ["in turn", "threads", "loop", "failing"])
@pytest.mark.parametrize("end", [None, "exit_actor", "sys_exit", "__ray_terminate__"])
def test_actor_that_is_not_killed_closes_what_it_has_opened(closing_classes, gate, kind, end):
    # Programs that closed databases and files in these methods lost what they had written.
    closing = closing_classes[kind].remote(gate)
    if end is not None:
        getattr(closing, end).remote()
    del closing
    assert gate.read_text() == "shutdown del"


def test_actor_may_use_others_while_it_closes(ray, gate):
    @ray.remote
    class Closing:
        def __init__(self, other):
            self.other = other

        def __ray_shutdown__(self):
            gate.write_text(str(ray.get([self.other.pid.remote(), ray.put(1)])))

    @ray.remote
    class Other:
        def pid(self):
            return os.getpid()

    other = Other.remote()
    closing = Closing.remote(other)
    pid = ray.get(other.pid.remote())
    del closing
    assert gate.read_text() == f"[{pid}, 1]"


def test_actor_ends_with_its_last_handle(Mortal, gate):
    mortal = Mortal.remote(gate)
    mortal.pid.remote()
    del mortal
    assert gate.read_bytes() == b"bye"


def test_queued_calls_finish_before_the_end(ray, Mortal, gates):
    farewell, gate = gates("farewell"), gates("gate")
    mortal = Mortal.remote(farewell)
    first, second = mortal.wait_for.remote(gate), mortal.pid.remote()
    del mortal
    gate.write_bytes(b"")
    assert ray.get(first) == "waited"
    assert ray.get(second) > 0
    assert farewell.read_bytes() == b"bye"


def test_handle_in_a_stored_value_keeps_the_actor(ray, Mortal, gate):
    mortal = Mortal.remote(gate)
    ref = ray.put([mortal])
    del mortal
    assert ray.get(ray.get(ref)[0].pid.remote()) > 0
    del ref
    assert gate.read_bytes() == b"bye"


def test_killed_actor_fails_its_calls(ray, Mortal, gate):
    mortal = Mortal.remote()
    running, queued = mortal.wait_for.remote(gate), mortal.pid.remote()
    gate.write_bytes(b"")
    ray.get(running)
    running, queued = mortal.wait_for.remote(gate), mortal.pid.remote()
    ray.kill(mortal)
    for ref in (running, queued, mortal.pid.remote()):
        with pytest.raises(ray.exceptions.ActorDiedError, match="it was killed by `ray"):
            ray.get(ref)


def test_kill_takes_only_handles(ray):
    with pytest.raises(ValueError, match=r"ray.kill\(\) only supported for actors"):
        ray.kill(ray.put(1))


def test_exit_actor_ends_the_actor_gracefully(ray, Mortal, gate):
    mortal = Mortal.remote(gate)
    exits = mortal.exit_actor.remote()
    assert gate.read_bytes() == b"bye"
    for ref in (exits, mortal.pid.remote()):
        with pytest.raises(ray.exceptions.ActorDiedError, match=r"exit_actor\(\) is called"):
            ray.get(ref)


def test_exit_actor_outside_of_an_actor_is_refused(ray):
    with pytest.raises(TypeError, match="called on a non-actor worker"):
        ray.actor.exit_actor()


def test_terminate_ends_the_actor_after_earlier_calls(ray, Mortal, gate):
    mortal = Mortal.remote(gate)
    before = mortal.pid.remote()
    mortal.__ray_terminate__.remote()
    assert gate.read_bytes() == b"bye"
    assert ray.get(before) > 0
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(mortal.pid.remote())


def test_exit_with_code_zero_is_for_good(ray, Mortal):
    mortal = Mortal.options(max_restarts=3).remote()
    with pytest.raises(ray.exceptions.ActorDiedError, match="exit code 0"):
        ray.get(mortal.sys_exit.remote(0))
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(mortal.pid.remote())


def test_exit_with_another_code_is_a_crash(ray, Mortal):
    mortal = Mortal.options(max_restarts=1, max_task_retries=-1).remote()
    assert not ray.get(mortal.was_restarted.remote())
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(mortal.sys_exit.options(max_task_retries=0).remote(3))
    assert ray.get(mortal.was_restarted.remote())


@pytest.mark.processes("its process is killed")
def test_crashed_actor_fails_its_calls(ray, Mortal):
    mortal = Mortal.remote()
    crashed = mortal.crash.remote()
    for ref in (crashed, mortal.pid.remote()):
        with pytest.raises(ray.exceptions.ActorDiedError, match="its worker process has died"):
            ray.get(ref)


def test_death_of_an_actor_leaves_values_that_it_made(ray):
    @ray.remote
    class Maker:
        def make(self):
            return b"x" * 1_000_000

    maker = Maker.remote()
    made = maker.make.remote()
    ray.wait([made])
    ray.kill(maker)
    assert len(ray.get(made)) == 1_000_000
