"""wait: which refs are ready."""

import pytest


def pending_task(ray, gate):
    @ray.remote
    def wait():
        gate.read_bytes()
        return "done"

    return wait.remote()


def test_ready_and_pending_keep_the_order_of_the_input(ray, gate):
    slow = pending_task(ray, gate)
    refs = [ray.put(1), slow, ray.put(2), ray.put(3)]
    ready, pending = ray.wait(refs, num_returns=3)
    assert ready == [refs[0], refs[2], refs[3]]
    assert pending == [slow]
    gate.write_bytes(b"")
    assert ray.wait([slow]) == ([slow], [])


def test_no_more_are_ready_than_were_asked_for(ray):
    refs = [ray.put(k) for k in range(4)]
    ready, pending = ray.wait(refs, num_returns=2, timeout=10)
    assert len(ready) == 2
    assert ready == [ref for ref in refs if ref in ready]
    assert pending == [ref for ref in refs if ref not in ready]


def test_timeout_returns_what_there_is(ray, gate):
    slow, fast = pending_task(ray, gate), ray.put(1)
    assert ray.wait([slow, fast], num_returns=2, timeout=0.05) == ([fast], [slow])
    assert ray.wait([slow], timeout=0) == ([], [slow])
    gate.write_bytes(b"")
    ray.get(slow)


def test_failed_task_is_ready(ray):
    @ray.remote
    def fail():
        raise ValueError("no")

    ref = fail.remote()
    assert ray.wait([ref], timeout=30) == ([ref], [])


def test_loop_of_waits_sees_each_ref_once(ray):
    @ray.remote
    def identity(k):
        return k

    pending, seen = [identity.remote(k) for k in range(50)], []
    while pending:
        ready, pending = ray.wait(pending)
        seen += ray.get(ready)
    assert sorted(seen) == list(range(50))


def test_nothing_to_wait_for(ray):
    assert ray.wait([]) == ([], [])


def test_duplicates_are_a_value_error(ray):
    ref = ray.put(1)
    with pytest.raises(ValueError, match=r"Wait requires a list of unique ray_waitables\."):
        ray.wait([ref, ref])


def test_duplicates_are_found_in_any_order(ray):
    refs = [ray.put(k) for k in range(20)]
    for refs_with_one_twice in (refs + refs[:1], refs[:1] + refs, refs[::-1] + refs[7:8]):
        with pytest.raises(ValueError, match="unique"):
            ray.wait(refs_with_one_twice)
    assert ray.wait(refs[::-1], num_returns=20) == (refs[::-1], [])


def test_single_ref_is_a_type_error(ray):
    with pytest.raises(TypeError):
        ray.wait(ray.put(1))


def test_list_with_something_else_is_a_type_error(ray):
    with pytest.raises(TypeError):
        ray.wait([1])


@pytest.mark.parametrize("count", ["1", None])
def test_count_of_another_kind_is_a_type_error(ray, count):
    with pytest.raises(TypeError):
        ray.wait([ray.put(1)], num_returns=count)


@pytest.mark.parametrize("count", [0, -1, 2])
def test_count_out_of_range_is_a_value_error(ray, count):
    with pytest.raises(ValueError):
        ray.wait([ray.put(1)], num_returns=count)


def test_negative_timeout_is_a_value_error(ray):
    with pytest.raises(ValueError):
        ray.wait([ray.put(1)], timeout=-1)


def test_generator_is_ready_when_its_next_item_is(ray, gate):
    @ray.remote
    def items():
        yield 1
        gate.read_bytes()
        yield 2

    stream = items.remote()
    ready, pending = ray.wait([stream], timeout=30)
    assert ready[0] is stream
    assert pending == []
    assert ray.get(next(stream)) == 1
    assert ray.wait([stream], timeout=0.05) == ([], [stream])
    gate.write_bytes(b"")
    assert ray.wait([stream], timeout=30) == ([stream], [])
    assert ray.get(next(stream)) == 2


def test_generator_is_ready_at_its_end(ray):
    @ray.remote
    def nothing():
        return
        yield

    stream = nothing.remote()
    assert ray.wait([stream], timeout=30) == ([stream], [])
    with pytest.raises(StopIteration):
        next(stream)
