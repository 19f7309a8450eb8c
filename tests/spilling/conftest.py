"""A small store, and directories to spill to: on disk, full, read-only, gone."""

import contextlib
import os
import select
import subprocess
import time
from pathlib import Path

import pytest

MB = 1_000_000


@pytest.fixture
def directory(tmp_path):
    """A directory on disk of this test's own."""
    path = tmp_path / "spilled"
    path.mkdir()
    return path


@pytest.fixture
def small(fresh, directory):
    """skate with a store of 80 MB that spills to `directory`."""
    fresh.init(num_cpus=2, object_store_memory=80 * MB, object_spilling_directory=str(directory))
    yield fresh
    # However the test went, nothing may be left of what it made.
    fresh.shutdown()
    assert os.listdir(directory) == []


@pytest.fixture
def mounts(tmp_path):
    """Make a tmpfs of so many bytes: `mounts(size, "ro")`. Skips where that is not allowed."""
    made = []

    def mount(size, *options):
        path = tmp_path / f"mounted-{len(made)}"
        path.mkdir()
        choices = ",".join([f"size={size}", *options])
        command = ["mount", "-t", "tmpfs", "-o", choices, "none", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this user may not mount: {done.stderr}")
        made.append(path)
        return path

    yield mount
    for path in made:
        with contextlib.suppress(OSError):
            subprocess.run(["umount", "-l", str(path)], check=False)


@pytest.fixture
def spill_file():
    """The spill file of this process, opened for whatever the test wants to do to it."""

    def find(directory):
        for name in os.listdir("/proc/self/fd"):
            path = f"/proc/self/fd/{name}"
            with contextlib.suppress(OSError):
                if os.readlink(path).startswith(str(directory)):
                    return Path(path).open("r+b", buffering=0)
        msg = f"no open file of {directory}"
        raise AssertionError(msg)

    return find


@pytest.fixture
def at_rest():
    """The counters, once what was pinned and written when the last refs went is free."""

    def wait(skate):
        deadline = time.monotonic() + 20
        while True:
            now = skate.statistics()
            if not (now.disk_bytes or now.pins) or time.monotonic() > deadline:
                return now
            select.select([], [], [], 0.01)  # the disk tells nobody when it is done

    return wait
