"""dask itself with skate as its scheduler."""

import os
import time
from operator import add

import pytest

dask = pytest.importorskip("dask", reason="dask is not installed; the dev extra has it")
da = pytest.importorskip("dask.array")
db = pytest.importorskip("dask.bag")


@pytest.fixture(scope="module")
def scheduler(skate):
    with dask.config.set(scheduler=skate.dask.get):
        yield skate


def test_delayed_calls_run_in_workers(scheduler):
    @dask.delayed
    def inc(x):
        return x + 1

    assert dask.compute(inc(inc(1)), inc(5)) == (3, 6)
    assert dask.delayed(os.getpid)().compute() != os.getpid()


def test_arrays_give_what_numpy_gives(scheduler):
    import numpy as np

    plain = np.arange(10_000).reshape(100, 100)
    x = da.from_array(plain, chunks=40)
    assert (x + x.T).sum().compute() == (plain + plain.T).sum()
    assert ((x @ x.T).compute() == plain @ plain.T).all()


def test_bags_fold(scheduler):
    assert db.from_sequence(range(100), npartitions=7).map(lambda n: n * 2).sum().compute() == 9900


def test_a_graph_of_tuples_is_understood(scheduler):
    graph = {"a": 1, "b": (add, "a", 2), "c": (sum, ["a", "b"]), "unused": (1).__truediv__}
    assert scheduler.dask.get(graph, "c") == 4
    assert scheduler.dask.get(graph, ["a", ["b", "c"]]) == (1, (3, 4))


def test_only_what_is_needed_runs(scheduler, attempts):
    def note():
        with attempts.open("a") as file:
            file.write("x")
        return 1

    graph = {"a": (note,), "b": (add, "a", "a"), "other": (note,)}
    assert scheduler.dask.get(graph, "b") == 2
    assert attempts.stat().st_size == 1


def test_an_error_has_its_class(scheduler):
    with pytest.raises(ZeroDivisionError):
        dask.delayed(lambda: 1 / 0)().compute()


@pytest.mark.parametrize("why", ["Ctrl-C", "an error"])
def test_what_ends_early_is_cancelled(scheduler, gate, monkeypatch, why):
    """The rest of the graph ran on, for nobody."""

    def interrupt(_refs):
        raise KeyboardInterrupt

    graph = {"held": (gate.read_bytes,), "bad": ((1).__truediv__, 0), "both": (add, "held", "bad")}
    if why == "Ctrl-C":
        monkeypatch.setattr(scheduler, "get", interrupt)
    with pytest.raises((KeyboardInterrupt, ZeroDivisionError)):
        scheduler.dask.get(graph, "both")
    monkeypatch.undo()
    deadline = time.monotonic() + 5
    while scheduler.statistics().tasks:  # the gate stays shut
        assert time.monotonic() < deadline, "it runs on"
        time.sleep(0.001)


def test_persist_and_optimize_work(scheduler):
    x = da.ones((100, 100), chunks=50).persist()
    assert x.mean().compute() == 1


def test_values_between_tasks_do_not_stay(scheduler):
    """Each link of the chain is 8 MB; only what the next link needs may be in the store."""
    import numpy as np

    @dask.delayed
    def grow(x):
        return np.zeros(1_000_000) if x is None else x + 1

    x = None
    for _ in range(20):
        x = grow(x)
    total = x.sum()
    assert total.compute() == 19_000_000
    assert scheduler.statistics().used_bytes < 40_000_000


def test_rays_name_for_it(scheduler):
    from skate import dask as adapter

    assert adapter.ray_dask_get is adapter.get
