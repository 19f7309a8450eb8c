"""A real memory cgroup with little room: what outgrows it is stopped by name, the others go on."""

import contextlib
import os
from pathlib import Path

import pytest

MB = 1 << 20
LIMIT = 500 * MB


@pytest.fixture
def small_group():
    """A memory cgroup of version 1 or 2 with a limit."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    root = Path("/sys/fs/cgroup") if unified else Path("/sys/fs/cgroup/memory")
    group = root / f"skate-test-{os.getpid()}"
    try:
        group.mkdir()
        limit = "memory.max" if unified else "memory.limit_in_bytes"
        (group / limit).write_text(str(LIMIT))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"no memory cgroup can be made here: {error}")
    yield group
    for pid in (group / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):
            (root / "cgroup.procs").write_text(pid)
    group.rmdir()


def test_task_that_outgrows_its_cgroup_is_stopped_and_named(start, small_group):
    program = start(
        f"""
        import signal
        import time
        from pathlib import Path

        Path({str(small_group / "cgroup.procs")!r}).write_text(str(os.getpid()))
        skate.init(
            num_cpus=2,
            object_store_memory=80_000_000,
            _system_config={{"memory_usage_threshold": 0.5}},
        )

        @skate.remote(max_retries=0)
        def grow():
            kept = b"x" * 300_000_000  # over the threshold, and short of where the kernel kills
            signal.pause()

        @skate.remote
        def modest(k):
            time.sleep(0.02)
            return k

        others = [modest.remote(k) for k in range(60)]
        try:
            skate.get(grow.remote())
        except skate.exceptions.OutOfMemoryError as error:
            print("stopped:", " ".join(str(error).split()), flush=True)
        assert skate.get(others) == list(range(60))
        print("the others went on", flush=True)
        """
    )
    stopped = program.line()
    assert stopped.startswith("stopped:")
    assert "grow" in stopped
    assert str(small_group.name) in stopped
    assert program.line() == "the others went on"
    assert program.finish()[0] == 0
    program.check_nothing_is_left()
