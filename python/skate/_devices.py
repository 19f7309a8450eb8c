"""GPUs by number: which of them this process may use.

    init ─ CUDA_VISIBLE_DEVICES "3,5" ─▶ inherited by workers ─ the node grants 0 ─▶ "3"

Invariant: the node numbers the GPUs from 0. A worker is granted GPUs at most once in its life,
before it unpickles what it is to run; one without a grant has the variable as the driver had it.
"""

from __future__ import annotations

import os

from skate import _session, _settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "CUDA_VISIBLE_DEVICES"
# Families of accelerators that Ray knows; here there are GPUs at most.
FAMILIES = ("GPU", "TPU", "neuron_cores", "HPU", "NPU", "RBLN", "FURIOSA", "MBLT", "TTNPU")

_visible: list[str] | None = None
_granted: list[int] = []


def visible() -> list[str] | None:
    """What the environment says that may be used; None if it says nothing, i.e. all."""
    value = os.environ.get(VARIABLE)
    if value is None:
        return None
    return [] if value in {"", "NoDevFiles", "-1"} else value.split(",")


def enter_worker() -> None:
    """Keeps what the driver's environment says, before user code can change it."""
    global _visible  # noqa: PLW0603 - one process, one grant
    _visible = visible()


def use(numbers: list[int]) -> None:
    """Takes a grant of the node, for the life of this process."""
    global _granted  # noqa: PLW0603 - one process, one grant
    _granted = numbers
    if not _settings.value("noset_cuda_visible_devices"):
        os.environ[VARIABLE] = ",".join(map(str, get_gpu_ids()))


def get_gpu_ids() -> Sequence[int | str]:
    """The GPUs that the calling task or actor may use.

    Returns:
        Numbers from 0; if `CUDA_VISIBLE_DEVICES` was set when the session began, its words for
        them. Parts of a GPU count like a whole one. Empty on the driver, and without `num_gpus`.

    Rule: semantics.md 5.6; as Ray 2.60.
    """
    ask = getattr(_session.client, "gpu_ids", None)  # an engine that grants them itself
    if ask is not None:
        return list(ask())
    if _visible is None:
        return list(_granted)
    return [_visible[number] for number in _granted]
