"""A4: `strict_num_returns`: a wrong number of yields is an error of the last ref."""

import os

import pytest


def make_count(skate, count, **options):
    @skate.remote(num_returns=count, strict_num_returns=True, **options)
    def items(stop, error=None):
        for k in range(stop):
            yield k
        if error is not None:
            raise error

    return items


def test_right_number_is_no_error(skate):
    assert skate.get(make_count(skate, 3).remote(3)) == [0, 1, 2]
    assert skate.get(make_count(skate, 1).remote(1)) == 0


def test_one_yield_too_many_is_the_error_of_the_last_ref(skate):
    *good, bad = make_count(skate, 3).remote(4)
    assert skate.get(good) == [0, 1]
    with pytest.raises(ValueError, match=r"more than num_returns=3 objects\. \(items yielded"):
        skate.get(bad)


def test_exception_after_the_last_yield_is_the_error_of_the_last_ref(skate):
    *good, bad = make_count(skate, 3).remote(3, KeyError("late"))
    assert skate.get(good) == [0, 1]
    with pytest.raises(KeyError, match="late") as caught:
        skate.get(bad)
    assert isinstance(caught.value, skate.exceptions.RayTaskError)


def test_too_few_yields_raise_in_the_rest_as_always(skate):
    first, *bad = make_count(skate, 3).remote(1)
    assert skate.get(first) == 0
    for ref in bad:
        with pytest.raises(ValueError, match="Task returned 1 objects, but num_returns=3"):
            skate.get(ref)


def test_last_ref_waits_for_the_end(skate, gates):
    reached, go_on = gates("reached"), gates("go_on")

    @skate.remote(num_returns=2, strict_num_returns=True)
    def items():
        yield 0
        yield 1
        reached.write_bytes(b"")
        go_on.read_bytes()

    first, last = items.remote()
    reached.read_bytes()
    assert skate.wait([first, last], num_returns=2, timeout=0) == ([first], [last])
    go_on.write_bytes(b"")
    assert skate.get([first, last]) == [0, 1]


def test_option_overrides_the_decorator(skate):
    *good, bad = (
        make_count(skate, 2).options(num_returns=1, strict_num_returns=True).remote(1),
        None,
    )
    assert skate.get(good) == [0]
    lenient = make_count(skate, 2).options(strict_num_returns=False)
    assert skate.get(lenient.remote(3)) == [0, 1]
    del bad


@pytest.mark.parametrize("mode", [0, "dynamic", "streaming"])
def test_strictness_without_a_number_is_refused(skate, mode):
    def items():
        yield 1

    with pytest.raises(ValueError, match="strict_num_returns=True"):
        skate.remote(num_returns=mode, strict_num_returns=True)(items)


@pytest.mark.processes("its process ends")
def test_strict_retry_after_the_last_yield_gives_each_value_once(skate, attempts):
    @skate.remote(num_returns=2, strict_num_returns=True, max_retries=1)
    def items():
        with attempts.open("ab") as log:
            log.write(b"x")
        yield 0
        yield bytes(300_000)
        if attempts.stat().st_size == 1:
            os._exit(1)

    first, last = items.remote()
    assert skate.get(first) == 0
    assert len(skate.get(last)) == 300_000
    assert attempts.stat().st_size == 2
