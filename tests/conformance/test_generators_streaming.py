"""Streams: items while the task runs, its end, and its errors."""

import pytest


def make_count(ray):
    @ray.remote
    def count(stop):
        for k in range(stop):
            yield k

    return count


def test_generator_function_streams_by_default(ray):
    stream = make_count(ray).remote(3)
    assert isinstance(stream, ray.ObjectRefGenerator)
    refs = list(stream)
    assert all(isinstance(ref, ray.ObjectRef) for ref in refs)
    assert ray.get(refs) == [0, 1, 2]


def test_option_streaming_is_the_same(ray):
    stream = make_count(ray).options(num_returns="streaming").remote(2)
    assert [ray.get(ref) for ref in stream] == [0, 1]


def test_item_is_there_while_the_producer_waits_for_us(ray, gate):
    @ray.remote
    def items():
        yield "first"
        gate.read_bytes()
        yield "second"

    stream = items.remote()
    assert ray.get(next(stream)) == "first"
    gate.write_bytes(b"")
    assert ray.get(next(stream)) == "second"
    with pytest.raises(StopIteration):
        next(stream)


def test_item_feeds_a_task_while_the_producer_runs(ray, gate):
    @ray.remote
    def items():
        yield 20
        gate.read_bytes()

    @ray.remote
    def double(x):
        return 2 * x

    stream = items.remote()
    assert ray.get(double.remote(next(stream))) == 40
    gate.write_bytes(b"")
    assert list(stream) == []


def test_end_is_stop_iteration_for_ever(ray):
    stream = make_count(ray).remote(1)
    next(stream)
    for _ in range(3):
        with pytest.raises(StopIteration):
            next(stream)


def test_exception_comes_after_the_items_then_the_end(ray):
    @ray.remote
    def fails():
        yield 0
        yield 1
        raise ValueError("third")

    stream = fails.remote()
    assert [ray.get(next(stream)), ray.get(next(stream))] == [0, 1]
    with pytest.raises(ValueError, match="third") as caught:
        ray.get(next(stream))
    assert isinstance(caught.value, ray.exceptions.RayTaskError)
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(stream)


def test_exception_before_any_yield_is_the_only_item(ray):
    @ray.remote
    def fails():
        raise ValueError("at once")
        yield

    (bad,) = list(fails.remote())
    with pytest.raises(ValueError, match="at once"):
        ray.get(bad)


def test_exception_object_that_is_yielded_is_a_value(ray):
    @ray.remote
    def values():
        yield ValueError("only a value")
        yield 2

    first, second = [ray.get(ref) for ref in values.remote()]
    assert isinstance(first, ValueError)
    assert second == 2


def test_return_in_the_middle_ends_the_stream(ray):
    @ray.remote
    def stops():
        yield 1
        if True:
            return
        yield 2

    assert [ray.get(ref) for ref in stops.remote()] == [1]


def test_stop_iteration_inside_a_generator_is_a_runtime_error(ray):
    @ray.remote
    def stops():
        yield 1
        raise StopIteration

    good, bad = list(stops.remote())
    assert ray.get(good) == 1
    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        ray.get(bad)


def test_failed_argument_is_the_only_item(ray):
    @ray.remote
    def fail():
        raise KeyError("source")

    (bad,) = list(make_count(ray).remote(fail.remote()))
    with pytest.raises(KeyError):
        ray.get(bad)


def test_get_of_a_stream_is_the_stream(ray):
    stream = make_count(ray).remote(1)
    assert ray.get(stream) is stream
    with pytest.raises(TypeError):
        ray.get([stream])
    list(stream)


def test_completed_is_ready_when_the_task_has_ended(ray, gate):
    @ray.remote
    def items():
        yield 1
        gate.read_bytes()

    stream = items.remote()
    done = stream.completed()
    ray.get(next(stream))
    assert ray.wait([done], timeout=0.05) == ([], [done])
    gate.write_bytes(b"")
    assert ray.get(done) is None


def test_completed_holds_no_application_error(ray):
    @ray.remote
    def fails():
        yield 1
        raise ValueError("in the stream only")

    stream = fails.remote()
    assert ray.get(stream.completed()) is None
    assert len(list(stream)) == 2


def test_next_ready_tells_whether_next_would_block(ray, gate):
    @ray.remote
    def items():
        yield 1
        gate.read_bytes()

    stream = items.remote()
    ray.wait([stream])
    assert stream.next_ready()
    next(stream)
    assert not stream.next_ready()
    gate.write_bytes(b"")
    assert list(stream) == []
    assert not stream.next_ready()


def test_is_finished_only_when_all_was_taken(ray):
    stream = make_count(ray).remote(1)
    assert not stream.is_finished()
    ray.get(stream.completed())
    assert not stream.is_finished()
    next(stream)
    with pytest.raises(StopIteration):
        next(stream)
    assert stream.is_finished()


def test_is_finished_waits_for_the_error_to_be_taken(ray):
    @ray.remote
    def fails():
        yield 1
        raise ValueError("last")

    stream = fails.remote()
    ray.get(stream.completed())
    next(stream)
    assert not stream.is_finished()
    next(stream)
    with pytest.raises(StopIteration):
        next(stream)
    assert stream.is_finished()


def test_next_sync_gives_a_nil_ref_after_its_timeout(ray, gate):
    @ray.remote
    def items():
        gate.read_bytes()
        yield 1

    stream = items.remote()
    assert stream._next_sync(timeout_s=0.01).is_nil()
    gate.write_bytes(b"")
    assert ray.get(stream._next_sync(timeout_s=None)) == 1


def test_items_taken_outlive_the_stream(ray):
    stream = make_count(ray).remote(3)
    items = [next(stream), next(stream)]
    del stream
    assert ray.get(items) == [0, 1]


def test_task_runs_on_after_its_stream_was_dropped(ray, gates):
    go_on, finished = gates("go_on"), gates("finished")

    @ray.remote
    def items():
        yield 1
        go_on.read_bytes()
        for k in range(10):
            yield k
        finished.write_bytes(b"to the end")

    stream = items.remote()
    next(stream)
    del stream
    go_on.write_bytes(b"")
    assert finished.read_bytes() == b"to the end"


def test_task_runs_eagerly_without_a_reader(ray, gate):
    @ray.remote
    def items():
        for k in range(100):
            yield k
        gate.write_bytes(b"ended")

    stream = items.remote()
    assert gate.read_bytes() == b"ended"
    assert ray.get(list(stream)) == list(range(100))


def test_later_mutation_of_a_yielded_object_is_not_seen(ray):
    @ray.remote
    def grows():
        value = []
        for k in range(3):
            value.append(k)
            yield value

    assert [ray.get(ref) for ref in grows.remote()] == [[0], [0, 1], [0, 1, 2]]


def test_refs_inside_items_keep_their_objects(ray):
    @ray.remote
    def boxes():
        for k in range(3):
            yield [ray.put(k)]

    for k, ref in enumerate(list(boxes.remote())):
        assert ray.get(ray.get(ref)[0]) == k


@pytest.mark.parametrize("name", ["send", "throw", "asend", "athrow"])
def test_talking_to_the_generator_is_not_implemented(ray, name):
    stream = make_count(ray).remote(1)
    with pytest.raises(NotImplementedError, match=rf"`gen\.{name}` is not supported\."):
        result = getattr(stream, name)(ValueError("x"))
        result.send(None)  # where it is a coroutine
    list(stream)


def test_several_streams_interleave(ray):
    first, second = make_count(ray).remote(10), make_count(ray).remote(10)
    pairs = [(ray.get(a), ray.get(b)) for a, b in zip(first, second, strict=True)]
    assert pairs == [(k, k) for k in range(10)]


def test_stream_is_not_pickled_outside_of_a_call(ray):
    import pickle

    stream = make_count(ray).remote(1)
    with pytest.raises(TypeError):
        pickle.dumps(stream)
    list(stream)


@pytest.mark.engine("skate")
def test_delegation_to_an_iterator_streams_too(ray):
    """Ray resumes with `send(value)`, which an iterator without `send` cannot take."""

    @ray.remote
    def delegates():
        yield from range(3)

    assert [ray.get(ref) for ref in delegates.remote()] == [0, 1, 2]
