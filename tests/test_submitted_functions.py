"""A worker that has submitted a function is later asked to run it.

It kept only the function's hash, and the node, which would have sent the bytes, took them for
known: the worker died, and with `max_retries=0` the call was lost.
"""

import os

import pytest


@pytest.fixture
def ray(fresh):
    """One CPU: whoever submits is soon the one who runs."""
    fresh.init(num_cpus=1)
    return fresh


def test_submitter_of_a_function_runs_it_later(ray):
    @ray.remote(max_retries=0)
    def child():
        return os.getpid()

    @ray.remote(max_retries=0)
    def submits():
        child.remote()
        return os.getpid()

    submitter = ray.get(submits.remote())
    assert ray.get([child.remote() for _ in range(3)]) == [submitter] * 3


def test_every_level_of_nested_calls_can_run_every_function(ray):
    @ray.remote(max_retries=0)
    def leaf(x):
        return x

    @ray.remote(max_retries=0)
    def middle(x):
        return ray.get(leaf.remote(x)) + 1

    @ray.remote(max_retries=0)
    def top(x):
        return ray.get(middle.remote(x)) + 1

    for _ in range(3):  # each worker has been at each level
        calls = [function.remote(0) for function in (top, middle, leaf) * 3]
        assert ray.get(calls) == [2, 1, 0] * 3


def test_recursive_function_is_run_by_who_called_it(ray):
    @ray.remote(max_retries=0)
    def fibonacci(n):
        return n if n < 2 else sum(ray.get([fibonacci.remote(n - 1), fibonacci.remote(n - 2)]))

    assert ray.get(fibonacci.remote(7)) == 13


def test_actor_makes_actors_of_its_own_class(ray):
    @ray.remote(num_cpus=0, max_restarts=0)
    class Node:
        def depth(self, levels):
            return 0 if levels == 0 else 1 + ray.get(Node.remote().depth.remote(levels - 1))

    @ray.remote(max_retries=0)
    def depth(levels):
        return ray.get(Node.remote().depth.remote(levels))

    assert ray.get(depth.remote(2)) == 2
    assert ray.get(Node.remote().depth.remote(3)) == 3


class Counted:
    """Adds a byte to a file whenever it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return unpickle, (self.path,)


def unpickle(path):
    with path.open("ab") as file:
        file.write(b".")
    return Counted(path)


def test_function_that_is_passed_on_is_defined_once(ray, attempts):
    # It was defined anew by each task that it came to, and unpickled for each of its calls.
    counted = Counted(attempts)

    @ray.remote
    def child(x):
        assert counted.path == attempts
        return x

    @ray.remote
    def passes(function, x):
        return ray.get(function.remote(x))

    calls = 50
    for x in range(calls):
        assert ray.get(passes.remote(child, x)) == x
    workers = len(ray.util.state.list_workers())
    came_as_arguments = calls
    assert attempts.stat().st_size <= came_as_arguments + workers
