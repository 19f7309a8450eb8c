"""Who else did not run: the notes of an error that came through arguments."""

import os

import pytest


def notes(skate, ref):
    with pytest.raises(skate.exceptions.RayError) as caught:
        skate.get(ref)
    return getattr(caught.value, "__notes__", [])


@pytest.fixture
def plus(skate):
    @skate.remote
    def plus(value):
        return value

    return plus


def test_the_error_of_the_task_itself_has_no_note(skate):
    @skate.remote
    def fails():
        raise ValueError("no")

    assert notes(skate, fails.remote()) == []


def test_a_long_way_is_told_by_its_beginning_and_its_end(skate, plus):
    @skate.remote
    def fails():
        raise ValueError("no")

    @skate.remote
    def last(value):
        return value

    ref = fails.remote()
    for _ in range(20):
        ref = plus.remote(ref)
    (note,) = notes(skate, last.remote(ref))
    assert note == (
        "plus() did not run, because it takes the result of fails(); nor did "
        "plus(), plus(), plus(), plus(), plus(), plus(), 13 more, last() after it."
    )


@pytest.mark.processes("a crash would end the test")
def test_what_depends_on_a_crashed_task_or_on_an_item_says_so(skate, plus):
    @skate.remote(max_retries=0)
    def crashes():
        os._exit(1)

    @skate.remote
    def items():
        yield 1
        raise ValueError("no")

    (note,) = notes(skate, plus.remote(crashes.remote()))
    assert note == "plus() did not run, because it takes the result of that task."
    first, second = items.remote()
    assert skate.get(plus.remote(first)) == 1
    (note,) = notes(skate, plus.remote(second))
    assert note == "plus() did not run, because it takes the result of items()."


def test_notes_travel_in_the_text_of_the_task_that_got_the_error(skate, plus):
    @skate.remote
    def fails():
        raise ValueError("no")

    @skate.remote
    def gets():
        return skate.get(plus.remote(fails.remote()))

    with pytest.raises(ValueError, match=r"(?s)ray::gets.*ray::fails.*plus\(\) did not run"):
        skate.get(gets.remote())


@pytest.mark.parametrize("is_async", [False, True])
def test_an_actor_whose_constructor_did_not_run_has_died(skate, plus, is_async):
    """Its calls raised the error of the argument itself: no RayActorError."""

    @skate.remote
    def fails():
        raise ValueError("no")

    class Actor:
        def __init__(self, value):
            self.value = value

        def get(self):
            return self.value

    if is_async:

        async def wait(self):
            return self.value

        Actor.wait = wait
    actor = skate.remote(Actor).remote(fails.remote())
    for _ in range(2):
        for ref in (actor.get.remote(), plus.remote(actor.get.remote())):
            with pytest.raises(skate.exceptions.ActorDiedError) as caught:
                skate.get(ref)
            error = caught.value
            assert error.actor_init_failed
            assert error.actor_id == actor._actor_id.hex()
            assert isinstance(error.cause, ValueError)
            assert "error raised in its creation task" in str(error)
            assert "ValueError: no" in str(error)
            assert "Actor() did not run" in error.__notes__[0]


@pytest.mark.processes("a crash would end the test")
def test_an_actor_has_died_of_the_crash_that_its_argument_was(skate):
    @skate.remote(max_retries=0)
    def crashes():
        os._exit(1)

    @skate.remote
    class Actor:
        def __init__(self, value):
            pass

        def get(self):
            return 1

    with pytest.raises(skate.exceptions.ActorDiedError) as caught:
        skate.get(Actor.remote(crashes.remote()).get.remote())
    assert isinstance(caught.value.cause, skate.exceptions.WorkerCrashedError)
