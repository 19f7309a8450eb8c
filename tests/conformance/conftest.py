"""The engine under test, by default skate with processes.

`SKATE_TEST_ENGINE=ray` runs these files unchanged against Ray itself, `local` against skate in one
process.
"""

import importlib
import os

import pytest

ENGINE = os.environ.get("SKATE_TEST_ENGINE", "skate")


def pytest_collection_modifyitems(items):
    for item in items:
        only = item.get_closest_marker("engine")
        if only is not None and ENGINE not in only.args:
            item.add_marker(pytest.mark.skip(reason=f"claim of {only.args[0]} only"))
        if ENGINE == "ray":  # Ray deprecates "dynamic", and leaves sockets open
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session")
def engine():
    """The module, without a session."""
    return importlib.import_module("ray" if ENGINE == "ray" else "skate")


@pytest.fixture(scope="module")
def ray(engine):
    """The module, with a session of two CPUs that the tests of one file share."""
    engine.init(num_cpus=2, resources={"spot": 2})
    yield engine
    engine.shutdown()


@pytest.fixture
def fresh(engine):
    """The module, without a session before and after."""
    engine.shutdown()
    yield engine
    engine.shutdown()
