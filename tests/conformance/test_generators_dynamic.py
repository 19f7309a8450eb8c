"""Generators of as many items as they like behind one ref."""

import pytest


def make_count(ray):
    @ray.remote(num_returns="dynamic")
    def count(stop):
        for k in range(stop):
            yield k

    return count


def test_one_ref_stands_for_a_generator_of_refs(ray):
    ref = make_count(ray).remote(4)
    assert isinstance(ref, ray.ObjectRef)
    items = list(ray.get(ref))
    assert all(isinstance(item, ray.ObjectRef) for item in items)
    assert ray.get(items) == [0, 1, 2, 3]


def test_length_is_the_number_of_items_left(ray):
    generator = ray.get(make_count(ray).remote(3))
    assert len(generator) == 3
    next(iter(generator))
    assert len(generator) == 2


def test_second_pass_is_empty(ray):
    generator = ray.get(make_count(ray).remote(3))
    assert len(list(generator)) == 3
    assert list(generator) == []


def test_each_get_gives_a_generator_from_the_start(ray):
    ref = make_count(ray).remote(3)
    assert len(list(ray.get(ref))) == 3
    assert ray.get(list(ray.get(ref))) == [0, 1, 2]


def test_no_items_is_an_empty_generator(ray):
    assert list(ray.get(make_count(ray).remote(0))) == []


def test_exception_is_one_more_ref_at_the_end(ray):
    @ray.remote(num_returns="dynamic")
    def fails():
        yield 0
        yield 1
        raise ValueError("third")

    *good, bad = list(ray.get(fails.remote()))
    assert ray.get(good) == [0, 1]
    with pytest.raises(ValueError, match="third") as caught:
        ray.get(bad)
    assert isinstance(caught.value, ray.exceptions.RayTaskError)


def test_exception_before_any_yield_is_a_generator_of_one_error(ray):
    @ray.remote(num_returns="dynamic")
    def fails():
        raise ValueError("at once")
        yield

    (bad,) = list(ray.get(fails.remote()))
    with pytest.raises(ValueError, match="at once"):
        ray.get(bad)


def test_task_that_is_given_the_ref_gets_the_generator(ray):
    @ray.remote
    def total(generator):
        return sum(ray.get(ref) for ref in generator)

    assert ray.get(total.remote(make_count(ray).remote(5))) == 10


def test_generator_can_be_passed_on(ray):
    @ray.remote
    def total(generator, box):
        return sum(ray.get(ref) for ref in generator) + sum(ray.get(ref) for ref in box[0])

    ref = make_count(ray).remote(5)
    assert ray.get(total.remote(ray.get(ref), [ray.get(ref)])) == 20


def test_items_outlive_the_ref_when_they_are_held(ray):
    ref = make_count(ray).remote(3)
    items = list(ray.get(ref))
    del ref
    assert ray.get(items) == [0, 1, 2]


def test_items_of_any_size_arrive(ray):
    @ray.remote(num_returns="dynamic")
    def blocks():
        for power in range(0, 23, 2):
            yield bytes(2**power)

    sizes = [len(ray.get(ref)) for ref in ray.get(blocks.remote())]
    assert sizes == [2**power for power in range(0, 23, 2)]


def test_option_makes_any_generator_dynamic(ray):
    @ray.remote
    def count(stop):
        for k in range(stop):
            yield k

    items = ray.get(count.options(num_returns="dynamic").remote(2))
    assert ray.get(list(items)) == [0, 1]


def test_dynamic_generator_may_take_another(ray):
    @ray.remote(num_returns="dynamic")
    def double(generator):
        for ref in generator:
            yield 2 * ray.get(ref)

    doubled = double.remote(double.remote(make_count(ray).remote(4)))
    assert ray.get(list(ray.get(doubled))) == [0, 4, 8, 12]


def test_isinstance_of_the_public_names(ray):
    generator = ray.get(make_count(ray).remote(1))
    assert isinstance(generator, ray.DynamicObjectRefGenerator)
