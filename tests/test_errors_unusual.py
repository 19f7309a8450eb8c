"""Exceptions of classes that do not do what exceptions do: the error arrives, with its text."""

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


def test_class_that_cannot_be_subclassed_is_the_cause(skate):
    @skate.remote
    def fails():
        raise Final("the last one")

    with pytest.raises(skate.exceptions.RayTaskError) as caught:
        skate.get(fails.remote())
    assert type(caught.value) is skate.exceptions.RayTaskError
    assert "Final" in type(caught.value.cause).__name__
