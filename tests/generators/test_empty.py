"""`skate.empty`: values that are written where they stay."""

import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

pytestmark = pytest.mark.processes("there is no store; what is yielded is copied")

MB = 1_000_000


def test_yielded_array_arrives(skate):
    @skate.remote
    def items():
        for k in range(3):
            array = skate.empty((100, 1000), "float64")
            array[:] = k
            yield array

    for k, ref in enumerate(items.remote()):
        value = skate.get(ref)
        assert value.shape == (100, 1000)
        assert value.dtype == np.float64
        assert (value == k).all()
        assert not value.flags.writeable
        del value, ref


@pytest.mark.parametrize("how", ["return", "put", "static", "dynamic"])
def test_it_works_wherever_a_value_becomes_an_object(skate, how):
    def fill():
        array = skate.empty(300_000, np.uint8)
        array[:] = 7
        return array

    @skate.remote
    def returns():
        return fill()

    @skate.remote
    def puts():
        return [skate.put(fill())]

    def yields():
        yield fill()

    if how == "return":
        value = skate.get(returns.remote())
    elif how == "put":
        value = skate.get(skate.get(puts.remote())[0])
    elif how == "static":
        value = skate.get(skate.remote(num_returns=1)(yields).remote())
    else:
        value = skate.get(next(skate.get(skate.remote(num_returns="dynamic")(yields).remote())))
    assert value.nbytes == 300_000
    assert (value == 7).all()


def test_driver_puts_without_a_copy(skate):
    """The room in use does not grow by the put: the array was there before."""
    array = skate.empty(5 * MB, np.uint8)
    array[:] = 1
    before = skate.statistics().used_bytes
    ref = skate.put(array)
    assert skate.statistics().used_bytes <= before  # a worker may give back a lease meanwhile
    value = skate.get(ref)
    assert (value == 1).all()
    del value, ref, array


def test_array_is_read_only_once_it_is_an_object(skate):
    array = skate.empty(1000, np.int32)
    array[:] = 3
    ref = skate.put(array)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 4
    with pytest.raises(ValueError):
        array.setflags(write=True)
    assert (skate.get(ref) == 3).all()
    assert (array == 3).all()


def test_second_time_it_is_copied(skate):
    array = skate.empty(100_000, np.uint8)
    array[:] = 5
    first, second = skate.put(array), skate.put(array)
    assert (skate.get(first) == skate.get(second)).all()
    before = skate.get(second)
    del first, array
    assert (before == 5).all()


@pytest.mark.parametrize(
    "view",
    [lambda a: a[10:], lambda a: a[:], lambda a: a.view(np.int8), lambda a: a.reshape(10, -1)],
    ids=["slice", "whole", "dtype", "shape"],
)
def test_view_of_it_is_copied_and_the_array_stays_writable(skate, view):
    array = skate.empty(100_000, np.uint8)
    array[:] = 1
    ref = skate.put(view(array))
    array[:] = 2
    assert (skate.get(ref) == 1).all()


def test_array_whose_shape_was_changed_is_copied(skate):
    array = skate.empty(100, np.uint8)
    array.shape = (10, 10)
    array[:] = 1
    ref = skate.put(array)
    array[:] = 2
    assert skate.get(ref).shape == (10, 10)
    assert (skate.get(ref) == 1).all()


def test_array_as_argument_or_inside_of_a_value_is_copied(skate):
    @skate.remote
    def total(array, box):
        return int(array.sum()) + int(box[0].sum())

    array = skate.empty(1000, np.uint8)
    array[:] = 1
    result = total.remote(array, [array])
    array[:] = 2
    assert skate.get(result) == 2000


def test_drop_without_a_yield_frees_the_room(skate, eventually):
    array = skate.empty(5 * MB, np.uint8)
    assert skate.statistics().used_bytes >= 5 * MB
    del array
    eventually(lambda: skate.statistics().used_bytes < MB)


def test_object_outlives_the_array_and_the_array_the_object(skate, eventually):
    array = skate.empty(2 * MB, np.uint8)
    array[:] = 9
    ref = skate.put(array)
    del array
    assert (skate.get(ref) == 9).all()
    other = skate.empty(2 * MB, np.uint8)
    other[:] = 8
    ref2 = skate.put(other)
    del ref, ref2
    later = skate.empty(2 * MB, np.uint8)
    later[:] = 1
    assert (other == 8).all()
    del other, later
    eventually(lambda: skate.statistics().used_bytes < MB)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float16, np.float32, np.complex128])
def test_all_numbers_arrive_with_their_dtype(skate, dtype):
    array = skate.empty((3, 4), dtype)
    array[:] = 1
    value = skate.get(skate.put(array))
    assert value.dtype == np.dtype(dtype)
    assert (value == 1).all()


@pytest.mark.parametrize("dtype", [object, "datetime64[s]", ">i4", "U5", [("a", "i4")]])
def test_other_dtypes_are_refused(skate, dtype):
    with pytest.raises(TypeError, match="native numbers"):
        skate.empty(3, dtype)


def test_negative_extents_are_refused(skate):
    with pytest.raises(ValueError, match="must be from 0"):
        skate.empty((3, -1))
    with pytest.raises(ValueError, match="must be from 0"):
        skate.empty_buffer(-1)


def test_empty_array_of_nothing(skate):
    array = skate.empty((0, 5))
    assert skate.get(skate.put(array)).shape == (0, 5)


def test_too_large_is_store_full(skate):
    with pytest.raises(skate.exceptions.ObjectStoreFullError):
        skate.empty(1 << 60, np.uint8)


def test_buffer_arrives_as_a_memoryview(skate):
    @skate.remote
    def items():
        for k in range(3):
            buffer = skate.empty_buffer(100_000)
            buffer[:] = bytes([k]) * 100_000
            yield buffer

    for k, ref in enumerate(items.remote()):
        value = skate.get(ref)
        assert isinstance(value, memoryview)
        assert value.readonly
        assert value == bytes([k]) * 100_000
        del value, ref


def test_buffer_is_released_once_it_is_an_object(skate):
    buffer = skate.empty_buffer(10)
    buffer[:] = b"0123456789"
    ref = skate.put(buffer)
    with pytest.raises(ValueError, match="released"):
        buffer[0] = 1
    assert bytes(skate.get(ref)) == b"0123456789"


def test_item_counts_in_a_window_of_bytes(skate, eventually):
    @skate.remote(generator_backpressure_num_bytes=2 * MB + 1000)
    def items():
        for k in range(10):
            array = skate.empty(MB, np.uint8)
            array[:] = k
            yield array
            del array

    values, peak = [], 0
    for ref in items.remote():
        peak = max(peak, skate.statistics().used_bytes)
        values.append(int(skate.get(ref)[0]))
        del ref
    assert values == list(range(10))
    assert peak <= 4 * MB + 10_000  # the window, one under construction, one in our hands


PROGRAM = textwrap.dedent("""
    import numpy as np, skate
    skate.init(num_cpus=1)
    array = skate.empty(100_000, np.uint8)
    alias = array[10:]
    array[:] = 1
    ref = skate.put(array)
    value = skate.get(ref)
    print(value[10], flush=True)
    alias[0] = 2
    print("it was changed", flush=True)
""")


def test_write_through_an_alias_never_reaches_the_object():
    """The header of `_empty.py` says what happens: the process ends at the write."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=50
    )
    assert ran.returncode == -11, ran.stderr
    assert ran.stdout == "1\n"


def test_worker_that_writes_through_an_alias_dies_and_the_item_stays(skate):
    @skate.remote(max_retries=0)
    def items():
        array = skate.empty(100_000, np.uint8)
        array[:] = 1
        alias = array[5:]
        yield array
        alias[0] = 2
        yield "never"

    good, bad = list(items.remote())
    assert (skate.get(good) == 1).all()
    with pytest.raises(skate.exceptions.WorkerCrashedError, match="signal 11"):
        skate.get(bad)


def test_other_threads_run_while_its_pages_are_made(fresh):
    """For 1 GiB none did, for seconds."""
    fresh.init(num_cpus=1, object_store_memory=600_000_000)
    calls, is_inside, is_enough = 0, False, False

    def make():
        nonlocal calls, is_inside
        while not is_enough:
            calls += 1
            is_inside = True
            array = fresh.empty(500_000_000, dtype="u1")
            is_inside = False
            assert len(array) == 500_000_000
            del array

    thread = threading.Thread(target=make)
    thread.start()
    look, looks, nap = 0, 0, threading.Event()
    try:
        while looks < 6:  # within one call; with the GIL held: one before it, one or two after it
            nap.wait(0.0005)
            now = calls if is_inside else 0
            looks = looks + 1 if now and now == look else 0
            look = now
    finally:
        is_enough = True
        thread.join()
