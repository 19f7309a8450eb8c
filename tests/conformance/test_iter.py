"""`util.iter`: shards of items that workers go through."""

import importlib
import time

import pytest


@pytest.fixture(scope="module")
def it(ray):
    return importlib.import_module(f"{ray.__name__}.util.iter")


def test_items_are_dealt_out_in_turn_and_ranges_are_cut(it):
    items = it.from_items(["a", "b", "c", "d", "e"], num_shards=2)
    assert [list(shard) for shard in items.shards()] == [["a", "c", "e"], ["b", "d"]]
    numbers = it.from_range(7, num_shards=3)
    assert numbers.num_shards() == 3
    assert [list(shard) for shard in numbers.shards()] == [[0, 1], [2, 3], [4, 5, 6]]


def test_gather_sync_takes_one_of_each_in_turn(it):
    assert list(it.from_range(6, num_shards=2).gather_sync()) == [0, 3, 1, 4, 2, 5]
    uneven = it.from_iterators([[1], [2, 3, 4]])
    assert list(uneven.gather_sync()) == [1, 2, 3, 4]
    assert list(it.from_range(4, num_shards=2).batch_across_shards()) == [[0, 2], [1, 3]]


def test_gather_async_gives_all(it):
    numbers = it.from_range(50, num_shards=3)
    assert sorted(numbers.gather_async()) == list(range(50))


def test_steps_are_done_in_each_shard(it):
    numbers = it.from_range(10, num_shards=2)
    assert list(numbers.for_each(lambda x: x * 10).get_shard(1)) == [50, 60, 70, 80, 90]
    assert sorted(numbers.filter(lambda x: x % 3 == 0).gather_sync()) == [0, 3, 6, 9]
    assert list(numbers.batch(2).get_shard(0)) == [[0, 1], [2, 3], [4]]
    assert list(numbers.batch(2).flatten().get_shard(0)) == [0, 1, 2, 3, 4]
    assert list(numbers.combine(lambda x: [x, x]).get_shard(0))[:4] == [0, 0, 1, 1]
    later = numbers.transform(lambda items: (x + 1 for x in items))
    assert list(later.get_shard(0)) == [1, 2, 3, 4, 5]


def test_for_each_may_work_on_several_items_at_once(it):
    squares = it.from_range(8, num_shards=2).for_each(lambda x: x * x, max_concurrency=3)
    assert sorted(squares.gather_sync()) == [x * x for x in range(8)]


def test_shuffling_keeps_all(it):
    shuffled = it.from_range(100, num_shards=1).local_shuffle(20, seed=1)
    items = list(shuffled.gather_sync())
    assert sorted(items) == list(range(100))
    assert items != list(range(100))


def test_take_and_show(it, capsys):
    numbers = it.from_range(100, num_shards=2)
    assert numbers.take(3) == [0, 50, 1]
    numbers.show(2)
    assert capsys.readouterr().out.split() == ["0", "50"]


def test_repeated_items_never_end(it):
    numbers = it.from_items([1, 2], num_shards=1, repeat=True)
    assert numbers.take(5) == [1, 2, 1, 2, 1]


@pytest.mark.engine("skate")
def test_repeated_items_end_with_who_reads_them(it, ray):
    """The worker went on for as long as the session."""
    it.from_items([1, 2], num_shards=1, repeat=True).take(5)
    while ray.statistics().tasks:
        time.sleep(0.001)


@pytest.mark.engine("skate")
def test_an_empty_shard_ends_though_it_is_repeated(it):
    """It was gone through again and again, on a core of its own, and its reader waited for ever."""
    rounds = []

    def nothing():
        assert not rounds, "gone through again"
        rounds.append(None)
        return rounds[1:]

    assert list(it.from_iterators([nothing], repeat=True).gather_sync()) == []
    assert it.from_items([7], num_shards=2, repeat=True).take(3) == [7, 7, 7]
    assert list(it.from_iterators([iter([1, 2])], repeat=True).gather_async()) == [1, 2]


@pytest.mark.processes("the worker is the caller")
def test_functions_are_called_in_the_worker(it):
    import os

    pids = it.from_iterators([lambda: iter([os.getpid()])])
    assert list(pids.gather_sync()) != [os.getpid()]


def test_union_and_selection_of_shards(it):
    both = it.from_range(2, num_shards=1).union(it.from_items(["a"], num_shards=1))
    assert both.num_shards() == 2
    assert list(both.gather_sync()) == [0, "a", 1]
    assert list(it.from_range(9, num_shards=3).select_shards([1]).gather_sync()) == [3, 4, 5]


def test_local_iterators_have_the_steps_too(it):
    local = it.from_range(6, num_shards=1).gather_sync()
    assert local.for_each(lambda x: x + 1).filter(lambda x: x % 2).batch(2).take(2) == [[1, 3], [5]]


def test_it_must_be_gathered(it):
    with pytest.raises(TypeError, match="gather_sync"):
        iter(it.from_range(2))


def test_errors_of_steps_arrive(it):
    with pytest.raises(ZeroDivisionError):
        list(it.from_range(2, num_shards=1).for_each(lambda x: 1 // x).gather_sync())
