"""Python's cycle collector has nothing to do with refs, however many a program keeps."""

import asyncio
import gc
import pickle
import sys
import threading
import weakref

import pytest


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


@pytest.mark.parametrize("where", ["driver", "worker"])
@pytest.mark.parametrize("way", ["put", "argument"])
def test_ref_in_a_list_that_is_emptied_while_it_is_written_is_there(skate, way, where):
    # What was named was held only once the bytes were written: RaySystemError from the `get`.
    @skate.remote
    def same(value):
        return value

    def lose_and_find():
        skate.get(same.remote(0))  # known from here on
        content = [skate.put("found"), "x" * (1 << 26)]
        begun = threading.Lock()

        def empty():
            with begun:
                content.clear()
                skate.put(0)  # takes the drop along

        thread = threading.Thread(target=empty)
        with begun:
            thread.start()
        ref = skate.put(content) if way == "put" else same.remote(content)
        thread.join()
        return [skate.get(named) for named in skate.get(ref)[:1]]

    def slowly():
        # The other thread runs when this one lets it, which is while the bytes are written.
        interval = sys.getswitchinterval()
        sys.setswitchinterval(10)
        try:
            return lose_and_find()
        finally:
            sys.setswitchinterval(interval)

    run = slowly if where == "driver" else lambda: skate.get(skate.remote(slowly).remote())
    assert run() == ["found"]
