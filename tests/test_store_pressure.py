"""When the store is nearly full and nothing can be spilled: who waits, and when it is an error."""

import os

import pytest

MB = 1_000_000
STORE = 200 * MB


@pytest.fixture
def small(fresh):
    """skate with a store of 200 MB and two CPUs, and no disk."""
    config = {"automatic_object_spilling_enabled": False}
    fresh.init(num_cpus=2, object_store_memory=STORE, _system_config=config)
    return fresh


def test_three_stage_pipeline_of_1_gb_fits_through_200_mb(small):
    """Three producers of one CPU each on two CPUs; the reader does ten times the work of each."""
    skate = small
    item, window = 10 * MB, 40 * MB
    count = int(os.environ.get("SKATE_SOAK_ITEMS", "100"))

    @skate.remote(generator_backpressure_num_bytes=window)
    def produce():
        for k in range(count):
            yield bytes([k % 256]) * item

    @skate.remote(generator_backpressure_num_bytes=window)
    def pass_on(stream):
        for ref in stream:
            yield skate.get(ref)

    seen, peak = 0, 0
    for ref in pass_on.remote(pass_on.remote(produce.remote())):
        value = skate.get(ref)
        assert value[0] == value[-1] == seen % 256
        peak = max(peak, skate.statistics().used_bytes)
        for _ in range(10):  # each writes as much as a producer does for an item
            assert len(bytes([seen % 256]) * item) == item
        seen += 1
        del ref, value
    assert seen == count
    # Three windows, one item in the hands of each of the three who read.
    assert peak <= 3 * window + 3 * item + 4 * MB


def test_producer_without_a_window_pauses_when_the_store_is_nearly_full(small):
    skate = small

    @skate.remote
    def produce():
        for k in range(60):
            yield bytes([k]) * (10 * MB)

    for k, ref in enumerate(produce.remote()):
        assert skate.get(ref)[0] == k
        del ref


def test_pipeline_without_windows_does_not_deadlock(small):
    skate = small

    @skate.remote
    def produce():
        for k in range(60):
            yield bytes([k]) * (10 * MB)

    @skate.remote
    def pass_on(stream):
        for ref in stream:
            yield skate.get(ref)

    @skate.remote
    def deep(n):
        return n and skate.get(deep.remote(n - 1))

    skate.get(deep.remote(2))  # three workers are up: a reader that starts late takes nothing
    values = []
    for ref in pass_on.remote(pass_on.remote(produce.remote())):
        values.append(skate.get(ref)[0])
        del ref
    assert values == list(range(60))


def test_put_waits_for_a_task_to_let_go(small, gate):
    skate = small

    @skate.remote
    def hold(_value):
        gate.read_bytes()

    done = hold.remote(skate.put(bytes(150 * MB)))
    import threading

    opener = threading.Thread(target=gate.write_bytes, args=(b"",))
    opener.start()
    assert len(skate.get(skate.put(bytes(150 * MB)))) == 150 * MB
    opener.join()
    skate.get(done)


def test_put_that_can_never_fit_fails_at_once(small):
    with pytest.raises(small.exceptions.ObjectStoreFullError, match="bytes are needed"):
        small.put(bytes(STORE + MB))


def test_put_fails_when_nobody_could_free_anything(small):
    keep = small.put(bytes(150 * MB))
    with pytest.raises(small.exceptions.ObjectStoreFullError):
        small.put(bytes(100 * MB))
    assert len(small.get(keep)) == 150 * MB
    del keep
    assert len(small.get(small.put(bytes(100 * MB)))) == 100 * MB


def test_generator_fails_when_its_reader_waits_for_its_end(small):
    """Its items are kept for a reader that waits for what can never come: an error, not a hang."""
    skate = small

    @skate.remote
    def produce():
        for _ in range(30):
            yield bytes(10 * MB)

    stream = produce.remote()
    skate.get(stream.completed())
    *good, bad = list(stream)
    assert len(good) >= 15
    with pytest.raises(skate.exceptions.ObjectStoreFullError):
        skate.get(bad)


def test_tasks_whose_results_do_not_fit_fail_instead_of_hanging(small):
    skate = small

    @skate.remote
    def make():
        return bytes(30 * MB)

    refs = [make.remote() for _ in range(10)]
    with pytest.raises(skate.exceptions.ObjectStoreFullError):
        skate.get(refs)


def test_interrupted_put_leaves_no_request(small):
    """The exception comes while it waits for room."""
    import signal

    class Interrupt(Exception):
        pass

    def interrupt(*_):
        raise Interrupt

    @small.remote
    def spin():
        while True:
            pass

    keep = small.put(bytes(150 * MB))
    running = spin.remote()
    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(Interrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            small.put(bytes(100 * MB))
    finally:
        signal.signal(signal.SIGALRM, old)
    assert small.statistics().requests_for_room == 0
    small.cancel(running, force=True)
    del keep
