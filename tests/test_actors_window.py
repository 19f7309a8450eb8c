"""One window for all streams of an actor: bounded, and nobody who waits is left waiting."""

import pytest

WINDOW = 5


def classes(skate):
    class Sync:
        def __init__(self):
            self.made = 0

        def items(self, count):
            for index in range(count):
                self.made += 1
                yield index

        def count(self):
            return self.made

    class Async:
        def __init__(self):
            self.made = 0

        async def items(self, count):
            for index in range(count):
                self.made += 1
                yield index

        async def count(self):
            return self.made

    options = {"actor_generator_backpressure_num_objects": WINDOW}
    return {
        "turns": skate.remote(**options)(Sync),
        "threads": skate.remote(max_concurrency=8, **options)(Sync),
        "loop": skate.remote(**options)(Async),
    }


@pytest.mark.parametrize("kind", ["threads", "loop"])
def test_streams_of_one_actor_store_no_more_than_the_window(skate, kind):
    actor = classes(skate)[kind].remote()
    streams = [actor.items.remote(100) for _ in range(3)]
    taken = [0, 0, 0]
    for turn in range(60):
        # The first items of all three are free; each that is made is stored or about to be.
        made = skate.get(actor.count.remote())
        assert made - sum(taken) <= WINDOW + 2 * len(streams)
        place = turn % 3
        assert skate.get(next(streams[place])) == taken[place]
        taken[place] += 1
    assert skate.get(actor.count.remote()) < 100


@pytest.mark.parametrize("kind", ["threads", "loop"])
def test_streams_are_read_to_their_ends_in_any_order(skate, kind):
    actor = classes(skate)[kind].remote()
    streams = [actor.items.remote(50) for _ in range(4)]
    # The others fill the window first; the one that is read goes on all the same.
    for stream in reversed(streams):
        assert [skate.get(ref) for ref in stream] == list(range(50))


def test_dropped_stream_gives_its_room_to_the_others(skate):
    actor = classes(skate)["threads"].remote()
    dropped = actor.items.remote(10_000)
    kept = actor.items.remote(50)
    skate.get(next(dropped))
    del dropped
    assert [skate.get(ref) for ref in kept] == list(range(50))


def test_window_of_a_call_counts_too(skate):
    actor = classes(skate)["threads"].remote()
    narrow = actor.items.options(generator_backpressure_num_objects=1).remote(30)
    assert skate.get(next(narrow)) == 0
    assert skate.get(actor.count.remote()) <= 3
    assert [skate.get(ref) for ref in narrow] == list(range(1, 30))


def test_restarted_actor_goes_on_with_its_window(skate):
    import os
    import signal

    actor = classes(skate)["threads"].options(max_restarts=-1, max_task_retries=-1).remote()
    stream = actor.items.remote(40)
    items = [skate.get(next(stream)) for _ in range(10)]
    os.kill(skate.get(actor.__ray_call__.remote(lambda _: os.getpid())), signal.SIGKILL)
    items += [skate.get(ref) for ref in stream]
    assert items == list(range(40))


def test_window_of_one_sync_actor_is_that_of_its_stream(skate):
    actor = classes(skate)["turns"].remote()
    stream = actor.items.remote(30)
    assert [skate.get(ref) for ref in stream] == list(range(30))


def test_wrong_windows_are_refused(skate):
    cls = classes(skate)["turns"]
    for wrong in (0, -2):
        with pytest.raises(ValueError, match="must be > 0"):
            cls.options(_actor_generator_backpressure_num_objects=wrong)
    assert cls.options(_actor_generator_backpressure_num_objects=-1) is not None
