"""A9: windows by items and by bytes, and what pauses when the store is nearly full."""

import pytest

MB = 1_000_000


@pytest.fixture
def yields(tmp_path):
    """A file to which a producer adds one byte before each yield."""
    path = tmp_path / "yields"
    path.touch()
    return path


def make_items(skate, yields, size=10):
    @skate.remote
    def items(stop):
        for k in range(stop):
            with yields.open("ab") as log:
                log.write(b"x")
            yield bytes([k % 256]) * size

    return items


def paused_at(skate, yields, count):
    """The producer has begun its `count`-th yield, and sleeps in it."""

    def condition():
        begun = yields.stat().st_size
        assert begun <= count, "it went beyond its window"
        return begun == count and skate.statistics().workers_blocked == 1

    return condition


@pytest.mark.parametrize("window", [1, 3])
def test_window_of_items_is_exact(skate, yields, eventually, window):
    items = make_items(skate, yields)
    stream = items.options(generator_backpressure_num_objects=window).remote(20)
    for taken in range(5):
        eventually(paused_at(skate, yields, window + taken))
        next(stream)
    assert len(list(stream)) == 15


def test_rays_underscore_name_is_the_same(skate, yields, eventually):
    items = make_items(skate, yields)
    stream = items.options(_generator_backpressure_num_objects=2).remote(5)
    eventually(paused_at(skate, yields, 2))
    assert len(list(stream)) == 5


def test_window_of_bytes_is_exact(skate, yields, eventually):
    items = make_items(skate, yields, size=MB)
    stream = items.options(generator_backpressure_num_bytes=3 * MB + 1000).remote(10)
    for taken in range(4):
        eventually(paused_at(skate, yields, taken + 4))  # three are stored, one waits
        assert skate.statistics().used_bytes <= 3 * MB + 1000
        del_me = next(stream)
        del del_me
    assert len(list(stream)) == 6


def test_item_larger_than_the_window_goes_alone(skate, yields, eventually):
    items = make_items(skate, yields, size=MB)
    stream = items.options(generator_backpressure_num_bytes=10).remote(4)
    eventually(paused_at(skate, yields, 2))  # one is stored, one waits
    assert MB <= skate.statistics().used_bytes < 2 * MB
    assert len(list(stream)) == 4


@pytest.mark.processes("its producer runs ahead")
def test_window_of_bytes_counts_small_items(skate, yields, eventually):
    items = make_items(skate, yields, size=100)
    stream = items.options(generator_backpressure_num_bytes=1000).remote(100)
    eventually(lambda: skate.statistics().workers_blocked == 1)
    assert yields.stat().st_size <= 10
    assert len(list(stream)) == 100


def test_both_windows_hold(skate, yields, eventually):
    items = make_items(skate, yields, size=MB).options(
        generator_backpressure_num_objects=2, generator_backpressure_num_bytes=100 * MB
    )
    stream = items.remote(5)
    eventually(paused_at(skate, yields, 2))
    assert len(list(stream)) == 5


@pytest.mark.parametrize("name", ["num_objects", "num_bytes"])
@pytest.mark.parametrize("mode", [2, "dynamic"])
def test_window_of_another_mode_is_refused(skate, name, mode):
    def items():
        yield 1

    options = {f"generator_backpressure_{name}": 3, "num_returns": mode}
    with pytest.raises(ValueError, match="a window belongs to a streaming generator"):
        skate.remote(**options)(items)
    with pytest.raises(ValueError, match=f"generator_backpressure_{name}=3"):
        skate.remote(items).options(**options)


@pytest.mark.parametrize("name", ["num_objects", "num_bytes"])
def test_window_of_zero_is_refused(skate, name):
    with pytest.raises(ValueError, match=f"generator_backpressure_{name}=0 is not allowed"):
        skate.remote(**{f"generator_backpressure_{name}": 0})(lambda: None)


@pytest.mark.parametrize("name", ["num_objects", "num_bytes"])
def test_drop_lifts_the_brake(skate, yields, eventually, name):
    items = make_items(skate, yields)
    stream = items.options(**{f"generator_backpressure_{name}": 1}).remote(10)
    eventually(paused_at(skate, yields, 1 if name == "num_objects" else 2))
    del stream
    eventually(lambda: yields.stat().st_size == 10)


def test_wait_on_a_paused_stream_sees_its_items(skate, yields, eventually):
    stream = make_items(skate, yields).options(generator_backpressure_num_objects=1).remote(3)
    eventually(paused_at(skate, yields, 1))
    assert skate.wait([stream], timeout=0) == ([stream], [])
    assert len(list(stream)) == 3


def test_paused_producers_on_all_cpus_do_not_keep_their_reader_from_starting(skate, yields):
    items = make_items(skate, yields).options(generator_backpressure_num_objects=1)

    @skate.remote
    def count(*streams):
        return [sum(1 for _ in stream) for stream in streams]

    first, second = items.remote(20), items.remote(20)
    skate.wait([first, second], num_returns=2)
    assert skate.get(count.remote(first, second)) == [20, 20]


def test_item_handed_back_closes_the_window_again(skate, yields, eventually):
    """A `next` that ends without its item must not have opened the window for good."""
    items = make_items(skate, yields).options(generator_backpressure_num_objects=1)
    stream = items.remote(50)
    taken = []
    while True:
        try:
            taken.append(stream.next(timeout=0))
        except skate.exceptions.GetTimeoutError:
            continue
        except StopIteration:
            break
    assert len(taken) == 50


@pytest.mark.processes("its process ends")
def test_retry_keeps_the_window_of_bytes(skate, yields, eventually):
    import os

    @skate.remote(generator_backpressure_num_bytes=2 * MB + 1000, max_retries=1)
    def items():
        for k in range(6):
            with yields.open("ab") as log:
                log.write(b"x")
            if k == 3 and yields.stat().st_size == 4:
                os._exit(1)
            yield bytes([k]) * MB

    stream = items.remote()
    values = []
    for ref in stream:
        assert skate.statistics().used_bytes <= 4 * MB
        values.append(skate.get(ref)[0])
        del ref
    assert values == list(range(6))
