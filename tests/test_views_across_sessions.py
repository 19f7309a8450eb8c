"""Zero-copy views outlive their refs, the session and the next one (A19)."""

import gc
from pathlib import Path

import numpy as np

MB = 1_000_000


def mapped_bytes():
    """Address space of deleted files: segments that are still mapped."""
    total = 0
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        if line.endswith("(deleted)") and "/memfd:skate" not in line.replace("skate-data", ""):
            first, last = line.split()[0].split("-")
            total += int(last, 16) - int(first, 16)
    return total


def test_view_stays_readable_and_its_pages_go_with_it(fresh):
    fresh.init(num_cpus=1, object_store_memory=80 * MB)
    view = fresh.get(fresh.put(np.arange(MB)))
    part = view[10:20]
    del view
    fresh.shutdown()
    assert part.tolist() == list(range(10, 20))
    fresh.init(num_cpus=1, object_store_memory=80 * MB)
    other = fresh.get(fresh.put(np.ones(MB)))
    assert part.tolist() == list(range(10, 20))
    assert other.sum() == MB
    before = mapped_bytes()
    del part
    gc.collect()
    assert mapped_bytes() <= before - 80 * MB
    assert other.sum() == MB


def test_view_of_what_was_spilled_outlives_the_session(fresh, tmp_path):
    fresh.init(
        num_cpus=1, object_store_memory=80 * MB, object_spilling_directory=str(tmp_path / "disk")
    )
    refs = [fresh.put(np.full(MB, k)) for k in range(20)]
    views = fresh.get(refs)
    fresh.shutdown()
    assert [int(view[-1]) for view in views] == list(range(20))
