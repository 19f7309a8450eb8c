"""Fixtures for tests of programs that use skate: `pytest -p skate.pytest_plugin`.

    skate_session      a session that the tests of one file share
    skate_fresh        no session before and after a test, which starts its own
    skate_options      what `skate_session` gives to `init`; to be overridden

    --skate-local      `skate_session` runs everything in the test's own process (`local_mode`)

A test with `skate_session` that passes and leaves tasks, objects, streams or handles behind fails,
with their numbers, unless it is marked `skate_keeps`. What was there before it does not count.
One whose session has been ended by a test before it (`skate_fresh` does so) fails, and says that.

Invariant: when a fixture ends, so has every process of its session; no test has another session
than the one that its file asked for.
"""

from __future__ import annotations

import gc
import time

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any

_PATIENCE_S = 5.0
"""How long what was dropped may take to go: milliseconds, unless a task still runs."""
_GAUGES = ("tasks", "objects", "streams", "requests", "pins", "driver_handles", "worker_handles")
_before = pytest.StashKey["dict[str, int]"]()
_passed = pytest.StashKey[bool]()
_client = pytest.StashKey["Any"]()
"""Of a file: its session, while there is one."""
_ENDED = (
    "skate_session: a test before this one has ended the session of this file; "
    "tests with skate_fresh, init or shutdown belong in another"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--skate-local`."""
    text = "let skate_session run everything in the test's own process (local_mode)"
    parser.getgroup("skate").addoption("--skate-local", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Makes the mark known."""
    line = "skate_keeps: the test may leave tasks, objects and handles of skate behind"
    config.addinivalue_line("markers", line)


@pytest.fixture(scope="module")
def skate_options() -> dict[str, Any]:
    """Arguments of `skate.init` for `skate_session`: two CPUs."""
    return {"num_cpus": 2}


@pytest.fixture(scope="module")
def skate_session(
    request: pytest.FixtureRequest, skate_options: dict[str, Any]
) -> Iterator[ModuleType]:
    """The module `skate`, with a session that the tests of one file share."""
    import skate
    from skate import _session

    is_local = request.config.getoption("--skate-local")
    skate.shutdown()
    skate.init(**{**skate_options, **({"local_mode": True} if is_local else {})})
    try:
        request.node.stash[_client] = _session.client
        yield skate
    finally:
        request.node.stash[_client] = None
        skate.shutdown()


@pytest.fixture
def skate_fresh() -> Iterator[ModuleType]:
    """The module `skate`, without a session before and after."""
    import skate

    skate.shutdown()
    try:
        yield skate
    finally:
        skate.shutdown()


def _gauges() -> dict[str, int] | None:
    """What is there now; None without a session that counts."""
    import skate

    if not skate.is_initialized():
        return None
    found = skate.statistics()
    return {name: getattr(found, name) for name in _GAUGES}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Looks and counts before a test with `skate_session`, and notes that it has passed."""
    is_watched = "skate_session" in getattr(item, "fixturenames", ())
    if is_watched:
        _check_session(item)
    before = _gauges() if is_watched and item.get_closest_marker("skate_keeps") is None else None
    result = yield
    if before is not None:
        item.stash[_before] = before
        item.stash[_passed] = True
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Counts again when the test's frame and its fixtures are gone, with the refs in them."""
    result = yield
    if item.stash.get(_passed, False):
        getattr(item, "funcargs", {}).clear()
        _check(item.stash[_before])
    return result


def _check_session(item: pytest.Item) -> None:
    from skate import _session

    file = item.getparent(pytest.Module)
    if file is not None and file.stash.get(_client, _session.client) is not _session.client:
        pytest.fail(_ENDED, pytrace=False)


def _check(before: dict[str, int]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        gc.collect()
        now = _gauges()
        more = {} if now is None else {k: now[k] - n for k, n in before.items() if now[k] > n}
        if not more:
            return
        if time.monotonic() > deadline:
            left = ", ".join(f"{name} {count}" for name, count in more.items())
            pytest.fail(f"left in skate: {left}", pytrace=False)
        time.sleep(0.005)
