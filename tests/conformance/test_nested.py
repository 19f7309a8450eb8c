"""Tasks that start tasks, and wait for them without holding a CPU."""

import pytest


def test_task_may_start_tasks(ray):
    @ray.remote
    def leaf(k):
        return k * k

    @ray.remote
    def root():
        return sum(ray.get([leaf.remote(k) for k in range(10)]))

    assert ray.get(root.remote()) == 285


def test_waiting_tasks_give_their_cpu_back(ray):
    @ray.remote
    def down(depth):
        return 0 if depth == 0 else 1 + ray.get(down.remote(depth - 1))

    assert ray.get(down.remote(6)) == 6  # more levels than CPUs


def test_all_cpus_may_wait_at_once(ray):
    @ray.remote
    def leaf(k):
        return k

    @ray.remote
    def parent(k):
        return sum(ray.get([leaf.remote(k), leaf.remote(1)]))

    assert ray.get([parent.remote(k) for k in range(6)]) == [k + 1 for k in range(6)]


def test_wait_inside_a_task_gives_the_cpu_back(ray):
    @ray.remote
    def leaf():
        return 1

    @ray.remote
    def parent():
        refs = [leaf.remote() for _ in range(3)]
        ready, pending = ray.wait(refs, num_returns=3)
        return len(ready), len(pending)

    assert ray.get([parent.remote() for _ in range(4)]) == [(3, 0)] * 4


def test_ref_of_a_child_may_be_returned(ray):
    @ray.remote
    def leaf():
        return "leaf"

    @ray.remote
    def parent():
        return [leaf.remote()]

    (ref,) = ray.get(parent.remote())
    assert ray.get(ref) == "leaf"


def test_value_put_by_a_task_outlives_it(ray):
    @ray.remote
    def store():
        return [ray.put(bytes(300_000))]

    (ref,) = ray.get(store.remote())
    assert len(ray.get(ref)) == 300_000


def test_stream_inside_a_task(ray):
    @ray.remote
    def count(stop):
        for k in range(stop):
            yield k

    @ray.remote
    def total(stop):
        return sum(ray.get(ref) for ref in count.remote(stop))

    assert ray.get([total.remote(10) for _ in range(4)]) == [45] * 4


def test_generator_task_may_start_tasks(ray):
    @ray.remote
    def square(k):
        return k * k

    @ray.remote
    def squares(stop):
        for k in range(stop):
            yield ray.get(square.remote(k))

    assert [ray.get(ref) for ref in squares.remote(5)] == [0, 1, 4, 9, 16]


def test_generator_may_yield_refs_of_its_children(ray):
    @ray.remote
    def square(k):
        return k * k

    @ray.remote
    def squares(stop):
        for k in range(stop):
            yield [square.remote(k)]

    assert [ray.get(ray.get(ref)[0]) for ref in squares.remote(5)] == [0, 1, 4, 9, 16]


def test_remote_function_calls_itself_by_name(ray):
    @ray.remote
    def fibonacci(n):
        if n < 2:
            return n
        return sum(ray.get([fibonacci.remote(n - 1), fibonacci.remote(n - 2)]))

    assert ray.get(fibonacci.remote(5)) == 5


def test_options_may_be_the_first_use_of_a_function_or_class_in_a_task(ray):
    # They were an AttributeError in a process that had not called it before.
    @ray.remote
    def leaf():
        return "leaf"

    @ray.remote
    class Leaf:
        def method(self):
            return "method"

    @ray.remote
    def parent():
        leaf_ref = leaf.options(num_cpus=0.5).remote()
        actor = Leaf.options(num_cpus=0).remote()
        return ray.get([leaf_ref, actor.method.remote()])

    assert ray.get(parent.remote()) == ["leaf", "method"]


@pytest.mark.engine("skate", "local")
@pytest.mark.parametrize("name", ["__name__", "__qualname__", "__module__", "__doc__", "LIMIT"])
def test_actor_class_has_in_a_task_what_the_plain_class_has(ray, name):
    class Plain:
        """Documented."""

        LIMIT = 7

    actor_class = ray.remote(Plain)

    @ray.remote
    def look():
        return getattr(actor_class, name)

    assert ray.get(look.remote()) == getattr(Plain, name)


@pytest.mark.engine("skate", "local")
@pytest.mark.parametrize("name", ["__name__", "__module__", "__doc__"])
def test_remote_function_has_in_a_task_what_the_plain_one_has(ray, name):
    def plain():
        """Documented."""

    function = ray.remote(plain)

    @ray.remote
    def look():
        return getattr(function, name)

    assert ray.get(look.remote()) == getattr(plain, name)
