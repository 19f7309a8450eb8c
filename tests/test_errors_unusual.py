"""Exceptions of classes that do not do what exceptions do: the error arrives, with its text."""

import gc
import sys
import time
import types

import pytest


class Final(Exception):
    """Nobody may derive from it."""

    def __init_subclass__(cls):
        msg = "Final has no subclasses"
        raise TypeError(msg)


class TwoArguments(Exception):
    """Pickle makes it again from `args`, which are not its parameters."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class Unpicklable(Exception):
    """It holds what cannot be pickled."""

    def __init__(self):
        super().__init__("it holds a generator")
        self.generator = (k for k in range(3))


class Slow(Exception):
    """Its own `__reduce__` raises."""

    def __reduce__(self):
        raise RuntimeError("not this one")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Final("the last one"), "the last one"),
        (lambda: TwoArguments("this", "that"), "this and that"),
        (Unpicklable, "it holds a generator"),
        (lambda: Slow("text of Slow"), "text of Slow"),
    ],
    ids=["final", "two arguments", "unpicklable", "reduce raises"],
)
def test_error_arrives_with_its_text(skate, make, text):
    @skate.remote(max_retries=0)
    def fails():
        raise make()

    with pytest.raises(skate.exceptions.RayTaskError, match=text) as caught:
        skate.get(fails.remote())
    assert "fails()" in str(caught.value)
    assert skate.get(skate.remote(lambda: 1).remote()) == 1


class ValueAndFileError(ValueError, OSError):
    """Has the layout of the second."""


@pytest.mark.parametrize(
    "error", [MemoryError("no room"), ValueAndFileError(2, "no file", "name")], ids=repr
)
def test_error_is_of_its_causes_class_whoever_makes_that(skate, error):
    # Python has these made by another `__new__` than that of their first built-in class.
    @skate.remote(max_retries=0)
    def fails():
        raise error

    with pytest.raises(type(error)) as caught:
        skate.get(fails.remote())
    assert isinstance(caught.value, skate.exceptions.RayTaskError)
    assert getattr(caught.value, "filename", None) == getattr(error, "filename", None)


def test_class_that_cannot_be_subclassed_is_the_cause(skate):
    @skate.remote
    def fails():
        raise Final("the last one")

    with pytest.raises(skate.exceptions.RayTaskError) as caught:
        skate.get(fails.remote())
    assert type(caught.value) is skate.exceptions.RayTaskError
    assert "Final" in type(caught.value.cause).__name__


class Once(Exception):
    """It can be pickled once, as what carries a response that is closed by then."""

    pickled = 0

    def __reduce__(self):
        Once.pickled += 1
        if Once.pickled > 1:
            raise RuntimeError("the response is closed")
        return Once, ()


class Picky(type):
    """Its classes cannot be compared with anything."""

    def __instancecheck__(cls, instance):
        raise RuntimeError("ask somebody else")


class Actor:
    def __init__(self, error=None):
        if error:
            raise error

    def fail(self):
        raise Once

    async def fail_on_loop(self):
        raise Once

    async def stream_on_loop(self):
        yield 1
        raise Once


@pytest.mark.processes("pickled by the worker only")
@pytest.mark.parametrize("kind", ["task", "in turn", "threads", "loop", "stream", "constructor"])
def test_error_that_cannot_be_pickled_again_is_told_as_text(skate, kind):
    """The worker of a task died of it, and a call of an async actor never ended."""
    make = skate.remote(Actor)

    def call():
        match kind:
            case "task":
                return skate.remote(max_retries=0)(lambda: Actor.fail(None)).remote()
            case "in turn":
                return skate.remote(type("InTurn", (), {"fail": Actor.fail})).remote().fail.remote()
            case "threads":
                threads = type("Threads", (), {"fail": Actor.fail})
                return skate.remote(max_concurrency=2)(threads).remote().fail.remote()
            case "loop":
                return make.remote().fail_on_loop.remote()
            case "stream":
                return list(make.remote().stream_on_loop.remote())[-1]
            case _:
                return make.remote(Once()).fail.remote()

    expected = skate.exceptions.RayError
    with pytest.raises(expected, match="Once") as caught:
        skate.get(call(), timeout=60)
    assert not isinstance(caught.value, skate.exceptions.WorkerCrashedError)


class Unknown(Exception):
    pass


@pytest.mark.processes("classes are pickled for workers only")
@pytest.mark.parametrize("case", ["picky", "unknown"])
def test_error_whose_retry_cannot_be_decided_is_told(skate, monkeypatch, case):
    """A worker died in which the class cannot be imported: the task's own error was lost."""
    if case == "picky":
        retried = Picky("Retried", (Exception,), {})
    else:
        only_here = types.ModuleType("only_here")
        only_here.Unknown = Unknown
        monkeypatch.setitem(sys.modules, "only_here", only_here)
        monkeypatch.setattr(Unknown, "__module__", "only_here")
        retried = Unknown

    @skate.remote(max_retries=1, retry_exceptions=[retried])
    def fails():
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own") as caught:
        skate.get(fails.remote(), timeout=60)
    assert "It was not retried" in str(caught.value)


class Names(Exception):
    """It says which block was bad, by its ref."""


def test_refs_in_errors_are_released_with_them(skate):
    """Each error's trial pickle kept them for the session."""

    @skate.remote
    def fails(box):
        raise Names("a bad block", *box, skate.put(b"x"))

    before = skate.statistics().objects
    for _ in range(20):
        ref = skate.put(b"x" * 10_000)
        with pytest.raises(Names) as caught:
            skate.get(fails.remote([ref]))
        assert skate.get(caught.value.cause.args[1]) == b"x" * 10_000
        del ref, caught
        gc.collect()
    assert skate.statistics().objects - before <= 4


@pytest.mark.processes("a cancel while the worker pickles")
def test_cancel_while_an_error_is_pickled_leaves_the_worker(skate, gate):
    class Waits(Exception):
        pickled = 0

        def __reduce__(self):
            Waits.pickled += 1
            if Waits.pickled > 1:
                gate.read_bytes()
                while True:  # not `Event.wait`, in which the interrupt may become a RuntimeError
                    time.sleep(0.02)
            return Waits, ()

    @skate.remote(max_retries=0)
    def fails():
        raise Waits

    ref = fails.remote()
    gate.write_bytes(b"")
    skate.cancel(ref)
    with pytest.raises(skate.exceptions.TaskCancelledError):
        skate.get(ref, timeout=60)


class Refuses:
    def __reduce_ex__(self, _protocol):
        raise TypeError("not for travelling")


class NoItems(Refuses, dict):
    def items(self):
        raise RuntimeError("of items")


class NoDict(Refuses):
    @property
    def __dict__(self):
        raise RuntimeError("of __dict__")


class NoClass(Refuses):
    @property
    def __class__(self):
        raise RuntimeError("of __class__")


class NoText(Exception):
    def __str__(self):
        raise RuntimeError("of __str__")


class RaisesNoText:
    def __reduce_ex__(self, _protocol):
        raise NoText


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (NoItems, "not for travelling"),
        (NoDict, "not for travelling"),
        (NoClass, "RuntimeError: of __class__"),  # the pickler itself looks at it
        (RaisesNoText, "NoText"),
    ],
)
def test_what_looking_for_the_culprit_raises_is_not_told(skate, kind, text):
    # It took the place of the error.
    @skate.remote
    def takes(_value):
        return kind()

    for act in (skate.put, takes.remote):
        with pytest.raises(TypeError, match=text):
            act(kind())
        with pytest.raises(TypeError, match=rf"{text}.*found at (value|_value)\[0\]"):
            act([kind()])
    with pytest.raises(TypeError, match=text):
        skate.get(takes.remote(1))


def test_no_room_for_a_pickle_is_a_memory_error(skate):
    class Huge:
        def __reduce__(self):
            raise MemoryError

    @skate.remote
    def takes(_value):
        return Huge()

    for act in (skate.put, takes.remote):
        with pytest.raises(MemoryError):
            act(Huge())
    with pytest.raises(MemoryError):
        skate.get(takes.remote(1))
