"""Where the value of a setting comes from: argument, SKATE_, RAY_, default; one table for all."""

import re
import subprocess
import sys
from pathlib import Path

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
        ("RAY_memory_usage_threshold", "3", "memory_usage_threshold must be from 0 to 1"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(fresh, monkeypatch, variable, text, match):
    monkeypatch.setenv(variable, text)
    with pytest.raises(ValueError, match=match):
        fresh.init()
    assert not fresh.is_initialized()


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
