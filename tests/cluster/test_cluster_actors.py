"""Actors of every kind on a Ray cluster."""

import pytest


@pytest.fixture(scope="module")
def Counter(ray):
    @ray.remote
    class Counter:
        def __init__(self, n=0):
            self.n = n

        def add(self, k=1):
            self.n += k
            return self.n

        def fail(self):
            raise KeyError("k")

        def items(self, k):
            yield from range(k)

        @ray.method(num_returns=2)
        def pair(self):
            return 1, 2

        def die(self):
            import os

            os._exit(1)

        def wait(self, gate):
            return gate.read_bytes()

        def me(self):
            context = ray.get_runtime_context()
            return context.get_actor_id(), context.current_actor

    return Counter


def test_calls_keep_their_order(ray, Counter):
    counter = Counter.remote(ray.put(5))
    assert ray.get([counter.add.remote() for _ in range(5)]) == [6, 7, 8, 9, 10]
    assert ray.get(counter.pair.remote()) == [1, 2]


def test_an_error_leaves_the_actor_alive(ray, Counter):
    counter = Counter.remote()
    with pytest.raises(KeyError) as caught:
        ray.get(counter.fail.remote())
    assert isinstance(caught.value, ray.exceptions.RayTaskError)
    assert ray.get(counter.add.remote()) == 1


def test_generators_of_actors_come_in_all_modes(ray, Counter):
    counter = Counter.remote()
    assert [ray.get(ref) for ref in counter.items.remote(3)] == [0, 1, 2]
    assert ray.get(counter.items.options(num_returns=2).remote(2)) == [0, 1]
    dynamic = ray.get(counter.items.options(num_returns="dynamic").remote(2))
    assert [ray.get(ref) for ref in dynamic] == [0, 1]


def test_handles_travel_and_know_themselves(ray, Counter):
    counter = Counter.remote()
    assert ray.get(ray.remote(lambda c: ray.get(c.add.remote(4))).remote(counter)) == 4
    identity, handle = ray.get(counter.me.remote())
    assert handle == counter
    assert identity == counter._actor_id.hex()
    assert ray.get(handle.add.remote()) == 5


def test_actors_are_found_by_name(ray, Counter):
    counter = Counter.options(name="known").remote(1)
    assert ray.get(ray.get_actor("known").add.remote()) == 2
    assert "known" in ray.util.list_named_actors()
    same = Counter.options(name="known", get_if_exists=True).remote(100)
    assert ray.get(same.add.remote()) == 3
    with pytest.raises(ValueError, match="already taken"):
        Counter.options(name="known").remote()
    with pytest.raises(ValueError, match="nobody"):
        ray.get_actor("nobody")
    assert counter == same


def test_the_death_of_an_actor_is_skates_error(ray, Counter, gate):
    counter = Counter.remote()
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(counter.die.remote())
    killed = Counter.remote()
    assert ray.get(killed.add.remote()) == 1
    waiting = killed.wait.remote(gate)
    ray.kill(killed)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(waiting)


def test_a_constructor_that_raises_is_every_calls_error(ray):
    @ray.remote
    class Broken:
        def __init__(self):
            raise ValueError("constructor")

        def ask(self):
            return 1

    with pytest.raises(ray.exceptions.ActorDiedError, match="constructor"):
        ray.get(Broken.remote().ask.remote())


def test_async_actors_interleave(ray):
    @ray.remote
    class Async:
        def __init__(self):
            import asyncio

            self.event = asyncio.Event()

        async def wait(self):
            await self.event.wait()
            return "waited"

        async def set(self):
            self.event.set()

        async def items(self, n):
            for k in range(n):
                yield k

    actor = Async.remote()
    waiting = actor.wait.remote()
    ray.get(actor.set.remote())
    assert ray.get(waiting) == "waited"
    assert [ray.get(ref) for ref in actor.items.remote(3)] == [0, 1, 2]


def test_threads_and_groups_have_their_own_places(ray, gates):
    @ray.remote(max_concurrency=2, concurrency_groups={"io": 1})
    class Threads:
        def wait(self, gate):
            return gate.read_bytes()

        @ray.method(concurrency_group="io")
        def other(self):
            return "other"

    first, second = gates("first"), gates("second")
    actor = Threads.remote()
    waiting = [actor.wait.remote(first), actor.wait.remote(second)]
    first.write_bytes(b"1")
    second.write_bytes(b"2")
    assert ray.get(actor.other.remote()) == "other"
    assert ray.get(waiting) == [b"1", b"2"]


def test_an_actor_may_leave(ray):
    @ray.remote
    class Leaving:
        def leave(self):
            ray.actor.exit_actor()

    actor = Leaving.remote()
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(actor.leave.remote())


@pytest.mark.parametrize("way", ["leave", "leave_at_once", "leave_after_an_item", "leave_unseen"])
def test_an_async_actor_may_leave(ray, way):
    # Its exit was an ordinary error to Ray, and the actor went on.
    @ray.remote
    class Leaving:
        async def leave(self):
            ray.actor.exit_actor()

        def leave_at_once(self):
            ray.actor.exit_actor()

        async def leave_after_an_item(self):
            yield 1
            ray.actor.exit_actor()

        @ray.method(num_returns=0)
        async def leave_unseen(self):
            ray.actor.exit_actor()

        async def answer(self):
            return 1

    actor = Leaving.remote()
    given = getattr(actor, way).remote()
    if way == "leave_after_an_item":
        assert ray.get(next(given)) == 1
        with pytest.raises(ray.exceptions.RayError):  # Ray says of a generator how it left
            ray.get(next(given))
    elif way != "leave_unseen":
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(given)
    with pytest.raises(ray.exceptions.ActorDiedError):
        while True:
            ray.get(actor.answer.remote())


def test_calls_that_give_nothing_may_be_bounded(ray, Counter):
    # Each later call raised a TypeError of Ray's.
    counter = Counter.options(max_pending_calls=2).remote()
    assert counter.add.options(num_returns=0).remote() is None
    assert ray.get(counter.add.remote()) == 2


def test_util_works_on_it(ray):
    queue = ray.util.queue.Queue(maxsize=2, actor_options={"num_cpus": 0})
    queue.put(1)
    assert queue.get() == 1
    with pytest.raises(ray.util.queue.Empty):
        queue.get(block=False)

    @ray.remote(num_cpus=0)
    class Doubler:
        def double(self, n):
            return 2 * n

    pool = ray.util.ActorPool([Doubler.remote() for _ in range(2)])
    assert list(pool.map(lambda actor, n: actor.double.remote(n), range(4))) == [0, 2, 4, 6]
