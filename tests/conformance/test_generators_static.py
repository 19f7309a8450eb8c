"""Generators with a fixed number of refs: which value or error stands at which ref."""

import pytest


def test_each_yield_fills_its_ref(ray):
    @ray.remote(num_returns=3)
    def letters():
        yield "a"
        yield "b"
        yield "c"

    refs = letters.remote()
    assert [type(ref) for ref in refs] == [ray.ObjectRef] * 3
    assert ray.get(refs) == ["a", "b", "c"]


def test_one_ref_holds_the_one_item(ray):
    @ray.remote(num_returns=1)
    def one():
        yield ["item"]

    assert ray.get(one.remote()) == ["item"]


def test_no_refs_gives_none(ray, gate):
    @ray.remote(num_returns=0)
    def act():
        gate.write_bytes(b"ran")
        return
        yield

    assert act.remote() is None
    assert gate.read_bytes() == b"ran"


def test_exception_stands_at_the_ref_it_prevented_and_those_after(ray):
    @ray.remote(num_returns=4)
    def fails():
        yield 0
        yield 1
        raise ValueError("third")

    refs = fails.remote()
    assert ray.get(refs[:2]) == [0, 1]
    for ref in refs[2:]:
        with pytest.raises(ValueError, match="third") as caught:
            ray.get(ref)
        assert isinstance(caught.value, ray.exceptions.RayTaskError)


def test_too_few_yields_are_a_value_error_at_the_missing_refs(ray):
    @ray.remote(num_returns=4)
    def two():
        yield 0
        yield 1

    refs = two.remote()
    assert ray.get(refs[:2]) == [0, 1]
    for ref in refs[2:]:
        with pytest.raises(
            ValueError, match="Task returned 2 objects, but num_returns=4"
        ) as caught:
            ray.get(ref)
        assert isinstance(caught.value, ray.exceptions.RayTaskError)
    with pytest.raises(ValueError):
        ray.get(refs)


def test_no_yield_at_all_is_a_value_error_at_every_ref(ray):
    @ray.remote(num_returns=2)
    def nothing():
        return
        yield

    for ref in nothing.remote():
        with pytest.raises(ValueError, match="num_returns=2"):
            ray.get(ref)


@pytest.mark.parametrize("asked", [1, 2])
def test_too_many_yields_keep_the_values_and_stop_the_generator(ray, tmp_path, asked):
    seen = tmp_path / "seen"

    @ray.remote
    def counts():
        for k in range(10):
            with seen.open("a") as log:
                log.write(f"{k} ")
            yield k

    refs = counts.options(num_returns=asked).remote()
    values = ray.get(refs)
    assert values == (0 if asked == 1 else [0, 1])

    assert len(seen.read_text().split()) <= asked + 1


def test_later_mutation_of_a_yielded_object_is_not_seen(ray):
    @ray.remote(num_returns=3)
    def grows():
        value = []
        for k in range(3):
            value.append(k)
            yield value

    assert ray.get(grows.remote()) == [[0], [0, 1], [0, 1, 2]]


def test_refs_can_be_passed_on_one_by_one(ray):
    @ray.remote(num_returns=3)
    def numbers():
        yield 1
        yield 2
        yield 3

    @ray.remote
    def double(x):
        return 2 * x

    assert ray.get([double.remote(ref) for ref in numbers.remote()]) == [2, 4, 6]


def test_exception_object_that_is_yielded_is_a_value(ray):
    @ray.remote(num_returns=2)
    def values():
        yield ValueError("only a value")
        yield 2

    first, second = ray.get(values.remote())
    assert isinstance(first, ValueError)
    assert not isinstance(first, ray.exceptions.RayError)
    assert second == 2


def test_arguments_that_are_refs_are_resolved(ray):
    @ray.remote(num_returns=2)
    def twice(value):
        yield value
        yield value

    assert ray.get(twice.remote(ray.put("v"))) == ["v", "v"]


def test_generator_that_depends_on_a_failed_task_fails_at_every_ref(ray):
    @ray.remote
    def fail():
        raise KeyError("source")

    @ray.remote(num_returns=2)
    def twice(value):
        yield value
        yield value

    for ref in twice.remote(fail.remote()):
        with pytest.raises(KeyError):
            ray.get(ref)
