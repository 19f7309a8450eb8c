"""put and get: values, order, timeouts, and what a reference is."""

import pickle

import pytest


@pytest.mark.parametrize(
    "value",
    [None, True, 0, 2**70, 1.5, "text", b"bytes", (1, [2, {"k": {3}}]), range(5), ValueError("v")],
    ids=lambda value: type(value).__name__ + repr(value)[:10],
)
def test_put_then_get_gives_an_equal_value(ray, value):
    got = ray.get(ray.put(value))
    assert type(got) is type(value)
    assert repr(got) == repr(value)


def test_get_of_a_list_keeps_its_order_and_repeats(ray):
    one, two = ray.put(1), ray.put(2)
    assert ray.get([two, one, two]) == [2, 1, 2]
    assert ray.get([]) == []


def test_put_is_a_copy(ray):
    value = [1]
    ref = ray.put(value)
    value.append(2)
    assert ray.get(ref) == [1]


def test_put_of_a_ref_is_a_type_error(ray):
    with pytest.raises(TypeError):
        ray.put(ray.put(1))


@pytest.mark.parametrize("thing", [1, "ref", None, {}, (1, 2)])
def test_get_of_what_is_no_ref_is_a_value_error(ray, thing):
    with pytest.raises(ValueError):
        ray.get(thing)


def test_get_of_a_list_with_something_else_is_a_type_error(ray):
    with pytest.raises(TypeError):
        ray.get([ray.put(1), 2])


def test_get_times_out_and_works_later(ray, gate):
    @ray.remote
    def wait():
        gate.read_bytes()
        return "late"

    ref = wait.remote()
    with pytest.raises(ray.exceptions.GetTimeoutError):
        ray.get(ref, timeout=0.05)
    with pytest.raises(TimeoutError):
        ray.get([ref], timeout=0)
    gate.write_bytes(b"")
    assert ray.get(ref, timeout=30) == "late"


def test_get_raises_the_first_error_of_a_list(ray):
    @ray.remote
    def fail():
        raise KeyError("missing")

    with pytest.raises(KeyError):
        ray.get([ray.put(1), fail.remote()])


def test_get_raises_an_error_while_others_are_pending(ray, gate):
    @ray.remote
    def wait():
        gate.read_bytes()

    @ray.remote
    def fail():
        raise KeyError("missing")

    pending = wait.remote()
    with pytest.raises(KeyError):
        ray.get([pending, fail.remote()], timeout=30)
    gate.write_bytes(b"")
    ray.get(pending)


def test_refs_are_equal_when_they_name_the_same_object(ray):
    @ray.remote
    def echo(box):
        return box

    ref = ray.put(1)
    (copy,) = ray.get(echo.remote([ref]))
    assert copy == ref
    assert hash(copy) == hash(ref)
    assert copy in {ref}
    assert ref != ray.put(1)
    assert ref != 1


def test_ref_shows_its_id_in_hex(ray):
    ref = ray.put(1)
    assert len(ref.hex()) == 56
    assert ref.binary().hex() == ref.hex()
    assert repr(ref) == f"ObjectRef({ref.hex()})"
    assert not ref.is_nil()
    assert ray.ObjectRef.nil().is_nil()


def test_ref_type_can_be_subscripted(ray):
    assert ray.ObjectRef[int] is not None


def test_refs_inside_a_stored_value_keep_their_objects(ray):
    ref = ray.put([ray.put("inner")])
    assert ray.get(ray.get(ref)[0]) == "inner"


def test_inner_refs_live_through_several_containers(ray):
    @ray.remote
    def wrap(value):
        return [ray.put([ray.put(value)])]

    (outer,) = ray.get(wrap.remote("deep"))
    (inner,) = ray.get(outer)
    assert ray.get(inner) == "deep"


def test_big_and_small_bytes_survive(ray):
    for size in (0, 1, 1000, 100_000, 5_000_000):
        value = bytes(range(256)) * (size // 256 + 1)
        assert ray.get(ray.put(value)) == value


def test_same_object_got_twice_is_equal(ray):
    ref = ray.put({"a": [1, 2]})
    assert ray.get(ref) == ray.get(ref)


def test_values_are_what_pickle_would_give(ray):
    class Odd:
        def __init__(self):
            self.state = 1

        def __reduce__(self):
            return (tuple, ((1, 2),))

    assert ray.get(ray.put(Odd())) == pickle.loads(pickle.dumps((1, 2)))
