"""A1, A2: items are objects from their yield on: in every mode, from tasks and every actor."""

import asyncio

import pytest

MODES = ["static", "dynamic", "streaming"]
KINDS = ["task", "sync", "threaded", "async"]
PRELOAD = ["pytest"]


class Producer:
    def items(self, gates):
        for k, gate in enumerate(gates):
            gate.read_bytes()
            yield k


class AsyncProducer:
    async def items(self, gates):
        for k, gate in enumerate(gates):
            await asyncio.to_thread(gate.read_bytes)
            yield k


@pytest.fixture(params=KINDS)
def start(skate, request):
    """Begins the generator: item k comes when gate k opens."""
    keep = []

    def begin(mode, gates):
        if request.param == "task":
            called = skate.remote(Producer.items)
            args = (None, gates)
        else:
            options = {"max_concurrency": 2} if request.param == "threaded" else {"max_restarts": 0}
            cls = AsyncProducer if request.param == "async" else Producer
            keep[:] = [skate.remote(**options)(cls).remote()]
            called, args = keep[0].items, (gates,)
        num_returns = len(gates) if mode == "static" else mode
        return called.options(num_returns=num_returns).remote(*args)

    yield begin
    keep.clear()


def refs_of(skate, mode, result, gates):
    """The refs, each as soon as there is one; the dynamic ref only once something was yielded."""
    if mode == "static":
        yield from zip(result, gates, strict=True)
        return
    if mode == "dynamic":
        assert skate.wait([result], timeout=0) == ([], [result])
    for place, gate in enumerate(gates):
        gate.write_bytes(b"")
        if mode == "dynamic" and place == 0:
            result = skate.get(result)
        yield next(result), None


@pytest.mark.parametrize("mode", MODES)
def test_items_are_there_one_by_one_while_the_generator_runs(skate, start, gates, mode):
    opened = [gates(f"gate {k}") for k in range(3)]
    result = start(mode, opened)
    for k, (ref, gate) in enumerate(refs_of(skate, mode, result, opened)):
        if gate is not None:
            assert skate.wait([ref], timeout=0) == ([], [ref])
            gate.write_bytes(b"")
        assert skate.get(ref) == k
        assert skate.wait([ref], timeout=0) == ([ref], [])


@pytest.mark.parametrize("mode", MODES)
def test_items_are_awaited_and_passed_on_while_the_generator_runs(skate, start, gates, mode):
    @skate.remote(num_cpus=0)
    def double(value):
        return 2 * value

    async def value_of(ref):
        return await ref

    opened = [gates(f"gate {k}") for k in range(3)]
    result = start(mode, opened)
    for k, (ref, gate) in enumerate(refs_of(skate, mode, result, opened)):
        doubled = double.remote(ref)
        if gate is not None:
            gate.write_bytes(b"")
        assert asyncio.run(value_of(ref)) == k
        assert skate.get(doubled) == 2 * k


def test_task_that_is_given_the_dynamic_ref_runs_beside_the_generator(skate, start, gates):
    opened = [gates(f"gate {k}") for k in range(3)]
    said = gates("said")

    @skate.remote(num_cpus=0)
    def read(generator):
        for ref in generator:
            said.write_bytes(str(skate.get(ref)).encode())
        return len(generator)

    result = read.remote(start("dynamic", opened))
    for k, gate in enumerate(opened):
        gate.write_bytes(b"")
        assert said.read_bytes() == str(k).encode()
    assert skate.get(result) == 0


def test_length_of_a_dynamic_generator_waits_for_the_end(skate, start, gates):
    opened = [gates(f"gate {k}") for k in range(2)]
    ref = start("dynamic", opened)
    opened[0].write_bytes(b"")
    generator = skate.get(ref)

    @skate.remote(num_cpus=0)
    def length(generator):
        return len(generator)

    asked = length.remote(generator)
    assert skate.get(next(generator)) == 0
    assert skate.wait([asked], timeout=0) == ([], [asked])
    opened[1].write_bytes(b"")
    assert skate.get(asked) == 2
