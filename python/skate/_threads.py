"""How many threads numerical libraries start: as many as the running task has CPUs.

    zygote: 1 ─ fork ─▶ worker: 1 ─ task with num_cpus=2 ─▶ 2 ─ task with num_cpus=1 ─▶ 1

Invariant: what the user says of `OMP_NUM_THREADS`, in the driver's environment or by `env_vars`,
stays. An actor's process keeps the number of its constructor.

Libraries read the variable when they are loaded. NumPy's BLAS is told by a call as well; others
that an earlier task of the process has loaded, or `preload`, keep the number that they found.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

VARIABLE = "OMP_NUM_THREADS"

# Of the libraries that NumPy may have been built with; they have one signature.
_SETTERS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
    "MKL_Set_Num_Threads",
)

_OWN_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_is_ours = False
_set_threads: Callable[[int], object] | None = None
_cpus = 1


def enter_zygote() -> None:
    """What is loaded there starts no threads, which would not survive the fork."""
    global _is_ours  # noqa: PLW0603 - one process, one variable
    _is_ours = VARIABLE not in os.environ
    if _is_ours:
        os.environ[VARIABLE] = "1"


def enter_worker(session_env: Mapping[str, Any]) -> None:
    """Once the environment of the session is in force."""
    global _is_ours  # noqa: PLW0603 - one process, one variable
    is_named = VARIABLE in session_env.get("env_vars", {})
    _is_ours = _is_ours and not is_named and os.environ.get(VARIABLE) == "1"


def use_cpus(number: int) -> None:
    """What runs from now on has so many CPUs."""
    if not _is_ours:
        return
    os.environ[VARIABLE] = str(number)
    if any(name in os.environ for name in _OWN_VARIABLES):
        return  # which NumPy prefers
    if set_threads := _setter():
        set_threads(min(number, _cpus))


def _setter() -> Callable[[int], object] | None:
    """That of NumPy's BLAS, once NumPy is loaded."""
    global _set_threads, _cpus  # noqa: PLW0603 - found once
    core = sys.modules.get("numpy._core._multiarray_umath") or sys.modules.get(
        "numpy.core._multiarray_umath"
    )
    if core is None or _set_threads is not None:
        return _set_threads
    try:
        import ctypes

        library = ctypes.CDLL(core.__file__)  # has the names of what it depends on, too
    except (ImportError, OSError):  # a Python without it; its file was removed
        return None
    found = (getattr(library, name, None) for name in _SETTERS)
    _set_threads = next(filter(None, found), None)
    _cpus = len(os.sched_getaffinity(0))
    return _set_threads
