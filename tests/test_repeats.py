"""Lines that several workers write alike are told once, with their number; errors always."""

import pytest

from skate._repeats import Repeats


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def repeats(clock):
    return Repeats(clock)


def line(pid, text, *, is_stderr=False, cell=-1):
    return is_stderr, pid, "f", text, cell


def test_what_other_workers_repeat_is_counted_and_told_when_the_window_ends(repeats, clock):
    assert repeats.admit(line(1, "loading"))
    assert repeats.patience_s() is None
    assert not repeats.admit(line(2, "loading"))
    assert not repeats.admit(line(3, "loading"))
    clock.now = 2.0
    assert repeats.patience_s() == 3.0
    assert list(repeats.due()) == []
    clock.now = 5.0
    assert list(repeats.due()) == [(line(3, "loading"), 2)]
    assert repeats.patience_s() is None
    assert repeats.admit(line(2, "loading"))


def test_at_the_end_what_was_counted_is_told_before_its_time(repeats):
    for pid in range(3):
        repeats.admit(line(pid, "loading"))
    repeats.admit(line(3, "alone"))
    assert list(repeats.due(is_end=True)) == [(line(2, "loading"), 2)]
    assert repeats.patience_s() is None


def test_a_worker_may_repeat_itself(repeats):
    assert all(repeats.admit(line(1, "tick")) for _ in range(100))


def test_different_lines_and_different_streams_are_different(repeats):
    assert repeats.admit(line(1, "item 1"))
    assert repeats.admit(line(2, "item 2"))
    assert repeats.admit(line(2, "item 1", is_stderr=True))
    assert repeats.admit(line(2, "item 1", cell=3))


@pytest.mark.parametrize(
    "text", ["ValueError: no", "Traceback (most recent call last):", '  File "x.py"', "", "WARNING"]
)
def test_what_may_be_part_of_an_error_is_never_held_back(repeats, text):
    assert all(repeats.admit(line(pid, text, is_stderr=True)) for pid in range(5))


def test_many_different_lines_take_bounded_memory_and_are_all_shown(repeats, clock):
    assert all(repeats.admit(line(1, f"{n}")) for n in range(10_000))
    assert len(repeats._seen) <= 1000
    clock.now = 5.0
    assert list(repeats.due()) == []
    assert repeats._seen == {}
