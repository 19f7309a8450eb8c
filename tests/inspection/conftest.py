"""Tests of what can be seen of a session, from inside and from outside."""

import time

import pytest


@pytest.fixture
def until():
    """Looks again until what is looked for is there."""

    def wait(look):
        deadline = time.monotonic() + 20
        while not (found := look()):
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.002)
        return found

    return wait
