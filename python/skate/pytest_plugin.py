"""Fixtures for tests of programs that use skate: `pytest -p skate.pytest_plugin`.

    skate_session      a session that the tests of one file share
    skate_fresh        no session before and after a test, which starts its own
    skate_options      what `skate_session` gives to `init`; to be overridden

Invariant: when a fixture ends, so has every process of its session.
"""

from __future__ import annotations

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any


@pytest.fixture(scope="module")
def skate_options() -> dict[str, Any]:
    """Arguments of `skate.init` for `skate_session`: two CPUs."""
    return {"num_cpus": 2}


@pytest.fixture(scope="module")
def skate_session(skate_options: dict[str, Any]) -> Iterator[ModuleType]:
    """The module `skate`, with a session that the tests of one file share."""
    import skate

    skate.shutdown()
    skate.init(**skate_options)
    try:
        yield skate
    finally:
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
