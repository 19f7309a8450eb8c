"""A3: streaming generators as arguments, as values, and shared between processes."""

import ctypes
import os
import pickle
import signal

import pytest

WORDS = "You cannot return or pass a generator to other task"


def make_count(skate):
    @skate.remote
    def count(stop):
        for k in range(stop):
            yield k

    return count


def make_total(skate):
    @skate.remote
    def total(stream):
        return sum(skate.get(ref) for ref in stream)

    return total


def test_stream_is_a_top_level_argument(skate):
    assert skate.get(make_total(skate).remote(make_count(skate).remote(100))) == 4950


def test_task_that_is_given_a_stream_does_not_wait_for_an_item(skate, gates):
    held, started = gates("held"), gates("started")

    @skate.remote
    def items():
        held.read_bytes()
        yield 1

    @skate.remote
    def consume(stream):
        started.write_bytes(b"")
        return [skate.get(ref) for ref in stream]

    result = consume.remote(items.remote())
    started.read_bytes()  # although there is no item yet
    held.write_bytes(b"")
    assert skate.get(result) == [1]


class Box:
    """Goes through pickle."""

    def __init__(self, content):
        self.content = content


@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda s: [s], lambda v: v[0]),
        (lambda s: {"a": (1, s)}, lambda v: v["a"][1]),
        (Box, lambda v: v.content),
        (lambda s: [s, b"x" * 10_000], lambda v: v[0]),
    ],
    ids=["list", "dict", "object", "large"],
)
def test_stream_inside_of_a_value_arrives(skate, wrap, unwrap):
    @skate.remote
    def total(value, *, named):
        both = unwrap(value), unwrap(named)
        return [sum(skate.get(ref) for ref in stream) for stream in both]

    count = make_count(skate)
    assert skate.get(total.remote(wrap(count.remote(4)), named=wrap(count.remote(5)))) == [6, 10]


def test_stream_that_was_put_is_read_from_the_copy(skate):
    box = skate.put([make_count(skate).remote(3)])
    assert [skate.get(ref) for ref in skate.get(box)[0]] == [0, 1, 2]


def test_stream_is_returned(skate):
    count = make_count(skate)

    @skate.remote
    def start(stop):
        return count.remote(stop)

    stream = skate.get(start.remote(3))
    assert isinstance(stream, skate.ObjectRefGenerator)
    assert [skate.get(ref) for ref in stream] == [0, 1, 2]


def test_stream_of_streams(skate):
    count = make_count(skate)

    @skate.remote
    def fan(stop):
        for k in range(stop):
            yield count.remote(k)

    inner = [skate.get(ref) for ref in fan.remote(4)]
    assert [[skate.get(ref) for ref in stream] for stream in inner] == [[], [0], [0, 1], [0, 1, 2]]


def test_all_holders_share_one_cursor(skate):
    @skate.remote
    def drain(stream):
        return [skate.get(ref) for ref in stream]

    stream = make_count(skate).remote(2000)
    shares = [drain.remote(stream), drain.remote(stream)]
    mine = [skate.get(ref) for ref in stream]
    shares = [mine, *skate.get(shares)]
    assert sorted(k for share in shares for k in share) == list(range(2000))
    assert all(share == sorted(share) for share in shares)


def test_consumer_keeps_the_stream_that_the_driver_dropped(skate, gates):
    go_on, started = gates("go_on"), gates("started")

    @skate.remote
    def drain(stream):
        started.write_bytes(b"")
        go_on.read_bytes()
        return [skate.get(ref) for ref in stream]

    stream = make_count(skate).remote(10)
    result = drain.remote(stream)
    started.read_bytes()
    del stream
    go_on.write_bytes(b"")
    assert skate.get(result) == list(range(10))


def test_drop_by_the_last_holder_elsewhere_frees_the_items(skate, eventually):
    @skate.remote
    def ignore(stream):
        return next(stream) is not None

    stream = make_count(skate).remote(100)
    result = ignore.remote(stream)
    del stream
    assert skate.get(result)
    eventually(lambda: skate.statistics().streams == 0)


def test_pickle_outside_of_a_call_is_refused(skate):
    stream = make_count(skate).remote(1)
    with pytest.raises(TypeError, match=WORDS):
        pickle.dumps(stream)
    list(stream)


def test_stream_captured_by_a_function_is_refused(skate):
    stream = make_count(skate).remote(1)

    @skate.remote
    def captures():
        return list(stream)

    with pytest.raises(TypeError, match=WORDS):
        captures.remote()
    list(stream)


def test_chain_runs_while_the_driver_holds_the_gil(skate, gate):
    """The C call returns when the last task opens the pipe; until then no Python runs here."""
    count = make_count(skate)

    @skate.remote(num_cpus=0.1)
    def double(stream):
        for ref in stream:
            yield 2 * skate.get(ref)

    @skate.remote
    def tell(stream):
        result = sum(skate.get(ref) for ref in stream)
        gate.read_bytes()
        return result

    stream = count.remote(50)
    for _ in range(3):
        stream = double.remote(stream)
    result = tell.remote(stream)
    descriptor = ctypes.PyDLL(None).open(str(gate).encode(), os.O_WRONLY)
    os.close(descriptor)
    assert skate.get(result) == 8 * sum(range(50))


@pytest.mark.processes("its process ends")
def test_consumer_that_took_items_is_not_run_again(skate, attempts):
    @skate.remote(max_retries=3)
    def consume(stream):
        with attempts.open("ab") as log:
            log.write(b"x")
        for _ in range(3):
            next(stream)
        os._exit(1)

    stream = make_count(skate).remote(10)
    with pytest.raises(skate.exceptions.WorkerCrashedError, match="had consumed 3 items of stream"):
        skate.get(consume.remote(stream))
    assert attempts.stat().st_size == 1
    assert [skate.get(ref) for ref in stream] == list(range(3, 10))


def test_consumer_that_took_items_is_not_run_again_after_an_exception(skate, attempts):
    @skate.remote(max_retries=3, retry_exceptions=True)
    def consume(stream):
        with attempts.open("ab") as log:
            log.write(b"x")
        next(stream)
        raise KeyError("lost")

    stream = make_count(skate).remote(3)
    with pytest.raises(KeyError) as caught:
        skate.get(consume.remote(stream))
    assert "had consumed 1 items of stream" in str(caught.value)
    assert attempts.stat().st_size == 1
    assert [skate.get(ref) for ref in stream] == [1, 2]


@pytest.mark.processes("its process ends")
def test_consumer_that_took_nothing_runs_again(skate, attempts):
    @skate.remote(max_retries=3)
    def consume(stream):
        with attempts.open("ab") as log:
            log.write(b"x")
        if attempts.stat().st_size == 1:
            os._exit(1)
        return [skate.get(ref) for ref in stream]

    assert skate.get(consume.remote(make_count(skate).remote(5))) == list(range(5))
    assert attempts.stat().st_size == 2


@pytest.mark.processes("its process ends")
def test_task_may_read_its_own_streams_and_be_run_again(skate, attempts):
    count = make_count(skate)

    @skate.remote(max_retries=3)
    def consume():
        with attempts.open("ab") as log:
            log.write(b"x")
        result = [skate.get(ref) for ref in count.remote(5)]
        if attempts.stat().st_size == 1:
            os._exit(1)
        return result

    assert skate.get(consume.remote()) == list(range(5))


def test_item_granted_to_a_consumer_that_dies_in_next_goes_back(skate, gates, attempts, eventually):
    """The consumer is stopped inside of `next`, is given the item there, and is killed."""
    go_on = gates("go_on")
    pids = gates("pids")

    @skate.remote
    def items():
        go_on.read_bytes()
        yield from range(5)

    @skate.remote(max_retries=1)
    def consume(stream):
        with attempts.open("ab") as log:
            log.write(b"x")
        if attempts.stat().st_size == 1:
            pids.write_bytes(str(os.getpid()).encode())
        return [skate.get(ref) for ref in stream]

    stream = items.remote()
    result = consume.remote(stream)
    pid = int(pids.read_bytes())
    eventually(lambda: skate.statistics().requests == 1)  # it waits in `next`
    os.kill(pid, signal.SIGSTOP)
    go_on.write_bytes(b"")
    eventually(lambda: skate.statistics().requests == 0)  # it was answered, and cannot know
    os.kill(pid, signal.SIGKILL)
    assert skate.get(result) == list(range(5))
    assert attempts.stat().st_size == 2


def test_dead_consumers_item_goes_to_another_holder_in_order(skate, gates, eventually):
    go_on, pids = gates("go_on"), gates("pids")

    @skate.remote
    def items():
        go_on.read_bytes()
        yield from range(4)

    @skate.remote(max_retries=0)
    def consume(stream):
        pids.write_bytes(str(os.getpid()).encode())
        return next(stream)

    stream = items.remote()
    result = consume.remote(stream)
    pid = int(pids.read_bytes())
    eventually(lambda: skate.statistics().requests == 1)
    os.kill(pid, signal.SIGSTOP)
    go_on.write_bytes(b"")
    skate.wait([stream.completed()])
    assert skate.get(next(stream)) == 1
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(skate.exceptions.WorkerCrashedError):
        skate.get(result)
    assert [skate.get(ref) for ref in stream] == [0, 2, 3]
