"""Values that the store has no room for go to disk, and come back as they were."""

import numpy as np
import pytest

pytestmark = pytest.mark.timeout(180)  # disks may be slow
MB = 1_000_000


def block(number, size=10 * MB):
    """An array that tells where it comes from at both ends."""
    array = np.full(size // 8, number, dtype=np.int64)
    array[-1] = ~number
    return array


def is_block(array, number):
    return array[0] == number and array[-1] == ~number and (array[1:-1] == number).all()


def test_four_times_the_store_is_put_and_got(small):
    refs = [small.put(block(k)) for k in range(32)]
    assert small.statistics().spilled_objects >= 24
    for k, ref in enumerate(refs):
        assert is_block(small.get(ref), k)


def test_all_of_it_at_once_is_more_than_the_store_holds(small):
    refs = [small.put(block(k)) for k in range(32)]
    values = small.get(refs)
    assert all(is_block(value, k) for k, value in enumerate(values))
    assert not any(value.flags.writeable for value in values)
    assert all(value.ctypes.data % 64 == 0 for value in values)


def test_small_values_are_spilled_together(small):
    refs = [small.put(bytes([k % 256]) * 20_000) for k in range(8000)]
    statistics = small.statistics()
    assert statistics.spilled_bytes >= 80 * MB
    for k in range(0, 8000, 7):
        assert small.get(refs[k]) == bytes([k % 256]) * 20_000


def test_nothing_is_left_when_the_refs_are_dropped(small, at_rest):
    refs = [small.put(block(k)) for k in range(20)]
    small.get(refs[0])
    del refs
    statistics = at_rest(small)
    assert statistics.objects == statistics.used_bytes == statistics.pins == 0
    assert statistics.spilled_objects == statistics.spilled_bytes == statistics.disk_bytes == 0


def test_disk_gets_its_room_back(small):
    for _ in range(4):
        refs = [small.put(block(k)) for k in range(20)]
        assert small.statistics().disk_resident_bytes >= 100 * MB
        del refs
    refs = [small.put(block(k)) for k in range(12)]
    # Not by its length: what was dropped has been taken out of the file.
    assert small.statistics().disk_resident_bytes <= 240 * MB
    assert is_block(small.get(refs[0]), 0)


def test_least_recently_used_go_first(small):
    refs = [small.put(block(k)) for k in range(7)]
    small.get(refs[0])
    refs += [small.put(block(7))]
    assert small.statistics().disk_written_bytes > 0
    read_before = small.statistics().disk_read_bytes
    assert is_block(small.get(refs[0]), 0)
    assert is_block(small.get(refs[7]), 7)
    assert small.statistics().disk_read_bytes == read_before, "these two had stayed"
    assert is_block(small.get(refs[1]), 1)
    assert small.statistics().disk_read_bytes > read_before, "this one had gone"


def test_value_that_is_viewed_stays_where_it_is(small):
    ref = small.put(block(1, 40 * MB))
    view = small.get(ref)
    others = [small.put(block(k)) for k in range(2, 20)]
    assert is_block(view, 1)
    assert small.get(ref).ctypes.data == view.ctypes.data
    assert is_block(small.get(others[0]), 2)


def test_value_is_written_once_however_often_it_comes_back(small):
    refs = [small.put(block(k)) for k in range(12)]
    for _ in range(2):
        for k, ref in enumerate(refs):
            assert is_block(small.get(ref), k)
    assert small.statistics().disk_written_bytes <= 12 * 10.1 * MB


def test_what_is_in_use_is_read_into_memory_of_the_reader(small):
    """The store is full of views: what was spilled before can be read all the same."""
    gone = [small.put(block(k)) for k in range(4)]
    views = [small.get(small.put(block(k))) for k in range(10, 17)]
    for k, ref in enumerate(gone):
        assert is_block(small.get(ref), k)
    assert all(is_block(view, k) for k, view in enumerate(views, 10))


def test_arguments_that_were_spilled_come_back_for_their_task(small):
    @small.remote
    def check(first, second, *, third):
        return first[0], second[0], third[0]

    refs = [small.put(block(k)) for k in range(24)]
    calls = [check.remote(refs[k], refs[-k], third=refs[k // 2]) for k in range(24)]
    assert small.get(calls) == [(k, -k % 24, k // 2) for k in range(24)]


def test_large_arguments_of_queued_tasks_wait_on_disk(small, gate):
    @small.remote
    def hold():
        gate.read_bytes()

    @small.remote
    def first(array):
        return int(array[0])

    held = [hold.options(num_cpus=2).remote()]
    calls = [first.remote(block(k)) for k in range(16)]
    assert small.statistics().spilled_objects >= 8
    gate.write_bytes(b"")
    assert small.get(calls) == list(range(16))
    small.get(held)


def test_results_that_do_not_fit_together_are_all_there(small):
    @small.remote
    def make(k):
        return block(k, 30 * MB)

    refs = [make.remote(k) for k in range(8)]
    for k, ref in enumerate(refs):
        assert is_block(small.get(ref), k)


def test_spilled_value_keeps_the_refs_inside(small):
    outer = small.put([small.put(block(1)), b"x" * 5000])
    others = [small.put(block(k)) for k in range(2, 20)]
    inner, _ = small.get(outer)
    assert is_block(small.get(inner), 1)
    del others


def test_value_survives_its_maker_on_disk(small):
    @small.remote
    class Maker:
        def make(self, k):
            return small.put(block(k))

    maker = Maker.remote()
    refs = small.get([maker.make.remote(k) for k in range(16)])
    small.kill(maker)
    for k, ref in enumerate(refs):
        assert is_block(small.get(ref), k)


def test_actor_reads_what_was_spilled(small):
    @small.remote
    class Reader:
        def __init__(self, array):
            self.first = int(array[0])

        def read(self, refs):
            return self.first, [int(small.get(ref)[0]) for ref in refs]

    refs = [small.put(block(k)) for k in range(16)]
    reader = Reader.remote(refs[3])
    assert small.get(reader.read.remote(refs)) == (3, list(range(16)))


@pytest.mark.parametrize("mode", ["dynamic", 16])
def test_generators_without_a_window_spill_instead_of_pausing(small, mode):
    @small.remote(num_returns=mode)
    def produce():
        for k in range(16):
            yield block(k)

    refs = produce.remote()
    if mode == "dynamic":
        refs = list(small.get(refs))
    for k, ref in enumerate(refs):
        assert is_block(small.get(ref), k)


def test_stream_whose_reader_waits_for_its_end_is_spilled(small):
    """Its items are unread, and the reader waits for something else: they go to disk."""

    @small.remote
    def produce():
        for k in range(20):
            yield block(k)

    stream = produce.remote()
    small.get(stream.completed())
    assert small.statistics().spilled_objects >= 12
    for k, ref in enumerate(stream):
        assert is_block(small.get(ref), k)


def test_stream_that_is_read_at_once_is_not_spilled(small):
    @small.remote
    def produce():
        for k in range(60):
            yield block(k)

    for k, ref in enumerate(produce.remote()):
        assert is_block(small.get(ref), k)
        del ref
    assert small.statistics().spilled_objects == 0


def test_readers_and_writers_at_the_limit_all_get_through(small):
    """More tasks than fit: each holds views of what it reads while it makes as much again."""

    @small.remote
    def twice(*arrays):
        mine = [small.put(array + 1) for array in arrays]
        return [int(small.get(ref)[0]) for ref in mine]

    refs = [small.put(block(k)) for k in range(12)]
    calls = [twice.remote(*refs[k : k + 3]) for k in range(0, 12, 3)] * 2
    calls += [twice.remote(*refs[k : k + 3]) for k in range(0, 9, 2)]
    for result in small.get(calls):
        assert result == list(range(result[0], result[0] + 3))


def test_value_larger_than_the_store_goes_to_disk(small, at_rest):
    ref = small.put(block(5, 200 * MB))
    assert is_block(small.get(ref), 5)

    @small.remote
    def make(array):
        return array + 1

    again = small.get(make.remote(ref))
    assert (int(again[0]), again.nbytes) == (6, 200 * MB)
    del again, ref
    statistics = at_rest(small)
    assert statistics.disk_bytes == statistics.used_bytes == 0


def test_put_into_a_store_full_of_views_goes_to_disk(small):
    views = [small.get(small.put(block(k))) for k in range(7)]
    refs = [small.put(block(k)) for k in range(10, 20)]
    few = [small.put(bytes([k]) * 9000) for k in range(20)]
    for k, ref in enumerate(refs, 10):
        assert is_block(small.get(ref), k)
    assert [small.get(ref) for ref in few] == [bytes([k]) * 9000 for k in range(20)]
    assert all(is_block(view, k) for k, view in enumerate(views))


def test_await_brings_a_spilled_value_back(small):
    import asyncio

    refs = [small.put(block(k)) for k in range(16)]

    async def read():
        return [int((await ref)[0]) for ref in refs]

    assert asyncio.run(read()) == list(range(16))


def test_spilled_value_is_ready(small):
    refs = [small.put(block(k)) for k in range(16)]
    read = small.statistics().disk_read_bytes
    ready, rest = small.wait(refs, num_returns=16, timeout=0)
    assert (len(ready), rest) == (16, [])
    assert small.statistics().disk_read_bytes == read
