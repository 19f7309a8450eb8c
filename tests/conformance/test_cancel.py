"""cancel: before a task runs, while it runs, and after."""

import pytest


def test_pending_task_never_runs(ray, gate, attempts):
    @ray.remote
    def wait():
        gate.read_bytes()
        return 1

    @ray.remote
    def run(value):
        with attempts.open("ab") as log:
            log.write(b"x")

    blocker = wait.remote()
    ref = run.remote(blocker)
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError) as cancelled:
        ray.get(ref)
    assert not isinstance(cancelled.value, ray.exceptions.RayTaskError)
    gate.write_bytes(b"")
    assert ray.get(blocker) == 1
    assert attempts.stat().st_size == 0


def test_running_task_is_interrupted(ray, gates):
    started, never = gates("started"), gates("never")

    @ray.remote
    def wait():
        started.write_bytes(b"")
        never.read_bytes()

    ref = wait.remote()
    started.read_bytes()
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    with pytest.raises(ray.exceptions.RayTaskError, match="was cancelled"):
        ray.get(ref)


def test_running_task_sees_keyboard_interrupt(ray, gates):
    started, never, seen = gates("started"), gates("never"), gates("seen")

    @ray.remote
    def wait():
        try:
            started.write_bytes(b"")
            never.read_bytes()
        except KeyboardInterrupt:
            seen.write_bytes(b"interrupted")
            raise

    ref = wait.remote()
    started.read_bytes()
    ray.cancel(ref)
    assert seen.read_bytes() == b"interrupted"
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)


def test_force_ends_a_task_that_ignores_interrupts(ray, gates):
    started = gates("started")

    @ray.remote(max_retries=0)
    def stubborn():
        import signal

        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        started.write_bytes(b"")
        signal.sigwait({signal.SIGUSR2})

    ref = stubborn.remote()
    started.read_bytes()
    ray.cancel(ref, force=True)
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.WorkerCrashedError)):
        ray.get(ref)


def test_finished_task_keeps_its_value(ray):
    @ray.remote
    def one():
        return 1

    ref = one.remote()
    assert ray.get(ref) == 1
    ray.cancel(ref)
    assert ray.get(ref) == 1


def test_dependents_of_a_cancelled_task_fail_too(ray, gates):
    started, never = gates("started"), gates("never")

    @ray.remote
    def wait():
        started.write_bytes(b"")
        never.read_bytes()

    @ray.remote
    def use(value):
        return value

    ref = wait.remote()
    dependent = use.remote(ref)
    started.read_bytes()
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(dependent)


def test_children_are_cancelled_with_their_parent(ray, gates):
    started, never, seen = gates("started"), gates("never"), gates("seen")

    @ray.remote
    def child():
        try:
            started.write_bytes(b"")
            never.read_bytes()
        except KeyboardInterrupt:
            seen.write_bytes(b"child")
            raise

    @ray.remote
    def parent():
        return ray.get(child.remote())

    ref = parent.remote()
    started.read_bytes()
    ray.cancel(ref)
    assert seen.read_bytes() == b"child"
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.RayTaskError)):
        ray.get(ref)


def test_cancelled_stream_ends_with_the_error(ray, gate):
    @ray.remote
    def items():
        yield 1
        gate.read_bytes()
        yield 2

    stream = items.remote()
    assert ray.get(next(stream)) == 1
    ray.cancel(stream)
    with pytest.raises(ray.exceptions.TaskCancelledError) as cancelled:
        for ref in stream:
            ray.get(ref)
    assert isinstance(cancelled.value, ray.exceptions.RayTaskError)
    with pytest.raises(StopIteration):
        next(stream)


def test_worker_serves_others_after_a_cancel(ray, gates):
    @ray.remote
    def one():
        return 1

    for k in range(3):
        started, never = gates(f"started{k}"), gates(f"never{k}")

        @ray.remote
        def wait(started, never):
            started.write_bytes(b"")
            never.read_bytes()

        ref = wait.remote(started, never)
        started.read_bytes()
        ray.cancel(ref)
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(ref)
        assert ray.get([one.remote() for _ in range(5)]) == [1] * 5


@pytest.mark.parametrize("thing", [1, None, "ref"])
def test_only_refs_and_streams_can_be_cancelled(ray, thing):
    with pytest.raises(TypeError):
        ray.cancel(thing)
