"""joblib itself on skate's backend."""

import multiprocessing
import threading

import pytest

joblib = pytest.importorskip("joblib", reason="joblib is not installed; the dev extra has it")

from skate.util.joblib import register_ray, register_skate  # noqa: E402


@pytest.fixture(scope="module", params=["skate", "ray"])
def backend(skate, request):
    {"skate": register_skate, "ray": register_ray}[request.param]()
    with joblib.parallel_config(request.param, n_jobs=2):
        yield request.param


def square(n):
    return n * n


def test_results_are_in_order(backend):
    calls = (joblib.delayed(square)(n) for n in range(100))
    assert joblib.Parallel()(calls) == [n * n for n in range(100)]


def test_the_calls_run_in_workers(backend, skate):
    import os

    pids = joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(10))
    assert os.getpid() not in pids


def test_results_can_be_taken_as_they_come(backend, gate):
    def late_if_zero(n):
        if n == 0:
            gate.read_bytes()
        return n

    parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
    values = parallel(joblib.delayed(late_if_zero)(n) for n in range(4))
    assert next(values) in {1, 2, 3}
    gate.write_bytes(b"")
    assert 0 in list(values)


def test_a_generator_keeps_the_order(backend):
    values = joblib.Parallel(return_as="generator")(joblib.delayed(square)(n) for n in range(9))
    assert list(values) == [n * n for n in range(9)]


def test_an_error_has_its_class_and_the_backend_goes_on(backend):
    with pytest.raises(ZeroDivisionError):
        joblib.Parallel()(joblib.delayed(lambda n: 1 // n)(n) for n in (1, 0, 1))
    assert joblib.Parallel()([joblib.delayed(square)(3)]) == [9]


@pytest.mark.parametrize("kind", ["list", "generator", "generator_unordered"])
def test_a_late_batch_that_cannot_be_packed_is_an_error(backend, kind):
    """joblib gives it from the callback of an earlier one, and waited for ever for what becomes.

    The timeout is that of the old code alone: of a batch that is neither done nor failed.
    """
    calls = (joblib.delayed(square)(n) for n in (1, 2, threading.Lock()))
    parallel = joblib.Parallel(batch_size=1, pre_dispatch=1, timeout=5, return_as=kind)
    with pytest.raises(TypeError, match="Could not serialize"):
        list(parallel(calls))
    assert joblib.Parallel()([joblib.delayed(square)(3)]) == [9]


def test_a_call_inside_of_a_call_works(backend):
    def outer(n):
        return sum(joblib.Parallel(n_jobs=2)(joblib.delayed(square)(m) for m in range(n)))

    assert joblib.Parallel()(joblib.delayed(outer)(n) for n in (3, 4)) == [5, 14]


def test_a_timeout_is_kept(backend, gate):
    with pytest.raises(multiprocessing.TimeoutError):
        joblib.Parallel(timeout=0.05)([joblib.delayed(gate.read_bytes)()])


def test_closures_and_arrays_travel(backend):
    import numpy as np

    array = np.arange(200_000)
    sums = joblib.Parallel()(joblib.delayed(lambda k: int((array * k).sum()))(k) for k in (1, 2))
    assert sums == [int(array.sum()), 2 * int(array.sum())]


@pytest.mark.parametrize(("asked", "given"), [(3, 3), (-1, 2), (-2, 1), (-9, 1), (None, 2)])
def test_n_jobs_counts_as_joblib_says(skate, asked, given):
    from skate.util.joblib import SkateBackend

    assert SkateBackend().effective_n_jobs(asked) == given


def test_no_jobs_are_refused(skate):
    from skate.util.joblib import SkateBackend

    with pytest.raises(ValueError, match="n_jobs == 0"):
        SkateBackend().effective_n_jobs(0)


def test_options_of_tasks_are_passed_on(skate):
    register_skate()
    with joblib.parallel_config("skate", n_jobs=2, ray_remote_args={"num_cpus": 2}):
        assigned = joblib.Parallel(batch_size=1)(
            joblib.delayed(lambda: skate.get_runtime_context().get_assigned_resources())()
            for _ in range(2)
        )
    assert assigned == [{"CPU": 2.0}] * 2
