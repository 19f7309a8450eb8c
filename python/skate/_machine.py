"""What this machine has to give: CPUs, GPUs, memory, as far as this process may use them.

Invariant: limits of containers count (cgroup v2, and v1 for memory); what the user says counts
    more.
"""

from __future__ import annotations

import os

from skate import _checks, _devices
from skate._options import AMOUNT_MAX, check_resources, units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

IP = "127.0.0.1"
STORE_BYTES_MIN = 75 * 1024 * 1024
STORE_BYTES_MAX_DEFAULT = 200 * 10**9
_STORE_SHARE = 0.3


class Machine:
    """One node's share of the machine.

    Attributes:
        resources: Name and amount in units of 1/10000.
        store_bytes: Capacity of the object store.
        workers_at_once: Workers to start before the first task asks for one.
        labels: Of the node.
    """

    __slots__ = ("labels", "resources", "store_bytes", "workers_at_once")

    def __init__(
        self,
        resources: list[tuple[str, int]],
        store_bytes: int,
        workers_at_once: int,
        labels: dict[str, str],
    ) -> None:
        self.resources = resources
        self.store_bytes = store_bytes
        self.workers_at_once = workers_at_once
        self.labels = labels


def describe(  # noqa: PLR0917 - the parameters of `init`
    num_cpus: float | None,
    num_gpus: float | None,
    resources: Mapping[str, float] | None,
    object_store_memory: int | None,
    memory: int | None,
    labels: Mapping[str, str] | None,
) -> Machine:
    """Checks what the user said and fills in the rest.

    Raises:
        TypeError: an amount is no number, or `resources` or `labels` no dict, or a label no text.
        ValueError: an amount is out of range; the text names the parameter.
    """
    amounts_given: dict[str, Any] = {
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "object_store_memory": object_store_memory,
        "_memory": memory,
    }
    for name, amount in amounts_given.items():
        if amount is not None:
            what = f"init: {name}"
            _checks.within(what, _checks.number(what, amount), 0, AMOUNT_MAX)
    check_resources("init: resources", resources)
    labels = {} if labels is None else _checks.mapping("init: labels", labels)
    for name, label in labels.items():
        _checks.text(f"init: labels[{_checks.text('a name of init: labels', name)!r}]", label)
    here = cpus()
    num_cpus = here if num_cpus is None else num_cpus
    num_gpus = gpus() if num_gpus is None else _checked_gpus(num_gpus)
    total_bytes = memory_bytes()
    if object_store_memory is None:
        share = min(int(total_bytes * _STORE_SHARE), STORE_BYTES_MAX_DEFAULT)
        store_bytes = max(share, STORE_BYTES_MIN)
    else:
        store_bytes = int(object_store_memory)
    if store_bytes < STORE_BYTES_MIN:
        msg = (
            f"Attempting to cap object store memory usage at {store_bytes} bytes, but the minimum "
            f"allowed is {STORE_BYTES_MIN} bytes."
        )
        raise ValueError(msg)
    amounts: dict[str, float] = {
        "CPU": num_cpus,
        "GPU": num_gpus,
        "memory": max(total_bytes - store_bytes, 0) if memory is None else int(memory),
        "object_store_memory": store_bytes,
        f"node:{IP}": 1,
        "node:__internal_head__": 1,
        **(resources or {}),
    }
    rows = [(name, units(amount)) for name, amount in amounts.items() if amount or name == "CPU"]
    return Machine(rows, store_bytes, max(1, min(int(num_cpus), here)), dict(labels))


def cpus() -> int:
    """CPUs that this process may use, at least 1: its affinity, capped by its cgroup's quota."""
    count = len(os.sched_getaffinity(0))
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit() and int(period) > 0:
        count = min(count, int(quota) // int(period))
    return max(count, 1)


def gpus() -> int:
    """GPUs that the NVIDIA driver lists and `CUDA_VISIBLE_DEVICES` leaves."""
    try:
        count = len(os.listdir("/proc/driver/nvidia/gpus"))  # noqa: PTH208 - pathlib is slow
    except OSError:
        return 0
    visible = _devices.visible()
    return count if visible is None else min(count, len(visible))


def _checked_gpus(num_gpus: float) -> int:
    """What the user said, if the environment leaves so many."""
    if num_gpus != int(num_gpus):
        msg = f"init: num_gpus must be a whole number, but is {num_gpus!r}"
        raise ValueError(msg)
    visible = _devices.visible()
    if visible is not None and num_gpus > len(visible):
        msg = (
            f"init: num_gpus is {num_gpus:g}, but {_devices.VARIABLE} contains {len(visible)}: "
            f"{','.join(visible)}"
        )
        raise ValueError(msg)
    return int(num_gpus)


def memory_bytes() -> int:
    """Memory that this process may use: that of the machine, capped by its cgroup."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        limit = _read(path)
        if limit.isdigit():
            total = min(total, int(limit))
    return total


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123 - pathlib is slow
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def hostname() -> str:
    """Name of this machine."""
    return os.uname().nodename
