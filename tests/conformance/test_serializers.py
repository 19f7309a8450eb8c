"""Packing values of a class in a way of one's own, and asking why one cannot be packed."""

import gc
import io
import threading
from types import FunctionType

import pytest


class Guarded:
    """Holds a lock, so pickle refuses it."""

    def __init__(self, number):
        self.number = number
        self.lock = threading.Lock()


@pytest.fixture
def registered(ray):
    ray.util.register_serializer(
        Guarded, serializer=lambda value: value.number, deserializer=Guarded
    )
    yield ray
    ray.util.deregister_serializer(Guarded)


def test_registered_class_travels_as_argument_and_inside_values(registered):
    ray = registered

    @ray.remote
    def number(value):
        return value.number

    assert ray.get(number.remote(Guarded(3))) == 3
    assert ray.get(ray.put([Guarded(4)]))[0].number == 4


def test_without_its_serializer_it_cannot_be_packed_again(ray):
    ray.util.register_serializer(Guarded, serializer=lambda _: 1, deserializer=Guarded)
    ray.get(ray.put(Guarded(1)))
    ray.util.deregister_serializer(Guarded)
    with pytest.raises(TypeError):
        ray.put(Guarded(1))


def test_deregistering_what_was_never_registered_does_nothing(ray):
    ray.util.deregister_serializer(Guarded)


def test_serializer_that_raises_is_heard_of_at_the_call(ray):
    def refuse(_value):
        raise ValueError("not today")

    ray.util.register_serializer(Guarded, serializer=refuse, deserializer=Guarded)
    try:
        with pytest.raises((ValueError, TypeError), match="not today"):
            ray.put(Guarded(1))
    finally:
        ray.util.deregister_serializer(Guarded)


def test_what_can_be_pickled_is_said_to_be_serializable(ray):
    report = io.StringIO()
    is_serializable, failures = ray.util.inspect_serializability([1, "a"], print_file=report)
    assert is_serializable
    assert failures == set()
    assert report.getvalue()


def test_the_innermost_culprit_is_named(ray):
    lock = threading.Lock()

    def uses():
        return lock

    report = io.StringIO()
    is_serializable, failures = ray.util.inspect_serializability(
        uses, name="uses", print_file=report
    )
    assert not is_serializable
    assert any(failure.obj is lock and failure.name for failure in failures)
    assert "lock" in report.getvalue()


@pytest.fixture
def kept(ray):
    """How many objects a function makes that are still there when it has returned."""

    def objects():
        gc.collect()  # the traceback of an error holds what its frames do
        return ray.statistics().objects

    def count(function):
        before = objects()
        function(ray.put("value"))
        return objects() - before

    return count


# Both pickled the ref themselves, and what is pickled by hand stays for the session.
@pytest.mark.engine("skate", "local")
def test_refs_beside_an_argument_that_cannot_be_packed_are_not_kept(ray, kept):
    @ray.remote
    def take(*args):
        pass

    def call(ref):
        with pytest.raises(TypeError, match=r"the argument args\[1\] of .*take: cannot pickle"):
            take.remote([ref], threading.Lock())

    assert kept(call) == 0


@pytest.mark.engine("skate", "local")
def test_refs_that_are_inspected_are_not_kept(ray, kept):
    def inspect(ref):
        values = [ref], [ref, threading.Lock()], lambda: ref
        outcomes = [ray.util.inspect_serializability(value)[0] for value in values]
        assert outcomes == [True, False, True]

    assert kept(inspect) == 0


@pytest.mark.engine("skate", "local")
def test_a_stream_is_not_the_culprit_that_cannot_be_passed(ray):
    @ray.remote
    def items():
        yield 1

    @ray.remote
    def take(*args):
        pass

    stream = items.remote()
    assert ray.util.inspect_serializability([stream])[0]
    with pytest.raises(TypeError, match=r"the argument args\[0\] of"):
        take.remote(threading.Lock(), [stream])
    assert ray.get(next(stream)) == 1


class Meta(type):
    """A class of classes."""


@pytest.mark.engine("skate", "local")
@pytest.mark.parametrize(
    "cls",
    [
        *(int, dict, type(None), memoryview),
        # These were accepted, and their serializer never called.
        *(set, frozenset, bytearray, FunctionType, type, Meta),
    ],
)
def test_classes_that_skate_packs_itself_are_refused(ray, cls):
    with pytest.raises(ValueError, match=rf"register_serializer: .*{cls.__qualname__}"):
        ray.util.register_serializer(cls, serializer=str, deserializer=int)


@pytest.mark.engine("skate")
def test_wrong_arguments_name_themselves(ray):
    with pytest.raises(TypeError, match="register_serializer: expected a class, got 3"):
        ray.util.register_serializer(3, serializer=str, deserializer=int)
    with pytest.raises(TypeError, match="deserializer must be callable"):
        ray.util.register_serializer(Guarded, serializer=str, deserializer=3)
    with pytest.raises(ValueError, match="depth must be at least 1"):
        ray.util.inspect_serializability(1, depth=0)
