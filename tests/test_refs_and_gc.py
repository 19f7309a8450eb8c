"""Python's cycle collector has nothing to do with refs, however many a program keeps."""

import asyncio
import gc
import pickle
import weakref


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


def test_loop_that_is_closed_while_a_ref_is_awaited_in_it_goes(skate, gate):
    # It stayed until the end of the session, with its mailbox.
    stop = skate.remote(lambda: gate.read_bytes()).remote()

    async def value():
        return await stop

    def leave():
        loop = asyncio.new_event_loop()
        task = loop.create_task(value())
        loop.run_until_complete(asyncio.sleep(0))
        assert not task.done()
        loop.close()
        return weakref.ref(loop)

    left = leave()
    gc.collect()
    assert left() is None
