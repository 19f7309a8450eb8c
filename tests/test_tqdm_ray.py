"""Progress bars of workers appear on the driver."""

import sys

import pytest

from skate.experimental import tqdm_ray


def test_a_bar_shows_the_first_and_the_last_state(capsys):
    assert list(tqdm_ray.tqdm([1, 2, 3, 4], desc="work", flush_interval_s=3600)) == [1, 2, 3, 4]
    assert capsys.readouterr().err == "work:  25 % 1/4 it\nwork: 100 % 4/4 it\n"


def test_each_update_is_shown_when_the_interval_is_over(capsys):
    with tqdm_ray.tqdm(total=2, flush_interval_s=0, unit="file") as bar:
        bar.update()
        bar.set_description("second")
        bar.update(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [" 50 % 1/2 file", "second:  50 % 1/2 file", "second: 100 % 2/2 file"]


def test_without_a_total_it_counts(capsys):
    assert sum(1 for _ in tqdm_ray.tqdm(iter("ab"), flush_interval_s=0)) == 2
    assert capsys.readouterr().err == "1 it\n2 it\n"


def test_a_bar_over_nothing_says_so():
    with pytest.raises(ValueError, match="nothing to iterate over"):
        list(tqdm_ray.tqdm(total=3))


def test_bars_of_tasks_are_shown_by_the_driver(fresh, capfd):
    def work():
        for _ in tqdm_ray.trange(3, desc="inside"):
            pass
        return "done"

    fresh.init(num_cpus=1)
    assert fresh.get(fresh.remote(work).remote()) == "done"
    fresh.shutdown()
    sys.stderr.flush()
    assert "inside: 100 % 3/3 it" in capfd.readouterr().err
