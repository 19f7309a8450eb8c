"""Items that a stream's only reader is sent before it asks: nobody can tell, but by the speed."""

import asyncio
import gc
import os
import signal
import threading
import time

import pytest

pytestmark = pytest.mark.processes("nothing is sent: all is read in the calling thread")


def make_count(skate):
    @skate.remote
    def count(stop):
        for k in range(stop):
            yield k

    return count


@pytest.mark.parametrize("taken", [1, 2, 3, 10, 150])
def test_what_was_not_read_is_there_for_whoever_gets_the_stream(skate, taken):
    @skate.remote
    def read_some(stream):
        return [skate.get(next(stream)) for _ in range(taken)], stream

    first, rest = skate.get(read_some.remote(make_count(skate).remote(200)))
    assert first == list(range(taken))
    assert [skate.get(ref) for ref in rest] == list(range(taken, 200))


@pytest.mark.parametrize("way", ["as an argument", "put", "by an actor"])
def test_what_was_sent_ahead_goes_along_with_the_stream(skate, way):
    # It stayed where it was, and who had got the stream waited for it for ever.
    @skate.remote
    def read_all(stream):
        return [skate.get(ref) for ref in stream]

    @skate.remote
    class Reader:
        def __init__(self, make):
            self.stream = make.remote(100)
            skate.get(self.stream.completed())
            self.first = [skate.get(next(self.stream)) for _ in range(10)]

        def give(self):
            return [self.stream]

        def pass_on(self):
            given = self.stream if way == "as an argument" else skate.get(skate.put(self.give()))[0]
            return skate.get(read_all.remote(given))

    reader = Reader.remote(make_count(skate))
    if way == "by an actor":
        (stream,) = skate.get(reader.give.remote())
        assert [skate.get(stream.next(timeout=20)) for _ in range(90)] == list(range(10, 100))
    else:
        assert skate.get(reader.pass_on.remote(), timeout=20) == list(range(10, 100))


def test_chain_of_readers_hands_the_stream_on_item_by_item(skate):
    @skate.remote
    def read_one(stream, depth):
        mine = skate.get(next(stream))
        if depth == 0:
            return [mine, *(skate.get(ref) for ref in stream)]
        return [mine, *skate.get(read_one.remote(stream, depth - 1))]

    assert skate.get(read_one.remote(make_count(skate).remote(100), 5)) == list(range(100))


def test_wait_sees_what_was_sent_ahead(skate):
    @skate.remote
    def alternate(stream):
        seen = []
        while True:
            ready, _ = skate.wait([stream])
            assert ready == [stream]
            assert not stream.is_finished() or len(seen) == 100
            try:
                seen.append(skate.get(next(stream)))
                seen.append(skate.get(next(stream)))
            except StopIteration:
                return seen

    assert skate.get(alternate.remote(make_count(skate).remote(100))) == list(range(100))


def test_ready_and_finished_count_what_was_sent_ahead(skate):
    @skate.remote
    def look(stream):
        seen = []
        for ref in stream:
            seen.append(skate.get(ref))
            is_last = len(seen) == 50
            skate.wait([stream])
            assert stream.next_ready() is not is_last
            assert stream.is_finished() is is_last
        return seen

    assert skate.get(look.remote(make_count(skate).remote(50))) == list(range(50))


def test_close_drops_what_was_sent_ahead(skate):
    @skate.remote
    def stop_early(stream):
        first = [skate.get(next(stream)) for _ in range(5)]
        stream.close()
        return first, list(stream)

    assert skate.get(stop_early.remote(make_count(skate).remote(1000))) == (list(range(5)), [])


def test_threads_of_one_reader_share_its_stream(skate):
    @skate.remote
    def share(stream):
        seen, lock = [], threading.Lock()

        def read():
            for ref in stream:
                with lock:
                    seen.append(skate.get(ref))

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return seen

    assert sorted(skate.get(share.remote(make_count(skate).remote(2000)))) == list(range(2000))


def test_threads_of_an_async_actor_share_a_stream_whatever_is_collected_meanwhile(skate):
    # Python ran while the place in the stream was locked, and the process stopped for ever.
    @skate.remote
    class Reader:
        async def share(self, stream):
            class Trash:
                def __init__(self):
                    self.me = self

                def __del__(self):
                    time.sleep(1e-4)  # other threads run

            def read():
                seen = []
                for ref in stream:
                    Trash()
                    seen.append(ref)
                return seen

            gc.set_threshold(2)
            parts = await asyncio.gather(*(asyncio.to_thread(read) for _ in range(3)))
            gc.set_threshold(700)
            return [skate.get(ref) for part in parts for ref in part]

    stream = make_count(skate).remote(500)
    skate.get(stream.completed())
    shared = skate.get(Reader.remote().share.remote(stream), timeout=20)
    assert sorted(shared) == list(range(500))


def test_batches_and_single_items_are_in_order(skate):
    @skate.remote
    def mixed(stream):
        seen = []
        try:
            for n in range(1, 1000):
                seen.append(skate.get(next(stream)))
                seen += skate.get(stream.next_batch(n % 7 + 1))
        except StopIteration:
            return seen

    assert skate.get(mixed.remote(make_count(skate).remote(500))) == list(range(500))


def test_items_of_every_kind_arrive(skate):
    @skate.remote
    def kinds():
        for k in range(60):
            yield [k, b"x" * (k * 200), {"ref": skate.put(k)}][k % 3]

    @skate.remote
    def read(stream):
        seen = [skate.get(ref) for ref in stream]
        refs = [skate.get(value["ref"]) for value in seen[2::3]]
        return seen[0::3], [len(value) for value in seen[1::3]], refs

    numbers, sizes, refs = skate.get(read.remote(kinds.remote()))
    assert numbers == list(range(0, 60, 3))
    assert sizes == [k * 200 for k in range(1, 60, 3)]
    assert refs == list(range(2, 60, 3))


def test_error_comes_at_its_index_after_what_was_sent_ahead(skate):
    @skate.remote
    def fails():
        yield from range(20)
        msg = "at 20"
        raise ValueError(msg)

    @skate.remote
    def read(stream):
        seen = []
        for ref in stream:
            try:
                seen.append(skate.get(ref))
            except ValueError:
                seen.append("error")
        return seen

    assert skate.get(read.remote(fails.remote())) == [*range(20), "error"]


def test_reader_that_dies_leaves_the_rest_to_the_actor_that_starts_again(skate):
    """What it returned from `next` is gone; what only lay ahead in it is not."""

    @skate.remote(max_restarts=1, max_task_retries=0)
    class Reader:
        def __init__(self, stream):
            self.stream = stream

        def take(self, count):
            return os.getpid(), [skate.get(next(self.stream)) for _ in range(count)]

        def rest(self):
            return [skate.get(ref) for ref in self.stream]

    reader = Reader.remote(make_count(skate).remote(300))
    pid, seen = skate.get(reader.take.remote(25))
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while True:
        try:
            seen += skate.get(reader.rest.remote())
            break
        except skate.exceptions.RayActorError:
            assert time.monotonic() < deadline
    assert seen == list(range(300))


@pytest.mark.parametrize("window", [1, 2, 5])
def test_window_holds_for_a_reader_in_another_process(skate, tmp_path, window):
    """A `yield` returns only when fewer than `window` items have not reached the reader's code."""
    made = tmp_path / "made"
    made.write_bytes(b"")

    @skate.remote(generator_backpressure_num_objects=window)
    def produce():
        for k in range(60):
            yield k
            with made.open("ab") as file:
                file.write(b".")

    @skate.remote
    def consume(stream):
        seen, most = [], 0
        for ref in stream:
            seen.append(skate.get(ref))
            time.sleep(0.002)
            # Those whose `yield` returned and that have not reached this loop.
            most = max(most, made.stat().st_size - len(seen))
        return seen, most

    seen, most = skate.get(consume.remote(produce.remote()))
    assert seen == list(range(60))
    assert most < window
