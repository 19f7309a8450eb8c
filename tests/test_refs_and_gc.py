"""Python's cycle collector has nothing to do with refs, however many a program keeps."""

import gc
import pickle


def test_no_ref_is_tracked_wherever_it_came_from(skate):
    @skate.remote
    def own_refs():
        ref = skate.put(1)
        return [ref], gc.is_tracked(ref)

    @skate.remote
    def items():
        yield 1

    @skate.remote(num_returns=2)
    def two():
        return 1, 2

    put = skate.put(1)
    (inner,), is_tracked_there = skate.get(own_refs.remote())
    refs = [put, inner, next(items.remote()), *two.remote(), pickle.loads(pickle.dumps(put))]
    assert not is_tracked_there
    assert not any(map(gc.is_tracked, refs))
    assert skate.get(refs) == [1, 1, 1, 1, 2, 1]


def test_collections_between_any_two_steps_harm_none(skate):
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        refs = [skate.put(number) for number in range(200)]
        # A cycle around a ref is the cycle's business.
        cycle = [refs.pop()]
        cycle.append(cycle)
        del cycle
        gc.collect()
        assert skate.get(refs) == list(range(199))
        del refs
        gc.collect()
    finally:
        gc.set_threshold(*threshold)
