"""`why` names what something waits for, through all that is in between."""

import pytest

from skate.util import state
from skate.util.state import why


def reasons(chain):
    return [step.reason for step in chain]


def running(ref):
    return state.get_task(ref.task_id()).state == "RUNNING"


def test_argument_after_argument_to_what_runs(skate, f, held, until):
    until(lambda: running(held))
    last = f.remote(f.remote(held))
    chain = why(last)
    assert reasons(chain) == ["NOT_MADE", "ARGUMENT", "NOT_MADE", "ARGUMENT", "NOT_MADE", "RUNS"]
    words = str(chain).splitlines()
    assert words[0] == "the value of f is not made yet"
    assert words[1].endswith("task f waits for 1 argument, the first of which is")
    assert "task held (pid " in words[-1]
    assert " runs, for " in words[-1]


def test_resource_that_is_taken_and_one_that_is_not_there(skate, f):
    never = f.options(resources={"mars": 1}).remote()
    chain = why(never)
    assert chain[-1].reason == "INFEASIBLE"
    assert "it needs CPU 1, mars 1, and this machine has mars 0" in str(chain)
    skate.cancel(never)


def test_full_window_and_who_could_read(skate, until):
    @skate.remote(generator_backpressure_num_objects=2)
    def numbers():
        yield from range(10)

    stream = numbers.remote()
    until(
        lambda: (
            state.list_streams(filters=[("task_id", "=", stream.task_id())])[0].state == "PAUSED"
        )
    )
    chain = why(stream._generator_ref)
    assert reasons(chain) == ["NOT_MADE", "WINDOW", "RUNS"]
    assert "its window is full (2 of 2 unread" in str(chain)
    assert chain[-1].kind == "driver"
    assert reasons(why(stream)) == ["NOTHING"]
    stream.close()


def test_unread_stream_of_a_consumer_that_waits_for_resources(skate, f, until):
    @skate.remote(generator_backpressure_num_objects=2)
    def numbers():
        yield from range(10)

    stream = numbers.remote()
    consumer = f.options(resources={"mars": 1}, name="consumer").remote([stream])
    until(lambda: why(stream.task_id())[0].reason == "WINDOW")
    chain = why(stream.task_id())
    assert [step.name for step in chain] == ["numbers", "consumer"]
    assert chain[-1].reason == "INFEASIBLE"
    skate.cancel(consumer)
    stream.close()


def test_actor_that_is_busy(skate, gate, until):
    @skate.remote
    class Desk:
        def serve(self, path=None):
            if path:
                path.read_bytes()

    desk = Desk.remote()
    first = desk.serve.remote(gate)
    until(lambda: running(first))
    second = desk.serve.remote()
    chain = why(second)
    assert reasons(chain) == ["NOT_MADE", "ACTOR_QUEUE", "RUNS"]
    assert "waits behind 1 call of its actor" in str(chain)
    assert reasons(why(desk)) == ["CALLS", "RUNS"]
    gate.write_bytes(b"")
    skate.get(second)
    assert reasons(why(desk)) == ["NOTHING"]


def test_task_that_sleeps_in_get(skate, held, until):
    @skate.remote
    def getting(refs):
        return skate.get(refs[0])

    outer = getting.remote([held])
    # Until the node has heard of its worker's task before, it is behind that.
    until(lambda: reasons(why(outer)) == ["NOT_MADE", "GET", "NOT_MADE", "RUNS"])
    chain = why(outer)
    assert chain[-1].name == "held"


def test_dynamic_generator_is_asked_at_its_own_position(skate, gate):
    @skate.remote(num_returns="dynamic")
    def numbers(path):
        yield 1
        path.read_bytes()
        yield 2

    first = skate.get(numbers.remote(gate))
    assert reasons(why(first)) == ["NOTHING"]
    next(first)
    assert reasons(why(first)) == ["NO_ITEM", "RUNS"]
    gate.write_bytes(b"")
    next(first)


def test_calls_that_run_at_once_do_not_share_their_reasons(skate, held, until):
    """A process asks for all of its calls at once: what one waits for is not said of the others."""

    @skate.remote
    class Loop:
        async def waiting(self, refs):
            await refs[0]

        async def resting(self):
            import asyncio

            await asyncio.sleep(30)

    loop = Loop.remote()
    waiting = loop.waiting.remote([held])
    until(lambda: "WAIT" in reasons(why(waiting)))
    resting = loop.resting.remote()
    until(lambda: running(resting))
    for ref in (waiting, resting):
        [_, step] = why(ref)
        assert (step.reason, step.details["num_others"]) == ("RUNS_BESIDE", 1)
        assert step.details["num_requests"] == 1
    skate.kill(loop)


def test_placement_group_that_waits_names_what_is_taken(skate, held, until):
    until(lambda: running(held))
    until(lambda: skate.available_resources().get("CPU") == 1)  # the tests before have ended, too
    group = skate.util.placement_group([{"CPU": 2}], name="both")
    chain = why(group.ready())
    assert chain[-1].kind == "placement group"
    assert str(chain[-1]).startswith("placement group both waits for resources: free are CPU 1")
    skate.util.remove_placement_group(group)


def test_what_is_there_waits_for_nothing(skate, f):
    ref = f.remote(1)
    skate.get(ref)
    assert reasons(why(ref)) == ["NOTHING"]
    assert reasons(why()) == ["RUNS"]


def test_ids_do_as_well(skate, f):
    ref = f.remote(1)
    skate.get(ref)
    assert reasons(why(ref.hex())) == ["NOTHING"]
    assert why(ref.task_id())[0].kind == "task"


@pytest.mark.parametrize("bad", ["xyz", "00" * 28])
def test_text_that_is_no_id_is_refused(skate, bad):
    with pytest.raises(ValueError, match=r"is no id of this session: expected that of an object"):
        why(bad)


def test_what_cannot_wait_is_refused(skate):
    with pytest.raises(TypeError, match="why: got int, but expected an ObjectRef, a generator"):
        why(3)
