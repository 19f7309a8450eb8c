"""Wrong use around sessions, and tasks that end their process: clear errors, and nothing hangs."""

import asyncio
import copy
import os
import signal
import sys

import pytest


@pytest.fixture
def skate(fresh):
    fresh.init(num_cpus=2)
    return fresh


CALLS = {
    "put": lambda skate, _ref: skate.put(1),
    "remote": lambda skate, _ref: skate.remote(lambda: 1).remote(),
    "wait": lambda skate, ref: skate.wait([ref]),
    "get": lambda skate, ref: skate.get(ref),
    "cancel": lambda skate, ref: skate.cancel(ref),
    "nodes": lambda skate, _ref: skate.nodes(),
    "future": lambda _skate, ref: ref.future(),
}


@pytest.mark.parametrize("call", CALLS)
def test_without_a_session_when_starting_by_itself_is_off(fresh, monkeypatch, call):
    monkeypatch.setenv("RAY_ENABLE_AUTO_CONNECT", "0")
    with pytest.raises(fresh.exceptions.RaySystemError, match=r"ray\.init"):
        CALLS[call](fresh, fresh.ObjectRef.from_random())
    assert not fresh.is_initialized()


@pytest.mark.parametrize("call", ["get", "get_list", "wait", "argument", "nested", "cancel", "put"])
def test_ref_of_an_earlier_session_is_named(skate, call):
    old = skate.put(1)
    skate.shutdown()
    skate.init(num_cpus=1)

    @skate.remote
    def same(x):
        return x

    calls = {
        "get": lambda: skate.get(old),
        "get_list": lambda: skate.get([skate.put(2), old]),
        "wait": lambda: skate.wait([old]),
        "argument": lambda: same.remote(old),
        "nested": lambda: same.remote([{"key": old}]),
        "cancel": lambda: skate.cancel(old),
        "put": lambda: skate.put([old]),
    }
    with pytest.raises(skate.exceptions.RaySystemError, match="earlier session") as caught:
        calls[call]()
    assert old.hex() in str(caught.value)
    assert skate.get(same.remote(3)) == 3


def test_what_is_of_an_ended_session_begins_no_other(skate):
    # A thread that still called an actor began one, and the program's next `init` failed.
    @skate.remote
    def items():
        yield 1

    @skate.remote
    class Actor:
        def call(self):
            pass

    async def awaited(awaitable):
        return await awaitable

    ref, stream, actor, used = skate.put(1), items.remote(), Actor.remote(), Actor.remote()
    dynamic = skate.get(items.options(num_returns="dynamic").remote())
    group = skate.util.placement_group([{"CPU": 1}])
    skate.get(used.call.remote())
    skate.shutdown()
    uses = [
        lambda: actor.call.remote(),
        lambda: actor.call.options(name="x").remote(),
        lambda: used.call.remote(),
        lambda: skate.get(ref),
        lambda: skate.get([ref]),
        lambda: skate.get(stream),
        lambda: skate.wait([ref]),
        lambda: skate.wait([stream]),
        lambda: skate.cancel(ref),
        lambda: skate.cancel(stream),
        lambda: ref.future(),
        lambda: ref._on_completed(print),
        lambda: asyncio.run(awaited(ref)),
        lambda: asyncio.run(anext(stream)),
        lambda: copy.copy(dynamic),
        lambda: group.ready(),
    ]
    for use in uses:
        with pytest.raises(skate.exceptions.RaySystemError, match="earlier session"):
            use()
        assert not skate.is_initialized()
    with pytest.raises(skate.exceptions.RaySystemError):
        skate.kill(actor)
    skate.util.remove_placement_group(group)
    assert skate.util.placement_group_table(group) == {}
    assert not skate.is_initialized()


def test_generator_of_an_earlier_session_is_refused(skate):
    @skate.remote
    def items():
        yield 1

    stream = items.remote()
    skate.shutdown()
    with pytest.raises(skate.exceptions.RaySystemError):
        next(stream)
    skate.init(num_cpus=1)
    with pytest.raises(skate.exceptions.RaySystemError):
        next(stream)
    assert [skate.get(ref) for ref in items.remote()] == [1]


def test_get_that_waits_while_the_session_is_shut_down_ends(skate):
    import threading

    @skate.remote
    def wait():
        signal.pause()

    ref, errors, began = wait.remote(), [], threading.Event()

    def work():
        began.set()
        try:
            skate.get(ref)
        except skate.exceptions.RayError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    began.wait()
    skate.shutdown()
    thread.join(20)
    assert len(errors) == 1


def test_task_that_can_never_run_is_named_and_can_be_cancelled(run):
    out, err = run("""
        skate.init(num_cpus=2)

        @skate.remote(num_cpus=64, resources={"unicorn": 1})
        def impossible():
            return 1

        @skate.remote
        def dependent(x):
            return x

        ref = impossible.remote()
        after = dependent.remote(ref)
        assert skate.wait([ref], timeout=0) == ([], [ref])
        assert skate.get(skate.remote(lambda: 2).remote()) == 2
        skate.cancel(ref)
        for each in (ref, after):
            try:
                skate.get(each, timeout=20)
            except skate.exceptions.TaskCancelledError:
                print("cancelled")
    """)
    assert out == "cancelled\ncancelled\n"
    assert "impossible" in err
    assert "unicorn" in err
    assert "64" in err


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (lambda: os._exit(3), "exit code 3"),
        (lambda: sys.exit(4), "exit code 4"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "SIGTERM"),
        (lambda: os.abort(), "SIGABRT"),
    ],
)
def test_process_that_ends_under_a_task(skate, end, text):
    @skate.remote(max_retries=0)
    def task():
        end()

    with pytest.raises(skate.exceptions.WorkerCrashedError, match=text) as caught:
        skate.get(task.remote())
    assert "pid" in str(caught.value)
    assert skate.get(skate.remote(lambda: 1).remote()) == 1


def test_crash_in_c_code_shows_where(run):
    out, err = run("""
        import ctypes

        @skate.remote(max_retries=0)
        def reads_null():
            ctypes.string_at(0)

        try:
            skate.get(reads_null.remote())
        except skate.exceptions.WorkerCrashedError as error:
            print(error)
    """)
    assert "SIGSEGV" in out
    assert "Fatal Python error: Segmentation fault" in err
    assert "in reads_null" in err


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Python counts frames of C code itself")
def test_stack_overflow_in_c_code_ends_the_task_alone(run):
    out, err = run(
        """
        skate.init(num_cpus=1)

        @skate.remote(max_retries=0)
        def overflow():
            sys.setrecursionlimit(10**9)
            nested = []
            for _ in range(10**6):
                nested = [nested]
            return repr(nested)

        try:
            skate.get(overflow.remote())
        except skate.exceptions.WorkerCrashedError as error:
            print("SIGSEGV" in str(error))
        print(skate.get(skate.remote(lambda: 1).remote()))
        """
    )
    assert out == "True\n1\n"
    assert "in overflow" in err


def test_recursion_without_end_is_an_error_of_the_task(skate):
    @skate.remote(max_retries=0)
    def deep(n):
        def down(n):
            return down(n + 1)

        return down(n)

    with pytest.raises(RecursionError):
        skate.get(deep.remote(0))


def test_nested_data_too_deep_to_pickle_is_a_clear_error(skate):
    nest = []
    for _ in range(100_000):
        nest = [nest]
    with pytest.raises((RecursionError, TypeError, ValueError)):
        skate.put(nest)

    @skate.remote(max_retries=0)
    def make():
        deep = []
        for _ in range(100_000):
            deep = [deep]
        return deep

    with pytest.raises(skate.exceptions.RayError):
        skate.get(make.remote())
    assert skate.get(skate.remote(lambda: 1).remote()) == 1


def test_exception_that_cannot_be_pickled_keeps_its_text(skate):
    import threading

    @skate.remote
    def fail():
        error = ValueError("the text")
        error.lock = threading.Lock()
        raise error

    with pytest.raises(skate.exceptions.RayTaskError, match="the text"):
        skate.get(fail.remote())
