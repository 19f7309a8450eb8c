"""The bench runner: one table of engines; the check fails only beyond the noise of its run."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHES = Path(__file__).parents[1] / "benches"


@pytest.fixture
def module(monkeypatch):
    """Import a module of the runner, which is a program and no package."""
    monkeypatch.syspath_prepend(str(BENCHES))
    return importlib.import_module


@pytest.fixture
def row(module):
    """A row where skate reaches `ours`, the floor `floors`; more is better."""

    def make(ours, floors):
        samples = {"skate": ours, "floor": floors}
        return module("_table").Row("some", "tasks/s", None, None, samples, {})

    return make


def test_runner_measures_skate_and_the_floor_in_one_run(tmp_path):
    result = tmp_path / "result.json"
    asked = ["--only", "small", "--engines", "skate,floor", "--repeat", "1", "--json", str(result)]
    run = subprocess.run(
        [sys.executable, str(BENCHES / "run.py"), *asked],
        check=True,
        capture_output=True,
        text=True,
    )
    rows = json.loads(result.read_text())["rows"]
    assert set(rows) == {"small_put", "small_get"}
    assert all(set(each["engines"]) == {"skate", "floor"} for each in rows.values())
    assert "small_put" in run.stdout


def test_check_fails_when_a_ratio_fell_by_more_than_the_noise(module, row, monkeypatch):
    baseline = module("_baseline")
    monkeypatch.setattr(baseline, "load", lambda: {"some": {"ratio": 1.0, "noise": 0.1}})
    assert baseline.check([row([50, 51, 52], [100, 100, 101])]) == 1
    assert baseline.check([row([95, 96, 97], [100, 100, 101])]) == 0


def test_check_allows_what_the_run_itself_scatters(module, row, monkeypatch):
    baseline = module("_baseline")
    monkeypatch.setattr(baseline, "load", lambda: {"some": {"ratio": 1.0, "noise": 0.1}})
    assert baseline.check([row([20, 50, 120], [100, 100, 101])]) == 0


def test_check_that_compares_nothing_fails(module, row, monkeypatch):
    baseline = module("_baseline")
    monkeypatch.setattr(baseline, "load", dict)
    assert baseline.check([row([1], [1])]) == 1


def test_rows_say_how_many_times_better_whether_more_or_less_is(module):
    table = module("_table")
    rate = table.Row("r", "tasks/s", None, None, {"skate": [200], "ray": [2]}, {})
    delay = table.Row("d", "µs", None, None, {"skate": [2], "ray": [200]}, {})
    assert rate.ratio("ray") == delay.ratio("ray") == 100


def test_baseline_keeps_the_least_ratio_of_the_runs_that_were_saved(
    module, row, monkeypatch, tmp_path
):
    baseline = module("_baseline")
    monkeypatch.setattr(baseline, "PATH", tmp_path / "baseline.json")
    for reached in (80, 120, 90):
        baseline.save([row([reached], [100])])
    assert baseline.load()["some"]["ratio"] == 0.8
