"""Restarts of actors, and retries of their calls."""

import os
import signal

import pytest


@pytest.fixture(scope="module")
def Phoenix(ray):
    @ray.remote
    class Phoenix:
        def __init__(self):
            self.calls = 0

        def count(self):
            self.calls += 1
            return self.calls

        def was_restarted(self):
            return ray.get_runtime_context().was_current_actor_reconstructed

        def die(self, attempts, times):
            with attempts.open("ab") as log:
                log.write(b"x")
            if attempts.stat().st_size <= times:
                os.kill(os.getpid(), signal.SIGKILL)
            return "survived"

        def fail(self, attempts, times):
            with attempts.open("ab") as log:
                log.write(b"x")
            if attempts.stat().st_size <= times:
                raise ValueError("again")
            return "worked"

    return Phoenix


@pytest.mark.processes("its process is killed")
def test_restarted_actor_begins_anew(ray, Phoenix, attempts):
    phoenix = Phoenix.options(max_restarts=1, max_task_retries=1).remote()
    assert ray.get([phoenix.count.remote(), phoenix.count.remote()]) == [1, 2]
    assert ray.get(phoenix.was_restarted.remote()) is False
    assert ray.get(phoenix.die.remote(attempts, 1)) == "survived"
    assert ray.get(phoenix.count.remote()) == 1
    assert ray.get(phoenix.was_restarted.remote()) is True
    assert attempts.stat().st_size == 2


@pytest.mark.processes("its process is killed")
def test_without_retries_the_call_under_way_fails_and_the_actor_is_restarted(
    ray, Phoenix, attempts
):
    phoenix = Phoenix.options(max_restarts=1).remote()
    with pytest.raises(ray.exceptions.ActorUnavailableError):
        ray.get(phoenix.die.remote(attempts, 1))
    assert attempts.stat().st_size == 1


@pytest.mark.processes("its process is killed")
def test_actor_is_dead_when_its_restarts_are_used_up(ray, Phoenix, attempts):
    phoenix = Phoenix.options(max_restarts=2, max_task_retries=-1).remote()
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(phoenix.die.remote(attempts, 100))
    assert attempts.stat().st_size == 3


@pytest.mark.processes("its process is killed")
def test_retries_of_a_call_bound_its_attempts(ray, Phoenix, attempts):
    phoenix = Phoenix.options(max_restarts=-1, max_task_retries=2).remote()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(phoenix.die.remote(attempts, 100))
    assert attempts.stat().st_size == 3


def test_kill_without_no_restart_restarts(ray, Phoenix):
    phoenix = Phoenix.options(max_restarts=1, max_task_retries=-1).remote()
    ray.get(phoenix.count.remote())
    ray.kill(phoenix, no_restart=False)
    assert ray.get(phoenix.was_restarted.remote()) in {True, False}  # the call may come first
    ray.get(phoenix.__ray_ready__.remote())


def test_exceptions_are_retried_when_the_call_says_so(ray, Phoenix, attempts):
    phoenix = Phoenix.remote()
    call = phoenix.fail.options(max_task_retries=3, retry_exceptions=True)
    assert ray.get(call.remote(attempts, 2)) == "worked"
    assert attempts.stat().st_size == 3


def test_exceptions_are_not_retried_by_default(ray, Phoenix, attempts):
    phoenix = Phoenix.options(max_task_retries=5).remote()
    with pytest.raises(ValueError, match="again"):
        ray.get(phoenix.fail.remote(attempts, 2))
    assert attempts.stat().st_size == 1


def test_only_named_exceptions_are_retried(ray, Phoenix, attempts):
    phoenix = Phoenix.remote()
    call = phoenix.fail.options(max_task_retries=3, retry_exceptions=[KeyError])
    with pytest.raises(ValueError, match="again"):
        ray.get(call.remote(attempts, 2))
    assert attempts.stat().st_size == 1


def test_option_of_the_call_counts_more_than_the_method_and_that_more_than_the_actor(ray, tmp_path):
    @ray.remote(max_task_retries=1)
    class Layered:
        @ray.method(max_task_retries=2, retry_exceptions=True)
        def decorated(self, log):
            with log.open("ab") as file:
                file.write(b"x")
            raise ValueError("always")

        def plain(self, log):
            with log.open("ab") as file:
                file.write(b"x")
            raise ValueError("always")

    layered = Layered.remote()
    counts = []
    for name, call in [
        ("plain", layered.plain.options(retry_exceptions=True)),
        ("method", layered.decorated),
        ("call", layered.decorated.options(max_task_retries=3)),
        ("off", layered.decorated.options(retry_exceptions=False)),
    ]:
        with pytest.raises(ValueError, match="always"):
            ray.get(call.remote(tmp_path / name))
        counts.append((tmp_path / name).stat().st_size)
    assert counts == [2, 3, 4, 1]


@pytest.mark.processes("its process is killed")
def test_constructor_that_fails_after_a_restart_ends_the_actor(ray, attempts):
    @ray.remote(max_restarts=-1, max_task_retries=-1)
    class Once:
        def __init__(self):
            with attempts.open("ab") as log:
                log.write(b"x")
            if attempts.stat().st_size > 1:
                raise ValueError("not twice")

        def crash(self):
            os.kill(os.getpid(), signal.SIGKILL)

    once = Once.remote()
    with pytest.raises(ray.exceptions.ActorDiedError, match="not twice"):
        ray.get(once.crash.remote())


def test_pending_calls_are_limited(ray, Phoenix, gate):
    @ray.remote(max_pending_calls=2)
    class Slow:
        def wait(self):
            gate.read_bytes()

    slow = Slow.remote()
    calls = [slow.wait.remote(), slow.wait.remote()]
    with pytest.raises(ray.exceptions.PendingCallsLimitExceeded, match="max_pending_calls"):
        slow.wait.remote()
    for call in calls:
        gate.write_bytes(b"")
        ray.get(call)
    again = slow.wait.remote()
    gate.write_bytes(b"")
    ray.get(again)
