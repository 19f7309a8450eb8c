"""A5, A6: close, aclose, drop, and what the body sees of it."""

import asyncio

import pytest


class Body:
    """A generator that stops between its first two yields, and writes down how it ended."""

    def __init__(self, reached, go_on, log):
        self.reached, self.go_on, self.log = reached, go_on, log

    def wait(self):
        """In the body."""
        self.reached.write_bytes(b"")
        self.go_on.read_bytes()

    def started(self):
        """In the test: it stands between the yields."""
        self.reached.read_bytes()

    def release(self):
        self.go_on.write_bytes(b"")


@pytest.fixture
def body(gates, log):
    return Body(gates("reached"), gates("go_on"), log)


def make_ticks(skate, body):
    log = body.log

    @skate.remote
    def ticks():
        try:
            yield 0
            body.wait()
            k = 1
            while True:
                yield k
                k += 1
        except GeneratorExit:
            with log.open("a") as file:
                file.write("exit;")
            raise
        finally:
            with log.open("a") as file:
                file.write("finally;")

    return ticks


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def tells_its_end(body, ended):
    """It is closed at its second yield, or not at all."""
    try:
        yield 1
        body.wait()
        yield 2
    except GeneratorExit:
        ended.write_bytes(b"closed")
        raise
    ended.write_bytes(b"to the end")


def close(stream):
    stream.close()


def aclose(stream):
    asyncio.run(stream.aclose())


@pytest.mark.parametrize("end", [close, aclose])
def test_close_raises_generator_exit_in_the_body(skate, log, body, end):
    stream = make_ticks(skate, body).remote()
    next(stream)
    body.started()
    end(stream)
    body.release()
    assert skate.get(stream.completed()) is None
    assert log.read_text() == "exit;finally;"


def test_next_after_close_is_the_end_at_once(skate, log, body):
    stream = make_ticks(skate, body).remote()
    next(stream)
    body.started()
    stream.close()
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(stream)  # the body still waits for the gate
    assert stream.is_finished()
    assert not stream.next_ready()
    assert skate.wait([stream], timeout=0) == ([stream], [])
    body.release()
    skate.get(stream.completed())


def test_close_frees_unread_items(skate, eventually):
    @skate.remote
    def items():
        for _ in range(5):
            yield bytes(1_000_000)

    stream = items.remote()
    skate.get(stream.completed())
    assert skate.statistics().used_bytes >= 5_000_000
    stream.close()
    eventually(lambda: skate.statistics().used_bytes < 1_000_000)
    assert list(stream) == []


def test_close_twice_and_after_the_end_is_nothing(skate):
    @skate.remote
    def items():
        yield 1

    stream = items.remote()
    skate.get(stream.completed())
    stream.close()
    stream.close()
    assert list(stream) == []


def test_items_taken_before_a_close_stay(skate, log, body):
    stream = make_ticks(skate, body).remote()
    first = next(stream)
    body.started()
    stream.close()
    assert skate.get(first) == 0
    body.release()
    skate.get(stream.completed())


def test_close_wakes_a_producer_that_waits_for_its_window(skate, log, body):
    ticks = make_ticks(skate, body).options(generator_backpressure_num_objects=1)
    stream = ticks.remote()
    skate.wait([stream])
    stream.close()
    assert skate.get(stream.completed()) is None
    assert log.read_text() == "exit;finally;"


def test_close_before_the_start_never_runs_the_body(skate, gates, log):
    hold = gates("hold")

    @skate.remote
    def source():
        hold.read_bytes()

    @skate.remote
    def items(_argument):
        log.write_text("ran")
        yield 1

    argument = source.remote()
    stream = items.remote(argument)
    stream.close()
    assert skate.get(stream.completed()) is None
    hold.write_bytes(b"")
    skate.get(argument)
    assert not log.exists()


def test_close_in_the_queue_never_runs_the_body(skate, gates, log):
    holds = [gates(f"hold{k}") for k in range(2)]

    @skate.remote
    def block(gate):
        gate.read_bytes()

    @skate.remote
    def items():
        log.write_text("ran")
        yield 1

    blockers = [block.remote(gate) for gate in holds]
    stream = items.remote()
    stream.close()
    assert skate.get(stream.completed()) is None
    for gate in holds:
        gate.write_bytes(b"")
    skate.get(blockers)
    assert not log.exists()


def test_close_by_one_holder_closes_for_all(skate, body, gates):
    ready = gates("ready")

    @skate.remote
    def items():
        yield 0
        body.wait()
        yield 1

    @skate.remote
    def read(stream):
        ready.write_bytes(b"")
        return len(list(stream))

    stream = items.remote()
    next(stream)
    body.started()
    result = read.remote(stream)
    ready.read_bytes()
    stream.close()
    assert skate.get(result) == 0
    body.release()
    skate.get(stream.completed())


def test_consumer_may_close_what_it_was_given(skate, log, body):
    @skate.remote
    def first_only(stream):
        value = skate.get(next(stream))
        body.started()
        stream.close()
        return value

    stream = make_ticks(skate, body).remote()
    assert skate.get(first_only.remote(stream)) == 0
    assert list(stream) == []
    body.release()
    skate.get(stream.completed())
    assert log.read_text() == "exit;finally;"


def test_yield_after_generator_exit_is_an_unhandled_error(skate, body):
    from skate.util.state import list_unhandled_errors

    @skate.remote
    def stubborn():
        try:
            yield 1
            body.wait()
            yield 2
        except GeneratorExit:
            yield 3

    stream = stubborn.remote()
    next(stream)
    body.started()
    stream.close()
    body.release()
    assert skate.get(stream.completed()) is None
    error = list_unhandled_errors()[-1]
    assert error.name == "stubborn"
    assert "generator ignored GeneratorExit" in error.traceback


def test_error_in_the_finally_of_a_closed_generator_is_reported(skate, body):
    from skate.util.state import list_unhandled_errors

    @skate.remote
    def careless():
        try:
            yield 1
            body.wait()
            yield 2
        finally:
            raise OSError("while closing")

    stream = careless.remote()
    next(stream)
    body.started()
    stream.close()
    body.release()
    skate.get(stream.completed())
    assert isinstance(list_unhandled_errors()[-1].error, OSError)


def test_dropped_stream_runs_on_by_default(skate, body, gates):
    ended = gates("ended")

    @skate.remote
    def items():
        yield 1
        body.wait()
        yield 2
        ended.write_bytes(b"to the end")

    stream = items.remote()
    next(stream)
    body.started()
    del stream
    body.release()
    assert ended.read_bytes() == b"to the end"


@pytest.mark.parametrize("as_option", [False, True])
def test_drop_closes_if_asked(skate, body, gates, as_option):
    ended = gates("ended")
    if as_option:
        remote = skate.remote(tells_its_end).options(generator_on_drop="close")
    else:
        remote = skate.remote(generator_on_drop="close")(tells_its_end)
    stream = remote.remote(body, ended)
    next(stream)
    body.started()
    del stream
    body.release()
    assert ended.read_bytes() == b"closed"


def test_drop_of_a_dynamic_generator_closes_if_asked(skate, body, gates):
    ended = gates("ended")
    items = skate.remote(num_returns="dynamic", generator_on_drop="close")(tells_its_end)
    ref = items.remote(body, ended)
    generator = skate.get(ref)
    next(generator)
    body.started()
    del ref, generator
    body.release()
    assert ended.read_bytes() == b"closed"


def test_drop_counts_at_once_while_others_keep_the_node_busy(skate, body, log):
    items = skate.remote(generator_on_drop="close")(tells_its_end)

    @skate.remote
    def numbers():
        yield from range(10_000_000)

    busy = numbers.remote()
    for k in range(200):
        stream = items.remote(body, log)
        next(stream)
        body.started()
        done = stream.completed()
        del stream
        body.release()
        skate.wait([done])
        assert log.read_text() == "closed", k
    skate.cancel(busy)


def test_drop_of_a_static_generator_cannot_close(skate):
    with pytest.raises(ValueError, match="num_returns=2 has no generator"):

        @skate.remote(num_returns=2, generator_on_drop="close")
        def items():
            yield 1


def test_unknown_way_to_drop_is_refused(skate):
    with pytest.raises(ValueError, match="'stop'"):

        @skate.remote(generator_on_drop="stop")
        def items():
            yield 1


def test_items_after_the_drop_are_not_serialized(skate, body, gates, tmp_path):
    ended = gates("ended")
    pickled = tmp_path / "pickled"

    class Loud:
        def __reduce__(self):
            with pickled.open("ab") as file:
                file.write(b"x")
            return int, ()

    @skate.remote
    def items():
        yield Loud()
        body.wait()
        for _ in range(10):
            yield Loud()
        ended.write_bytes(b"")

    stream = items.remote()
    next(stream)
    body.started()
    before = pickled.stat().st_size
    del stream
    body.release()
    ended.read_bytes()
    assert pickled.stat().st_size == before


def test_close_of_a_dynamic_reader_leaves_the_others(skate):
    @skate.remote(num_returns="dynamic")
    def items():
        yield from range(3)

    ref = items.remote()
    one, other = skate.get(ref), skate.get(ref)
    next(one)
    one.close()
    assert list(one) == []
    assert len(one) == 0
    assert skate.wait([one], timeout=0) == ([one], [])
    assert skate.get(list(other)) == [0, 1, 2]
