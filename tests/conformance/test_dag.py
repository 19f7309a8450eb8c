"""`.bind()` and `.execute()`: graphs of calls that are made later."""

import importlib

import pytest


@pytest.fixture(scope="module")
def dag(ray):
    return importlib.import_module(f"{ray.__name__}.dag")


def test_a_graph_calls_nothing_until_it_is_executed(ray, attempts):
    def note(x):
        with attempts.open("a") as file:
            file.write("x")
        return x + 1

    node = ray.remote(note).bind(1)
    assert attempts.stat().st_size == 0
    assert ray.get(node.execute()) == 2
    assert ray.get(node.execute()) == 2
    assert attempts.stat().st_size == 2


def test_what_several_nodes_use_is_called_once(ray, attempts):
    def note():
        with attempts.open("a") as file:
            file.write("x")
        return 5

    first = ray.remote(note).bind()
    add = ray.remote(lambda a, b: a + b)
    assert ray.get(add.bind(first, add.bind(first, 1)).execute()) == 11
    assert attempts.stat().st_size == 1


def test_the_input_goes_to_every_node_that_names_it(ray, dag):
    add = ray.remote(lambda a, b: a + b)
    with dag.InputNode() as x:
        graph = add.bind(add.bind(x, 1), x)
    assert [ray.get(graph.execute(n)) for n in (1, 10)] == [3, 21]


def test_parts_of_the_input_are_nodes(ray, dag):
    sub = ray.remote(lambda a, b: a - b)
    with dag.InputNode() as x:
        graph = sub.bind(x[0], x.name)
    assert ray.get(graph.execute(5, name=2)) == 3


def test_each_execute_makes_an_actor(ray, dag):
    @ray.remote
    class Total:
        def __init__(self, start):
            self.n = start

        def add(self, k):
            self.n += k
            return self.n

    with dag.InputNode() as x:
        total = Total.bind(100)
        graph = dag.MultiOutputNode([total.add.bind(x), total.add.bind(x)])
    assert [ray.get(graph.execute(n)) for n in (1, 2)] == [[101, 102], [102, 104]]


def test_methods_of_a_living_actor_can_be_bound(ray, dag):
    @ray.remote
    class Doubler:
        def double(self, k):
            return 2 * k

    actor = Doubler.remote()
    with dag.InputNode() as x:
        graph = actor.double.bind(actor.double.bind(x))
    assert ray.get(graph.execute(3)) == 12


def test_several_outputs_are_a_list_of_refs(ray, dag):
    square = ray.remote(lambda n: n * n)
    with dag.InputNode() as x:
        graph = dag.MultiOutputNode([square.bind(x), square.bind(3)])
    assert ray.get(graph.execute(2)) == [4, 9]


def test_an_error_comes_through(ray):
    def fail():
        raise KeyError("k")

    same = ray.remote(lambda x: x)
    with pytest.raises(KeyError):
        ray.get(same.bind(ray.remote(fail).bind()).execute())
