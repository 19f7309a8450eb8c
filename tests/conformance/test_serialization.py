"""What travels between processes, and how arrays arrive."""

import collections
import dataclasses
import enum
import subprocess
import sys
import textwrap

import numpy as np
import pytest


@pytest.mark.parametrize("count", [0, 1, 10, 1_000, 1_000_000])
@pytest.mark.parametrize("dtype", ["u1", "f8", "complex128", "datetime64[s]"])
def test_arrays_come_back_equal(ray, count, dtype):
    array = np.arange(count).astype(dtype)
    got = ray.get(ray.put(array))
    assert got.dtype == array.dtype
    assert np.array_equal(got, array)


def test_shapes_and_orders_survive(ray):
    cube = np.arange(24).reshape(2, 3, 4)
    for array in (cube, cube.T, cube[:, ::2], np.asfortranarray(cube), np.array(5), cube[:0]):
        got = ray.get(ray.put(array))
        assert got.shape == array.shape
        assert np.array_equal(got, array)


@pytest.mark.parametrize("count", [10, 1_000_000])
def test_arrays_are_read_only(ray, count):
    got = ray.get(ray.put(np.zeros(count)))
    assert not got.flags.writeable
    with pytest.raises(ValueError):
        got[0] = 1


def test_arrays_are_read_only_in_tasks_too(ray):
    @ray.remote
    def write(array):
        array[0] = 1

    with pytest.raises(ValueError, match="read-only"):
        ray.get(write.remote(ray.put(np.zeros(1_000_000))))


def test_large_array_is_not_copied_by_get(ray):
    ref = ray.put(np.arange(1_000_000))
    first, second = ray.get(ref), ray.get(ref)
    assert np.shares_memory(first, second)


def test_object_arrays_and_structured_arrays(ray):
    objects = np.array([{"a": 1}, None, "x"], dtype=object)
    assert list(ray.get(ray.put(objects))) == [{"a": 1}, None, "x"]
    rows = np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])
    assert ray.get(ray.put(rows))["b"][0] == 2.5


def test_arrays_inside_containers_are_views_as_well(ray):
    got = ray.get(ray.put({"arrays": [np.zeros(500_000), np.ones(500_000)]}))
    assert not got["arrays"][1].flags.writeable
    assert got["arrays"][1].sum() == 500_000


def test_view_stays_valid_after_its_ref_is_gone(ray):
    ref = ray.put(np.arange(1_000_000))
    array = ray.get(ref)
    del ref
    others = [ray.put(np.zeros(1_000_000)) for _ in range(5)]
    assert array[-1] == 999_999
    assert array.sum() == 999_999 * 1_000_000 // 2
    del others


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        frozenset({3}),
        collections.OrderedDict(a=1),
        collections.Counter("aab"),
        collections.deque([1, 2]),
        2**200,
        complex(1, 2),
        "ünïcödé \U0001f6f9",
        "\ud800",
        bytearray(b"ab"),
        slice(1, 2),
        Ellipsis,
        NotImplemented,
        int,
        len,
        float("inf"),
        -0.0,
    ],
    ids=repr,
)
def test_values_of_the_standard_library(ray, value):
    @ray.remote
    def echo(value):
        return value

    got = ray.get(echo.remote(value))
    assert type(got) is type(value)
    assert got == value or got is value
    assert repr(got) == repr(value)


def test_subclasses_of_plain_types_keep_their_class(ray):
    class Text(str):
        __slots__ = ()

    class Count(int):
        pass

    class Colour(enum.IntEnum):
        RED = 1

    class Items(list):
        pass

    Pair = collections.namedtuple("Pair", "a b")
    Pair.__module__ = "__main__"

    @ray.remote
    def kinds(*values):
        return [type(value).__name__ for value in values]

    values = Text("t"), Count(1), Colour.RED, Items([1]), Pair(1, 2), True
    names = ["Text", "Count", "Colour", "Items", "Pair", "bool"]
    assert ray.get(kinds.remote(*values)) == names


def test_shared_and_recursive_structures_keep_their_shape(ray):
    loop = [1]
    loop.append(loop)
    got = ray.get(ray.put(loop))
    assert got[1] is got
    shared = [1, 2]
    pair = ray.get(ray.put([shared, shared]))
    assert pair[0] is pair[1]


def test_dataclass_of_the_caller(ray):
    @dataclasses.dataclass
    class Point:
        x: int
        y: int = 2

    @ray.remote
    def mirror(point):
        return Point(point.y, point.x)

    assert ray.get(mirror.remote(Point(1))) == Point(2, 1)


def test_lambdas_and_inner_functions_are_values(ray):
    @ray.remote
    def apply(function, *args):
        return function(*args)

    base = 10
    assert ray.get(apply.remote(lambda x: x + base, 5)) == 15
    made = ray.get(ray.put(lambda x: x * base))
    assert made(2) == 20


def test_deep_structures_arrive(ray):
    deep = []
    for _ in range(100):
        deep = [deep]
    assert ray.get(ray.put(deep)) == deep


def test_definitions_of_main_are_known_to_workers(engine, tmp_path):
    program = tmp_path / "program.py"
    text = f"""
        import {engine.__name__} as ray

        LIMIT = 3

        class Shape:
            def __init__(self, size):
                self.size = size

        class Square(Shape):
            def area(self):
                return self.size ** 2

        class Trouble(Exception):
            pass

        def helper(n):
            return n if n == 0 else helper(n - 1) + LIMIT

        @ray.remote
        def area(shape):
            assert isinstance(shape, Shape)
            return shape.area() + helper(2)

        @ray.remote
        def fail():
            raise Trouble("main")

        @ray.remote
        def even(n):
            return True if n == 0 else ray.get(odd.remote(n - 1))

        @ray.remote
        def odd(n):
            return False if n == 0 else ray.get(even.remote(n - 1))

        if __name__ == "__main__":
            ray.init(num_cpus=2)
            assert ray.get(area.remote(Square(3))) == 15
            try:
                ray.get(fail.remote())
            except Trouble as error:
                assert "main" in str(error)
            else:
                raise SystemExit("no error")
            assert ray.get(even.remote(4))
            ray.shutdown()
    """
    program.write_text(textwrap.dedent(text))
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_modules_beside_the_program_can_be_imported_by_workers(engine, tmp_path):
    (tmp_path / "beside.py").write_text("def triple(x):\n    return 3 * x\n")
    program = tmp_path / "program.py"
    text = f"""
        import {engine.__name__} as ray
        import beside

        @ray.remote
        def work(x):
            import beside as again
            return again.triple(x) + beside.triple(x)

        ray.init(num_cpus=1)
        assert ray.get(work.remote(2)) == 12
        assert ray.get(ray.remote(beside.triple).remote(2)) == 6
        ray.shutdown()
    """
    program.write_text(textwrap.dedent(text))
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
