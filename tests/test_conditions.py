"""What waits may be interrupted anywhere, and keeps nobody else from going on."""

import concurrent.futures
import contextlib
import itertools
import threading
from multiprocessing import TimeoutError as PoolTimeoutError

import pytest
from handlers import raising

from skate._condition import Condition, Future
from skate.util.multiprocessing.results import Single

_FILES = {threading.__file__, concurrent.futures._base.__file__}


def interrupted_at_each_place(make, use, settle):
    """Whoever settles it afterwards, in another thread, must not wait for ever."""
    for place in itertools.count(1):
        made = make()
        with (
            contextlib.suppress(KeyboardInterrupt, TimeoutError, PoolTimeoutError),
            raising(KeyboardInterrupt, place, lambda code: code.co_filename in _FILES) as reached,
        ):
            use(made)
        thread = threading.Thread(target=settle, args=(made,), daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        if not reached:
            return place
    raise AssertionError


@pytest.mark.parametrize(
    "use",
    [
        lambda future: future.result(timeout=0),
        lambda future: future.exception(timeout=0),
        lambda future: future.add_done_callback(id),
        lambda future: future.done(),
    ],
    ids=["result", "exception", "callback", "done"],
)
def test_a_future_can_be_settled_whatever_its_waiter_got(use):
    # The helper thread waited for a lock that nobody had any more, and no result came from then on.
    assert interrupted_at_each_place(Future, use, lambda future: future.set_result(1)) > 1


def test_a_result_of_a_pool_can_be_settled_whatever_its_waiter_got():
    # Likewise.
    places = interrupted_at_each_place(
        lambda: Single(1, None, None),
        lambda result: result.get(timeout=0.001),
        lambda result: result.settle(0, [1]),
    )
    assert places > 5


def test_an_interrupted_wait_is_told_as_that():
    # Between releasing the lock and sleeping it was "cannot release un-acquired lock".
    def wait(condition):
        try:
            with condition:
                condition.wait(0)
        except RuntimeError as error:
            raise AssertionError from error

    def take(condition):
        with condition:
            condition.notify_all()

    assert interrupted_at_each_place(Condition, wait, take) > 5
