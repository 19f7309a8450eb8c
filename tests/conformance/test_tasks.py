"""Calling a function as a task: what goes in, what comes out."""

import os

import pytest


def test_task_returns_value_of_its_function(ray):
    @ray.remote
    def add(a, b=10, *rest, scale=1, **others):
        return (a + b + sum(rest)) * scale, others

    assert ray.get(add.remote(1)) == (11, {})
    assert ray.get(add.remote(1, 2, 3, 4, scale=2, extra="x")) == (20, {"extra": "x"})


@pytest.mark.processes("that is the claim")
def test_task_runs_in_another_process(ray):
    @ray.remote
    def pid():
        return os.getpid()

    assert ray.get(pid.remote()) != os.getpid()


def test_remote_is_also_a_function_and_takes_options(ray):
    def one():
        return 1

    assert ray.get(ray.remote(one).remote()) == 1
    assert ray.get(ray.remote(num_cpus=1)(one).remote()) == 1


def test_plain_function_stays_reachable(ray):
    @ray.remote
    def one():
        return 1

    assert one._function() == 1


def test_top_level_refs_are_resolved(ray):
    @ray.remote
    def join(*args, **kwargs):
        return args, kwargs

    refs = [ray.put(i) for i in range(3)]
    assert ray.get(join.remote(refs[0], 7, key=refs[2])) == ((0, 7), {"key": 2})


def test_refs_inside_containers_stay_refs(ray):
    @ray.remote
    def read(box):
        assert isinstance(box["inner"][0], ray.ObjectRef)
        return ray.get(box["inner"])

    assert ray.get(read.remote({"inner": [ray.put("a"), ray.put("b")]})) == ["a", "b"]


def test_task_starts_when_the_tasks_it_depends_on_have_ended(ray):
    @ray.remote
    def grow(text, letter):
        return text + letter

    ref = ""
    for letter in "abcdefgh":
        ref = grow.remote(ref, letter)
    assert ray.get(ref) == "abcdefgh"


def test_one_result_feeds_many_tasks(ray):
    @ray.remote
    def source():
        return 5

    @ray.remote
    def times(value, factor):
        return value * factor

    ref = source.remote()
    assert ray.get([times.remote(ref, k) for k in range(20)]) == [5 * k for k in range(20)]


def test_tuple_is_split_over_the_refs_asked_for(ray):
    @ray.remote(num_returns=3)
    def three():
        return "a", "b", "c"

    refs = three.remote()
    assert isinstance(refs, list)
    assert ray.get(refs) == ["a", "b", "c"]


def test_list_is_split_too(ray):
    @ray.remote(num_returns=2)
    def two():
        return [1, 2]

    assert ray.get(two.remote()) == [1, 2]


def test_one_return_is_never_unpacked(ray):
    @ray.remote(num_returns=1)
    def pair():
        return 1, 2

    assert ray.get(pair.remote()) == (1, 2)


def test_no_returns_gives_none(ray, tmp_path, gate):
    @ray.remote(num_returns=0)
    def act(path):
        path.write_bytes(b"done")

    assert act.remote(gate) is None
    assert gate.read_bytes() == b"done"


@pytest.mark.parametrize("count", [1, 3])
def test_wrong_number_of_values_is_a_value_error_on_every_ref(ray, count):
    @ray.remote(num_returns=2)
    def some():
        return [0] * count

    for ref in some.remote():
        with pytest.raises(ValueError):
            ray.get(ref)


def test_closures_carry_their_values(ray):
    factor = 3

    def scale(x):
        return factor * x

    @ray.remote
    def apply(x):
        return scale(x) + (lambda y: y * factor)(1)

    assert ray.get(apply.remote(2)) == 9


def test_recursion_works(ray):
    @ray.remote
    def factorial(n):
        def product(k):
            return 1 if k == 0 else k * product(k - 1)

        return product(n)

    assert ray.get(factorial.remote(10)) == 3_628_800


def test_redefinition_is_seen(ray):
    def define(value):
        @ray.remote
        def same_name():
            return value

        return same_name

    first, second = define(1), define(2)
    assert ray.get([first.remote(), second.remote(), first.remote()]) == [1, 2, 1]


def test_classes_of_the_caller_are_known_to_the_task(ray):
    class Point:
        def __init__(self, x):
            self.x = x

    @ray.remote
    def move(point):
        return Point(point.x + 1)

    assert ray.get(move.remote(Point(1))).x == 2


def test_captured_refs_are_kept_alive_and_not_resolved(ray):
    ref = ray.put("kept")

    @ray.remote
    def read():
        assert isinstance(ref, ray.ObjectRef)  # noqa: F821 - deleted after the export
        return ray.get(ref)  # noqa: F821

    assert ray.get(read.remote()) == "kept"  # the function is exported now
    del ref
    assert ray.get(read.remote()) == "kept"


def test_task_sees_arguments_as_they_were_at_the_call(ray, gate):
    @ray.remote
    def read(values, gate):
        gate.read_bytes()
        return values

    values = [1]
    ref = read.remote(values, gate)
    values.append(2)
    gate.write_bytes(b"")
    assert ray.get(ref) == [1]


def test_generator_object_from_a_plain_function_fills_the_refs(ray):
    @ray.remote(num_returns=2)
    def hidden():
        return (k * 10 for k in range(2))

    assert ray.get(hidden.remote()) == [0, 10]


def test_working_directory_is_the_drivers(ray):
    @ray.remote
    def where():
        return os.getcwd()

    assert ray.get(where.remote()) == os.getcwd()
