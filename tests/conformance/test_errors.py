"""What `get` raises, and what it tells."""

import pickle

import pytest


def test_error_is_both_of_its_own_class_and_a_task_error(ray):
    @ray.remote
    def divide():
        return 1 // 0

    with pytest.raises(ZeroDivisionError) as caught:
        ray.get(divide.remote())
    error = caught.value
    assert isinstance(error, ray.exceptions.RayTaskError)
    assert type(error).__name__ == "RayTaskError(ZeroDivisionError)"
    assert isinstance(error.cause, ZeroDivisionError)


def test_text_holds_the_remote_traceback(ray):
    @ray.remote
    def divide():
        unlikely_name = 0
        return 1 // unlikely_name

    with pytest.raises(ZeroDivisionError) as caught:
        ray.get(divide.remote())
    text = str(caught.value)
    assert "ray::" in text
    assert "divide()" in text
    assert "pid=" in text
    assert "return 1 // unlikely_name" in text
    assert "ZeroDivisionError" in text


def test_arguments_of_the_cause_arrive(ray):
    @ray.remote
    def fail():
        raise ValueError("text", 7)

    with pytest.raises(ValueError) as caught:
        ray.get(fail.remote())
    assert caught.value.cause.args == ("text", 7)


def test_class_of_the_user_arrives_with_its_attributes(ray):
    class Custom(Exception):
        def __init__(self, code):
            super().__init__(f"code {code}")
            self.code = code

    @ray.remote
    def fail():
        raise Custom(42)

    with pytest.raises(Custom) as caught:
        ray.get(fail.remote())
    assert caught.value.cause.code == 42


def test_error_passes_through_dependent_tasks(ray):
    @ray.remote
    def fail():
        raise KeyError("origin")

    @ray.remote
    def use(value):
        return value

    with pytest.raises(KeyError, match="origin"):
        ray.get(use.remote(use.remote(fail.remote())))


def test_error_of_a_nested_get_keeps_its_class(ray):
    @ray.remote
    def fail():
        raise KeyError("inner")

    @ray.remote
    def outer():
        return ray.get(fail.remote())

    with pytest.raises(KeyError, match="inner"):
        ray.get(outer.remote())


class WithProperty(Exception):
    @property
    def cause(self):
        return "disk"


class WithSlot(Exception):
    __slots__ = ("cause",)


class WithAttribute(Exception):
    cause = pid = "disk"


@pytest.mark.engine("skate", "local")
@pytest.mark.parametrize("error_class", [WithProperty, WithSlot, WithAttribute])
def test_class_of_the_user_may_use_the_names_of_our_fields(ray, error_class):
    # A property `cause` was taken for the error, and an unset slot was a RecursionError.
    @ray.remote
    def fail():
        raise error_class("inner")

    @ray.remote
    def outer():
        return ray.get(fail.remote())

    for function in (fail, outer):
        with pytest.raises(error_class, match="inner") as caught:
            ray.get(function.remote())
        for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
            assert isinstance(error, error_class)
            assert type(error.cause) is error_class
            assert isinstance(error.pid, int)


def test_get_raises_again_each_time(ray):
    @ray.remote
    def fail():
        raise ValueError("again")

    ref = fail.remote()
    for _ in range(2):
        with pytest.raises(ValueError, match="again"):
            ray.get(ref)


def test_error_that_cannot_be_pickled_keeps_its_text(ray):
    class Locked(Exception):
        def __reduce__(self):
            raise TypeError("no way")

    @ray.remote
    def fail():
        raise Locked("still readable")

    with pytest.raises(ray.exceptions.RayTaskError, match="still readable"):
        ray.get(fail.remote())


def test_returned_exception_is_a_value(ray):
    @ray.remote
    def give():
        return ValueError("only a value")

    assert isinstance(ray.get(give.remote()), ValueError)


def test_stop_iteration_of_a_plain_task_is_a_task_error(ray):
    @ray.remote
    def stop():
        raise StopIteration("over")

    with pytest.raises(ray.exceptions.RayTaskError, match="over"):
        ray.get(stop.remote())


def test_exception_group_keeps_its_members(ray):
    @ray.remote
    def fail():
        raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])

    with pytest.raises(ExceptionGroup) as caught:
        ray.get(fail.remote())
    assert [type(error) for error in caught.value.exceptions] == [ValueError, KeyError]


@pytest.mark.processes("its process ends")
def test_exit_of_a_worker_is_a_worker_crash(ray):
    @ray.remote(max_retries=0)
    def leave():
        import os

        os._exit(3)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(leave.remote())


@pytest.mark.processes("its process is killed")
def test_killed_worker_is_a_worker_crash(ray):
    @ray.remote(max_retries=0)
    def kill():
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(kill.remote())


@pytest.mark.processes("its process ends")
def test_other_tasks_go_on_after_a_worker_crash(ray):
    @ray.remote(max_retries=0)
    def maybe(k):
        import os

        if k == 3:
            os._exit(1)
        return k

    @ray.remote
    def fine(k):
        return k

    bad = maybe.remote(3)
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(bad)
    assert ray.get([fine.remote(k) for k in range(10)]) == list(range(10))


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("RayTaskError", "RayError"),
        ("WorkerCrashedError", "RayError"),
        ("TaskCancelledError", "RayError"),
        ("GetTimeoutError", "RayError"),
        ("ObjectLostError", "RayError"),
        ("OwnerDiedError", "ObjectLostError"),
        ("RayActorError", "RayError"),
        ("ActorDiedError", "RayActorError"),
        ("ActorUnavailableError", "RayActorError"),
        ("ObjectStoreFullError", "RayError"),
        ("OutOfMemoryError", "RayError"),
        ("RuntimeEnvSetupError", "RayError"),
        ("RaySystemError", "RayError"),
        ("PendingCallsLimitExceeded", "RayError"),
    ],
)
def test_exception_names_and_their_bases(engine, name, base):
    errors = engine.exceptions
    assert issubclass(getattr(errors, name), getattr(errors, base))
    assert issubclass(getattr(errors, name), Exception)
