"""A12, 3.10: errors that nobody fetched are reported once, and are data."""

import os
import subprocess
import sys
import textwrap
import time

import pytest


@pytest.fixture
def errors(fresh):
    """What is listed, once so many errors are."""
    from skate.util.state import list_unhandled_errors

    fresh.init(num_cpus=2)

    def listed(count):
        while len(list_unhandled_errors()) < count:
            time.sleep(0.001)
        return list_unhandled_errors()

    return listed


def make_fail(skate):
    @skate.remote(max_retries=0)
    def fail(text="lost", stop=0):
        for k in range(stop):
            yield k
        raise ValueError(text)

    return fail


def test_row_has_attributes_and_items(fresh, errors):
    before = time.time()
    ref = make_fail(fresh).options(num_returns=1).remote()
    task_id = ref.task_id().hex()
    fresh.wait([ref])
    del ref
    (row,) = errors(1)
    assert row.name == row["name"] == "fail"
    assert row.task_id == row["task_id"] == task_id
    assert isinstance(row.error, ValueError)
    assert "raise ValueError(text)" in row["traceback"]
    assert before <= row.time <= time.time()
    assert dict(row)["num_returns"] is None
    with pytest.raises(KeyError):
        row["nothing"]


def test_cancel_after_the_last_value_is_not_reported(fresh, errors):
    @fresh.remote(num_returns=1)
    def lingers():
        yield 1
        while True:
            time.sleep(0.01)

    ref = lingers.remote()
    assert fresh.get(ref) == 1
    fresh.cancel(ref)
    while fresh.statistics().tasks:
        time.sleep(0.001)
    assert fresh.get(ref) == 1
    make_fail(fresh).options(num_returns=1).remote()
    (row,) = errors(1)
    assert row.name == "fail"


def test_fetched_error_is_not_reported(fresh, errors):
    fail = make_fail(fresh).options(num_returns=1)
    ref = fail.remote("fetched")
    with pytest.raises(ValueError):
        fresh.get(ref)
    del ref
    other = fail.remote("not fetched")
    fresh.wait([other])
    del other
    (row,) = errors(1)
    assert "not fetched" in row.traceback


def test_error_that_a_dependent_inherited_is_one_error(fresh, errors):
    @fresh.remote
    def use(value):
        return value

    refs = [make_fail(fresh).options(num_returns=1).remote("first")]
    for _ in range(3):
        refs.append(use.remote(refs[-1]))
    fresh.wait([refs[-1]])
    refs.clear()
    assert len(errors(1)) == 1

    ref = use.remote(make_fail(fresh).options(num_returns=1).remote("seen by its dependent"))
    with pytest.raises(ValueError):
        fresh.get(ref)
    del ref
    assert len(errors(1)) == 1


def test_all_static_refs_of_a_failure_are_one_error(fresh, errors):
    refs = make_fail(fresh).options(num_returns=4).remote(stop=1)
    fresh.wait(refs, num_returns=4)
    del refs[1]
    assert errors(0) == []  # two refs can still raise it
    refs.clear()
    assert len(errors(1)) == 1


def test_unread_error_of_a_dropped_stream_is_reported(fresh, errors):
    stream = make_fail(fresh).remote("in the stream", stop=3)
    fresh.wait([stream.completed()])
    next(stream)
    del stream
    (row,) = errors(1)
    assert "in the stream" in row.traceback


def test_error_after_the_drop_is_reported(fresh, errors, gate):
    @fresh.remote
    def fail():
        gate.read_bytes()
        raise ValueError("nobody is left")
        yield

    stream = fail.remote()
    del stream
    gate.write_bytes(b"")
    assert "nobody is left" in errors(1)[0].traceback


def test_crash_that_nobody_fetched_is_reported(fresh, errors):
    @fresh.remote(max_retries=0)
    def crash():
        os._exit(3)

    ref = crash.remote()
    fresh.wait([ref])
    del ref
    (row,) = errors(1)
    assert isinstance(row.error, fresh.exceptions.WorkerCrashedError)
    assert "exit code 3" in row.traceback


def test_cancelled_task_is_not_reported(fresh, errors, gate):
    @fresh.remote
    def wait():
        gate.read_bytes()

    ref = wait.remote()
    fresh.cancel(ref)
    fresh.wait([ref])
    del ref
    other = make_fail(fresh).options(num_returns=1).remote("other")
    fresh.wait([other])
    del other
    (row,) = errors(1)
    assert "other" in row.traceback


def test_one_yield_too_many_is_a_row_with_both_counts(fresh, errors):
    @fresh.remote(num_returns=2)
    def items():
        yield from range(5)

    assert fresh.get(items.remote()) == [0, 1]
    (row,) = errors(1)
    assert row.num_returns == 2
    assert "items yielded at least 3 where 2 were asked for" in row.traceback


def test_error_too_large_for_a_message_is_kept(fresh, errors):
    ref = make_fail(fresh).options(num_returns=1).remote("x" * 100_000)
    fresh.wait([ref])
    del ref
    (row,) = errors(1)
    assert str(row.error.cause) == "x" * 100_000


def test_large_ones_are_kept_up_to_a_bound(fresh, monkeypatch):
    """10,000 of any size were."""
    from skate.util.state import list_unhandled_errors

    monkeypatch.setenv("SKATE_IGNORE_UNHANDLED_ERRORS", "1")
    fresh.init(num_cpus=1)
    fail = make_fail(fresh).options(num_returns=1)
    for number in range(40):
        ref = fail.remote(f"{number} {'x' * 2_000_000}")
        fresh.wait([ref])
        del ref
    while not (rows := list_unhandled_errors()) or "39 x" not in str(rows[-1].error)[:10_000]:
        time.sleep(0.001)
    assert 1 < len(rows) < 40


def test_limit_gives_the_latest(fresh, errors):
    from skate.util.state import list_unhandled_errors

    fail = make_fail(fresh).options(num_returns=1)
    for k in range(3):
        ref = fail.remote(f"error {k}")
        fresh.wait([ref])
        del ref
        errors(k + 1)
    (row,) = list_unhandled_errors(limit=1)
    assert "error 2" in row.traceback
    with pytest.raises(ValueError, match="limit is 0"):
        list_unhandled_errors(limit=0)


PROGRAM = textwrap.dedent("""
    import skate, sys
    skate.init(num_cpus=1)

    @skate.remote
    def fail():
        raise ValueError("lost one")

    ref = fail.remote()
    skate.wait([ref])
    del ref
    skate.shutdown()
""")


@pytest.mark.parametrize(
    ("variable", "count"),
    [
        (None, 1),
        ("RAY_IGNORE_UNHANDLED_ERRORS", 0),
        ("SKATE_IGNORE_UNHANDLED_ERRORS", 0),
    ],
)
def test_printed_once_unless_silenced(variable, count):
    environment = dict(os.environ) | ({variable: "1"} if variable else {})
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        timeout=50,
    )
    heading = "Unhandled error (suppress with 'RAY_IGNORE_UNHANDLED_ERRORS=1')"
    assert ran.stderr.count(heading) == count
    assert ran.stderr.count("ValueError: lost one") == count


def end_of(source, variable=None):
    """What a program wrote to stderr."""
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ) | ({variable: "1"} if variable else {}),
        timeout=50,
    )
    return ran.stderr


HEADING = "Unhandled error (suppress with 'RAY_IGNORE_UNHANDLED_ERRORS=1')"
HELD = """
    import sys
    import skate

    skate.init(num_cpus=1)

    @skate.remote
    def fail(number, box=None):
        raise ValueError(f"lost {number}", *(box or []))

    @skate.remote
    class Actor:
        def __init__(self):
            raise TypeError("no actor")

    @skate.remote
    def take(value):
        return value

    actor = Actor.remote()
    refs = [fail.remote(number, [skate.put(1)]) for number in range(4)]
    large = fail.remote("x" * 100_000)
    heir = take.remote(refs[1])
    skate.wait([*refs, large, heir], num_returns=6)
    cancelled = take.remote(1)
    skate.cancel(cancelled)
    try:
        skate.get(refs[0])
    except ValueError:
        pass
    while skate.statistics().actors_living:
        pass
    {end}
"""


@pytest.mark.parametrize("end", ["", "skate.shutdown()"], ids=["exit", "shutdown"])
def test_errors_that_are_held_to_the_end_are_told_then(end):
    """A program whose tasks or actors had all failed could end without a word."""
    said = end_of(HELD.replace("{end}", end))
    assert said.count(HEADING) == 5
    for text in ("lost 1", "lost 2", "lost 3", "lost xxx", "TypeError: no actor"):
        assert said.count(text) >= 1
    assert "lost 0" not in said
    assert "Traceback" not in said.replace("Traceback (most recent call last):\n  File", "")
    assert not end_of(HELD.replace("{end}", end), "SKATE_IGNORE_UNHANDLED_ERRORS")


def test_a_get_of_many_counts_for_all():
    """Also for those that had not failed when it raised the error of another."""
    said = end_of("""
        import threading
        import skate

        skate.init(num_cpus=2)

        @skate.remote
        def fail(number):
            raise ValueError(f"lost {number}")

        refs = [fail.remote(number) for number in range(20)]
        try:
            skate.get(refs)
        except ValueError:
            pass
        skate.wait(refs, num_returns=20)
    """)
    assert said == ""


def test_the_end_tells_of_a_hundred_and_counts_the_rest():
    said = end_of("""
        import skate

        skate.init(num_cpus=2)

        @skate.remote
        def fail():
            raise ValueError("lost")

        refs = [fail.remote() for number in range(150)]
        skate.wait(refs, num_returns=150)
    """)
    assert said.count(HEADING) == 100
    assert "Unhandled errors: 50 more that nobody fetched" in said


@pytest.mark.parametrize("end", ["del ref", ""], ids=["dropped", "held"])
def test_errors_that_cannot_be_read_here_are_told_as_such(end):
    """One ended the thread that shows what workers write: all that came after was lost."""
    said = end_of(f"""
        import sys
        import skate

        skate.init(num_cpus=1)

        @skate.remote
        def fail():
            import sys, types

            only_here = types.ModuleType("only_here")
            sys.modules["only_here"] = only_here
            only_here.Lost = type("Lost", (Exception,), {{"__module__": "only_here"}})
            raise only_here.Lost("gone")

        @skate.remote
        def speak():
            print("after", file=sys.stderr)

        ref = fail.remote()
        skate.wait([ref])
        {end}
        skate.get(speak.remote())
    """)
    assert said.count(HEADING) == 1
    assert "task fail" in said
    assert "the error cannot be read here: ModuleNotFoundError: No module named 'only_here'" in said
    assert "after" in said
    assert "Traceback" not in said
