"""Calls on an actor's event loop end exactly once, whenever they are cancelled.

A call that was cancelled in the same look at the mailbox in which it had been started never ended:
asyncio throws the cancel into a coroutine that has not begun, which runs none of its handlers. So
did one that user code cancelled as early.
"""

import asyncio
import gc
import itertools

import pytest
from handlers import raising

from skate._actor_loop import _Runner, _Selector


class Call:
    """Stands for the native one: takes down how it ended."""

    ticket = 7
    name = "call"

    def __init__(self):
        self.ends = []
        self.then = lambda: None

    async def _body(self):
        await asyncio.sleep(3600)

    def start(self):
        return self._body()

    def finish(self, value):
        self.ends.append(value)
        self.then()

    def fail(self, error):
        self.ends.append(type(error))
        self.then()


class Serving:
    """One look finds a call and its cancellation, the next, once it has ended, that all is over."""

    def __init__(self, call, *, cancelled=()):
        self.call = call
        self.looks = iter([([call], cancelled, False), ([], [], True)])

    def take(self, _lane):
        return next(self.looks)


def look_twice(serving):
    selector = _Selector()
    loop = asyncio.SelectorEventLoop(selector)
    runner = _Runner(serving, 0, loop, selector)
    loop.call_soon(runner.look)
    serving.call.then = lambda: loop.call_soon(runner.look)
    loop.run_forever()
    loop.close()


def test_call_that_is_cancelled_as_it_starts_ends_with_the_cancel():
    call = Call()
    look_twice(Serving(call, cancelled=[call.ticket]))
    assert call.ends == [asyncio.CancelledError]


class Items(Call):
    async def _body(self):
        yield 1


@pytest.mark.parametrize("kind", [Call, Items])
def test_call_that_user_code_cancels_before_its_first_step_ends_with_the_cancel(kind):
    # One look starts two calls, and the first of them cancels all asyncio tasks but its own. The
    # second never ended: of 40 such pairs of calls, 28 hung.
    class StopOthers(Call):
        ticket = 6

        async def _body(self):
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            return "stopped"

    stop, call = StopOthers(), kind()
    serving = Serving(call)
    serving.looks = iter([([stop, call], [], False), ([], [], True)])
    look_twice(serving)
    assert stop.ends == ["stopped"]
    assert call.ends == [asyncio.CancelledError]


def test_call_that_cannot_be_started_fails():
    class Broken(Call):
        def start(self):
            raise MemoryError

    call = Broken()
    look_twice(Serving(call))
    assert call.ends == [MemoryError]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("kind", [Call, Items])
def test_calls_end_although_a_signals_handler_raises(kind):
    # Wherever Python runs handlers: as a function begins, and after each call. When it raised
    # before a call that had been taken was started, that call never ended.
    looking = {_Runner.look.__code__, _Runner._do.__code__, _Runner._start.__code__}

    async def run_on(serving, calls):
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        runner = _Runner(serving, 0, loop, _Selector())
        loop.call_soon(runner.look)
        for _ in range(20):
            await asyncio.sleep(0)
            if all(call.ends for call in calls):
                return True
            if not serving.is_taken:  # it is told again
                loop.call_soon(runner.look)
        return False

    for place in itertools.count(1):
        calls = [kind(), kind()]
        for ticket, call in enumerate(calls):
            call.ticket = ticket
        serving = Serving(calls[0])
        looks = iter([(list(calls), [0, 1], False)])
        serving.is_taken = False

        def take(_lane, serving=serving, looks=looks):
            serving.is_taken = True
            return next(looks, ([], [], False))

        serving.take = take
        with raising(TimeoutError, place, looking.__contains__) as reached:
            assert asyncio.run(run_on(serving, calls)), place
        if not reached:
            break
    assert place > 10
    del calls, serving, take
    gc.collect()  # what was never awaited warns here, and not in the test that comes next


def test_actor_may_set_a_task_factory_that_begins_tasks_at_once(skate):
    # As `asyncio.eager_task_factory` of Python 3.12 does. Each later call hung: its context was
    # entered already.
    @skate.remote
    class Actor:
        async def set_factory(self):
            def eager(loop, coroutine, context=None, **options):
                if context is not None:
                    context.run(int)
                return asyncio.Task(coroutine, loop=loop, context=context, **options)

            asyncio.get_running_loop().set_task_factory(
                getattr(asyncio, "eager_task_factory", eager)
            )

        async def value(self):
            await asyncio.sleep(0)
            return await asyncio.create_task(self.item())

        async def item(self):
            return 1

        async def items(self):
            yield 1

    actor = Actor.remote()
    skate.get(actor.set_factory.remote())
    assert skate.get(actor.value.remote(), timeout=20) == 1
    assert [skate.get(ref, timeout=20) for ref in actor.items.remote()] == [1]
