"""A copy of a handle, alone or within something else, is a handle: it keeps nothing for longer.

`copy` asks `__reduce__`, and what skate does not see pickled is kept for the session.
"""

import copy
import dataclasses
import gc
import time

import pytest

PRELOAD = ["pytest"]


@dataclasses.dataclass
class Box:
    ref: object


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "in a list": lambda handle: copy.deepcopy([handle])[0],
    "dataclass": lambda handle: dataclasses.asdict(Box(handle))["ref"],
}


@pytest.mark.parametrize("how", COPIES)
def test_copied_refs_are_released(skate, how):
    before = skate.statistics().objects
    for number in range(10):
        ref = skate.put(number)
        other = COPIES[how](ref)
        assert other == ref
        assert skate.get(other) == number
        del ref
        assert skate.get(other) == number
        del other
    gc.collect()
    assert skate.statistics().objects == before


@pytest.mark.parametrize("how", COPIES)
def test_copied_refs_are_released_in_tasks(skate, how):
    def use(box):
        return skate_get(COPIES[how](box[0]))

    skate_get = skate.get
    task = skate.remote(use)
    before = skate.statistics().objects
    for number in range(10):
        ref = skate.put(number)
        assert skate.get(task.remote([ref])) == number
        del ref
    gc.collect()
    assert skate.statistics().objects - before <= 4  # a worker may still say so


@pytest.mark.processes("actors end with their processes")
@pytest.mark.parametrize("how", COPIES)
def test_actors_end_with_the_last_copy(skate, how):
    @skate.remote(num_cpus=0)
    class Actor:
        def method(self):
            return 1

    actor = Actor.remote()
    other = COPIES[how](actor)
    assert other == actor
    del actor
    assert skate.get(other.method.remote()) == 1
    del other
    gc.collect()
    while skate.statistics().actors_living:
        time.sleep(0.001)


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_dynamic_generator_reads_by_itself(skate, how):
    @skate.remote(num_returns="dynamic")
    def items():
        yield from range(4)

    before = skate.statistics().objects
    reader = skate.get(items.remote())
    assert skate.get(next(reader)) == 0
    other = COPIES[how](reader)
    assert [skate.get(ref) for ref in reader] == [1, 2, 3]
    del reader
    gc.collect()
    assert [skate.get(ref) for ref in other] == [1, 2, 3]
    del other
    gc.collect()
    assert skate.statistics().objects == before


def test_a_stream_is_not_copied(skate):
    @skate.remote
    def items():
        yield 1

    stream = items.remote()
    with pytest.raises(TypeError, match="generator"):
        copy.copy(stream)
    assert [skate.get(ref) for ref in stream] == [1]
