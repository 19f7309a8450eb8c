"""A8, A17: threads that read one dynamic generator take turns, and none is held up by another."""

import signal
import threading
import time

import pytest

pytestmark = pytest.mark.processes("dynamic generators run to their end at the call")


def make_held(skate, gates):
    """A dynamic generator of which one item was read, and the next one waits for the gate."""
    gate = gates("held")

    @skate.remote(num_returns="dynamic")
    def items():
        yield 0
        gate.read_bytes()
        yield 1
        yield 2

    generator = skate.get(items.remote())
    assert skate.get(next(generator)) == 0
    return generator, gate


class Reader(threading.Thread):
    """Reads one item in the background, or sees the end."""

    def __init__(self, skate, generator):
        super().__init__(daemon=True)
        self.skate, self.generator, self.found = skate, generator, None
        self.start()
        time.sleep(0.2)  # so that it most likely waits by now; nothing below depends on it

    def run(self):
        self.found = next(map(self.skate.get, self.generator), "end")


def test_timeout_holds_while_another_thread_waits(skate, gates):
    generator, gate = make_held(skate, gates)
    reader = Reader(skate, generator)
    began = time.monotonic()
    with pytest.raises(skate.exceptions.GetTimeoutError):
        generator.next(timeout=0.1)
    assert time.monotonic() - began < 5  # the other one waits for as long as the test likes
    gate.write_bytes(b"")
    reader.join()
    assert reader.found == 1
    assert [skate.get(ref) for ref in generator] == [2]


def test_close_ends_the_wait_of_another_thread(skate, gates):
    generator, gate = make_held(skate, gates)
    readers = [Reader(skate, generator) for _ in range(3)]
    generator.close()
    for reader in readers:
        reader.join(20)
        assert reader.found == "end"
    assert list(generator) == []
    gate.write_bytes(b"")


def test_interrupt_is_heard_while_another_thread_waits(skate, gates):
    generator, gate = make_held(skate, gates)
    reader = Reader(skate, generator)

    def interrupt(*_):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            next(generator)
    finally:
        signal.signal(signal.SIGALRM, old)
    gate.write_bytes(b"")
    reader.join()
    assert reader.found == 1
    assert [skate.get(ref) for ref in generator] == [2]


def test_items_go_to_threads_in_turn(skate):
    @skate.remote(num_returns="dynamic")
    def items():
        yield from range(2000)

    generator = skate.get(items.remote())
    seen, lock = [], threading.Lock()

    def read():
        for ref in generator:
            with lock:
                seen.append(skate.get(ref))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(2000))
