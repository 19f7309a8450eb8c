"""Calls on an actor's event loop end exactly once, whenever they are cancelled.

A call that was cancelled in the same look at the mailbox in which it had been started never ended:
asyncio throws the cancel into a coroutine that has not begun, which runs none of its handlers.
"""

import asyncio

from skate._actor_loop import _Runner, _Selector


class Call:
    """Stands for the native one: takes down how it ended."""

    ticket = 7
    name = "call"

    def __init__(self):
        self.ends = []

    async def _body(self):
        await asyncio.sleep(3600)

    def start(self):
        return self._body()

    def finish(self, value):
        self.ends.append(value)

    def fail(self, error):
        self.ends.append(type(error))


class Serving:
    """One look finds a new call and its cancellation, the next one that the process is to leave."""

    def __init__(self, call):
        self.looks = iter([([call], [call.ticket], False), ([], [], True)])

    def take(self):
        return next(self.looks)

    def wait(self):
        return 0


def test_call_that_is_cancelled_as_it_starts_ends_with_the_cancel():
    selector = _Selector()
    loop = asyncio.SelectorEventLoop(selector)
    call = Call()
    runner = _Runner(Serving(call), loop, selector)
    loop.call_soon(runner.look)
    loop.call_later(0.01, runner.look)
    loop.run_forever()
    loop.close()
    assert call.ends == [asyncio.CancelledError]
