"""Where the value of a setting comes from: argument, SKATE_, RAY_, default; one table for all."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from skate import _settings

ROOT = Path(__file__).parents[1]


def test_the_argument_counts_before_our_variable_that_before_rays_and_that_before_the_default(
    monkeypatch,
):
    name = "task_oom_retries"
    for variable in _settings.TABLE[name].variables:
        monkeypatch.delenv(variable, raising=False)
    assert _settings.find(name) == (-1, "default")
    monkeypatch.setenv("RAY_task_oom_retries", "1")
    assert _settings.find(name) == (1, "RAY_task_oom_retries")
    monkeypatch.setenv("SKATE_task_oom_retries", "2")
    assert _settings.find(name) == (2, "SKATE_task_oom_retries")
    assert _settings.value(name, 3) == 3


@pytest.mark.parametrize(
    ("variable", "text", "match"),
    [
        ("SKATE_NUM_CPUS", "two", "SKATE_NUM_CPUS='two' must be a number"),
        ("SKATE_LOG_TO_DRIVER", "maybe", "SKATE_LOG_TO_DRIVER='maybe' must be 1 or 0"),
        # These three are read by the helper's thread, which they ended, and by a failed `get`.
        ("SKATE_COLOR_PREFIX", "always", "SKATE_COLOR_PREFIX='always' must be 1 or 0"),
        ("RAY_IGNORE_UNHANDLED_ERRORS", "y", "RAY_IGNORE_UNHANDLED_ERRORS='y' must be 1 or 0"),
        ("SKATE_FULL_TRACEBACK", "maybe", "SKATE_FULL_TRACEBACK='maybe' must be 1 or 0"),
        ("RAY_memory_usage_threshold", "3", "memory_usage_threshold is 3, but must be from 0 to 1"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(fresh, monkeypatch, variable, text, match):
    monkeypatch.setenv(variable, text)
    with pytest.raises(ValueError, match=match):
        fresh.init()
    assert not fresh.is_initialized()


NAN = float("nan")
WRONG = [
    (TypeError, {"namespace": 5}, "namespace is 5, but must be a str"),
    (ValueError, {"namespace": ""}, "namespace is '', but must be a name, or None"),
    (TypeError, {"log_to_driver": "x"}, "log_to_driver is 'x', but must be True or False"),
    (TypeError, {"local_mode": "0"}, "local_mode is '0', but must be True or False"),
    (TypeError, {"address": 5}, "address is 5, but must be a str"),
    (TypeError, {"num_cpus": "2"}, "num_cpus is '2', but must be a number"),
    (ValueError, {"num_cpus": NAN}, "num_cpus is nan, but must be from 0"),
    (ValueError, {"_memory": -1}, "_memory is -1, but must be from 0"),
    (TypeError, {"labels": "x"}, "labels is 'x', but must be a dict"),
    (TypeError, {"resources": ["a"]}, r"resources is \['a'\], but must be a dict"),
    (ValueError, {"resources": {"memory": 5}}, r"resources must not contain \['memory'\]"),
    (TypeError, {"runtime_env": "x"}, "runtime_env is 'x', but must be a dict"),
    (TypeError, {"object_spilling_limit": "5"}, "spilling_limit is '5', but must be a number"),
    (ValueError, {"object_spilling_limit": -1}, "object_spilling_limit is -1, but must be from 0"),
    (
        TypeError,
        {"object_spilling_directory": 5},
        "spilling_directory is 5, but must be a path",
    ),
    (TypeError, {"_system_config": "x"}, "_system_config is 'x', but must be a dict"),
]
WRONG_SYSTEM = [
    (ValueError, {"memory_usage_threshold": "x"}, "memory_usage_threshold='x' must be a number"),
    (
        TypeError,
        {"memory_usage_threshold": []},
        r"usage_threshold is \[\], but must be a number",
    ),
    (ValueError, {"memory_monitor_refresh_ms": NAN}, "refresh_ms is nan, but must be from 0"),
    (ValueError, {"memory_monitor_refresh_ms": 1e30}, r"refresh_ms is 1e\+30, but must be from 0"),
    (ValueError, {"task_oom_retries": 1e30}, r"task_oom_retries is 1e\+30, but must be from -1"),
    (
        ValueError,
        {"local_fs_capacity_threshold": 0},
        "threshold is 0, but must be above 0",
    ),
    (ValueError, {"object_spilling_config": "x"}, "object_spilling_config='x' must be a dict as"),
    (
        ValueError,
        {"object_spilling_config": "[1]"},
        "object_spilling_config='.*' must be a dict",
    ),
    (TypeError, {"object_spilling_config": 5}, "object_spilling_config is 5, but must be a dict"),
    (
        ValueError,
        {"object_spilling_config": '{"type": "filesystem"}'},
        "object_spilling_config: params is None, but must be a dict with 'directory_path'",
    ),
    (
        ValueError,
        {"object_spilling_config": {"type": "filesystem", "params": {"directory_path": 5}}},
        "object_spilling_config: params is .*, but must be a dict with 'directory_path'",
    ),
]


@pytest.mark.parametrize(
    ("error", "arguments", "match"),
    [*WRONG, *((error, {"_system_config": config}, text) for error, config, text in WRONG_SYSTEM)],
)
def test_an_argument_of_init_that_makes_no_sense_is_named(fresh, error, arguments, match):
    """They were errors of Python or of the Rust side that named nothing, or counted as True."""
    with pytest.raises(error, match=f"^init: .*{match}"):
        fresh.init(**{"num_cpus": 1, **arguments})
    assert not fresh.is_initialized()


def test_numbers_and_bools_of_numpy_and_texts_in_system_config_count(fresh):
    fresh.init(
        num_cpus=np.int64(2),
        resources={"spot": np.int32(10**6)},
        object_spilling_limit=1e9,
        log_to_driver=np.bool_(True),
        _system_config={
            "memory_usage_threshold": "0.9",
            "automatic_object_spilling_enabled": "false",
        },
    )
    resources = fresh.cluster_resources()
    assert (resources["CPU"], resources["spot"]) == (2, 10**6)


def test_init_takes_what_the_environment_says_and_the_rows_say_so(fresh, monkeypatch):
    monkeypatch.setenv("SKATE_NUM_CPUS", "3")
    monkeypatch.setenv("SKATE_NAMESPACE", "here")
    fresh.init(object_store_memory=100_000_000)
    assert fresh.cluster_resources()["CPU"] == 3
    assert fresh.get_runtime_context().namespace == "here"
    rows = {name: (value, source) for name, value, source in _settings.rows()}
    assert rows["num_cpus"] == ("3", "SKATE_NUM_CPUS")
    assert rows["object_store_memory"] == ("100000000", "object_store_memory=")
    assert rows["task_oom_retries"] == ("-1", "default")
    fresh.shutdown()
    fresh.init(num_cpus=1)
    rows = {name: (value, source) for name, value, source in _settings.rows()}
    assert rows["num_cpus"] == ("1", "num_cpus=")


def test_a_row_whose_variable_makes_no_sense_is_shown_and_not_raised(monkeypatch):
    monkeypatch.setenv("SKATE_SPILL_LIMIT", "much")
    rows = {name: (value, source) for name, value, source in _settings.rows()}
    assert rows["object_spilling_limit"] == ("?", "SKATE_SPILL_LIMIT='much' must be a number")


def test_no_other_module_reads_our_variables():
    reads = re.compile(r"environ[^\n]*[\"'](SKATE|RAY)_")
    for path in (ROOT / "python" / "skate").rglob("*.py"):
        assert not reads.search(path.read_text()), path


def test_the_page_of_the_documents_is_up_to_date():
    script = ROOT / "docs" / "settings_table.py"
    subprocess.run([sys.executable, script, "--check"], check=True)
