"""Which frames and arguments an error shows: the user's, without running any code of his."""

import traceback

import numpy as np
import pytest

from skate import _frames


def shown(error):
    return "".join(traceback.format_exception(error))


def test_frames_of_skate_stay_when_they_are_asked_for(skate, monkeypatch):
    with pytest.raises(ValueError, match="Invalid type") as hidden:
        skate.get(1)
    monkeypatch.setenv("SKATE_FULL_TRACEBACK", "1")
    with pytest.raises(ValueError, match="Invalid type") as full:
        skate.get(1)
    assert "skate/_api.py" not in shown(hidden.value)
    assert "skate/_api.py" in shown(full.value)


def test_frames_of_the_user_below_those_of_skate_stay(skate):
    class Odd:
        def __reduce__(self):
            raise TypeError("odd")

    with pytest.raises(TypeError, match="odd") as caught:
        skate.put(Odd())
    text = shown(caught.value)
    assert "in __reduce__" in text
    assert "_serialization.py" not in text


@pytest.mark.parametrize("engine", ["task", "actor"])
def test_the_arguments_of_a_call_are_in_its_error_unless_they_are_switched_off(
    fresh, monkeypatch, engine
):
    def body(path, *more, flag=True):
        raise ValueError(path)

    class Thing:
        def body(self, path, *more, flag=True):
            raise ValueError(path)

    def error():
        call = fresh.remote(body) if engine == "task" else fresh.remote(Thing).remote().body
        with pytest.raises(ValueError, match=r"a\.csv") as caught:
            fresh.get(call.remote("a.csv", [1, 2]))
        fresh.shutdown()
        return str(caught.value)

    fresh.init(num_cpus=1)
    assert "\n  with path='a.csv', flag=True, more=<tuple of 1>\n" in error()
    monkeypatch.setenv("SKATE_ERROR_ARGUMENTS", "0")
    fresh.init(num_cpus=1)
    assert "with path" not in error()


class Secret:
    def __repr__(self):
        raise AssertionError("the repr of a user's class was asked for")

    __str__ = __len__ = __repr__


class MyList(list):
    __repr__ = Secret.__repr__


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (1.5, "1.5"),
        ("a" * 100, f"'{'a' * 58}…"),
        (b"abc", "b'abc'"),
        (10**5000, "<int>"),
        ([1, 2, 3], "<list of 3>"),
        ({"password": "x"}, "<dict of 1>"),
        (np.zeros((2, 3)), "<ndarray (2, 3) float64>"),
        (Secret(), "<Secret>"),
        (MyList([1]), "<MyList>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_are_shown_in_brief_without_code_of_the_users(value, text):
    assert _frames.brief(value) == text


def test_lines_that_only_the_driver_knows_are_filled_in(monkeypatch):
    import linecache

    monkeypatch.setitem(
        linecache.cache, "<cell 1>", (8, None, ["a = 1\n", "  boom()\n"], "<cell 1>")
    )
    text = 'ray::f() (pid=1, ip=1)\n  File "<cell 1>", line 2, in f\nValueError: no'
    assert _frames.with_sources(text).splitlines()[2] == "    boom()"
    known = '  File "<cell 1>", line 2, in f\n    already()\nValueError: no'
    assert _frames.with_sources(known) == known
