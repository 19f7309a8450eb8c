"""Retries: after crashes, after exceptions, and for generators."""

import os
import signal

import pytest


@pytest.mark.processes("its process is killed")
def test_crashed_task_runs_again(ray, attempts):
    @ray.remote(max_retries=2)
    def crash_once():
        with attempts.open("ab") as log:
            log.write(b"x")
        if attempts.stat().st_size == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return "survived"

    assert ray.get(crash_once.remote()) == "survived"
    assert attempts.stat().st_size == 2


@pytest.mark.processes("its process ends")
def test_crashes_are_retried_three_times_by_default(ray, attempts):
    @ray.remote
    def crash():
        with attempts.open("ab") as log:
            log.write(b"x")
        os._exit(1)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(crash.remote())
    assert attempts.stat().st_size == 4


def test_exceptions_are_not_retried_by_default(ray, attempts):
    @ray.remote(max_retries=5)
    def fail():
        with attempts.open("ab") as log:
            log.write(b"x")
        raise ValueError("once")

    with pytest.raises(ValueError):
        ray.get(fail.remote())
    assert attempts.stat().st_size == 1


def test_retry_exceptions_runs_again_until_it_works(ray, attempts):
    @ray.remote(max_retries=5, retry_exceptions=True)
    def fail_twice():
        with attempts.open("ab") as log:
            log.write(b"x")
        if attempts.stat().st_size <= 2:
            raise ValueError("not yet")
        return "worked"

    assert ray.get(fail_twice.remote()) == "worked"
    assert attempts.stat().st_size == 3


def test_retry_exceptions_gives_the_last_error_when_none_is_left(ray, attempts):
    @ray.remote(max_retries=2, retry_exceptions=True)
    def fail():
        with attempts.open("ab") as log:
            log.write(b"x")
        raise ValueError(f"attempt {attempts.stat().st_size}")

    with pytest.raises(ValueError, match="attempt 3"):
        ray.get(fail.remote())


@pytest.mark.parametrize(("raised", "times"), [(KeyError, 3), (ValueError, 1)])
def test_only_listed_exceptions_are_retried(ray, attempts, raised, times):
    @ray.remote(max_retries=2, retry_exceptions=[LookupError])
    def fail():
        with attempts.open("ab") as log:
            log.write(b"x")
        raise raised("no")

    with pytest.raises(raised):
        ray.get(fail.remote())
    assert attempts.stat().st_size == times


@pytest.mark.processes("its process is killed")
def test_retried_stream_shows_each_index_once(ray, attempts):
    @ray.remote(max_retries=2)
    def items():
        with attempts.open("ab") as log:
            log.write(b"x")
        for k in range(5):
            if k == 3 and attempts.stat().st_size == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            yield k

    assert [ray.get(ref) for ref in items.remote()] == [0, 1, 2, 3, 4]
    assert attempts.stat().st_size == 2


def test_stream_retried_for_an_exception_shows_each_index_once(ray, attempts):
    @ray.remote(max_retries=2, retry_exceptions=True)
    def items():
        with attempts.open("ab") as log:
            log.write(b"x")
        for k in range(5):
            if k == 3 and attempts.stat().st_size == 1:
                raise ValueError("not yet")
            yield k

    assert [ray.get(ref) for ref in items.remote()] == [0, 1, 2, 3, 4]
    assert attempts.stat().st_size == 2


def test_crashed_stream_without_retries_ends_with_the_crash(ray, gate):
    @ray.remote(max_retries=0)
    def items():
        yield 1
        gate.read_bytes()
        os._exit(1)

    stream = items.remote()
    assert ray.get(next(stream)) == 1
    gate.write_bytes(b"")
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        for ref in stream:
            ray.get(ref)
    with pytest.raises(StopIteration):
        next(stream)
