"""When memory runs short: who gives way, who is stopped, and what is said of it.

The monitor reads a copy of the kernel's files, which the tests write.
"""

import os

import pytest

MB = 1 << 20
GB = 1 << 30


class Machine:
    """What the kernel would say of memory."""

    def __init__(self, root):
        self.root = root
        self.write("proc/self/cgroup", "0::/\n")
        self.use(0.5)

    def write(self, path, text):
        """Replaces a file at once: the monitor never sees half of it."""
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "new").write_text(text)
        (path.parent / "new").rename(path)

    def use(self, part, by=None):
        """So much is used from now on; or until that process has ended, as its own memory is."""
        total = 100 * GB // 1024
        text = f"MemTotal: {total} kB\nMemAvailable: {int(total * (1 - part))} kB\n"
        if by is None:
            self.write("proc/meminfo", text)
            return
        self.write("proc/used", text)
        new = self.root / "proc/new"
        new.symlink_to(f"/proc/{by}/root{self.root}/proc/used")  # goes with the process
        new.rename(self.root / "proc/meminfo")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of 100 GB, of which half is used."""
    monkeypatch.setenv("SKATE_MEMORY_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "20")
    return Machine(tmp_path / "root")


def eat(megabytes):
    """Memory that is really there."""
    return bytearray(os.urandom(1)) * (megabytes * MB)


def test_task_without_retries_is_stopped_with_what_how_much_and_why(fresh, machine, gate):
    fresh.init(num_cpus=2)

    @fresh.remote(max_retries=0)
    def eats():
        kept = eat(100)
        gate.write_bytes(b"")
        gate.with_name("never").read_bytes()
        return len(kept)

    os.mkfifo(gate.with_name("never"))
    ref = eats.remote()
    gate.read_bytes()
    machine.use(0.97)
    with pytest.raises(fresh.exceptions.OutOfMemoryError) as caught:
        fresh.get(ref)
    text = str(caught.value)
    assert "97.00GB used / 100.00GB limit (0.970)" in text
    assert "threshold is 0.950" in text
    assert "eats (pid=" in text
    assert "no task can be run again" in text
    machine.use(0.5)
    assert fresh.get(fresh.remote(lambda: 1).remote()) == 1


def test_task_is_run_again_when_there_is_memory_and_its_retries_are_not_used_up(
    fresh, machine, gates, attempts
):
    fresh.init(num_cpus=2)
    started, other = gates("started"), gates("other")

    @fresh.remote(max_retries=1)
    def eats():
        with attempts.open("ab") as file:
            file.write(b"x")
        kept = eat(100)
        if attempts.stat().st_size <= 3:
            started.write_text(str(os.getpid()))
            started.with_name("never").read_bytes()
        return len(kept)

    @fresh.remote(max_retries=0)
    def runs_too():
        other.read_bytes()

    os.mkfifo(started.with_name("never"))
    held = runs_too.remote()
    ref = eats.remote()
    for _ in range(3):  # more often than max_retries
        machine.use(0.97, by=int(started.read_text()))
    assert fresh.get(ref) == 100 * MB
    assert attempts.stat().st_size == 4
    other.write_bytes(b"")
    fresh.get(held)


def test_switched_off_nobody_is_stopped(fresh, machine, gate, monkeypatch):
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")
    machine.use(0.99)
    fresh.init(num_cpus=1)

    @fresh.remote(max_retries=0)
    def eats():
        return len(eat(10))

    assert fresh.get([eats.remote() for _ in range(20)]) == [10 * MB] * 20


def test_threshold_is_what_the_user_says(fresh, machine):
    fresh.init(num_cpus=1, _system_config={"memory_usage_threshold": 0.4})

    @fresh.remote(max_retries=0)
    def waits():
        import time

        time.sleep(60)

    with pytest.raises(fresh.exceptions.OutOfMemoryError, match=r"the threshold is 0\.400"):
        fresh.get(waits.remote())


def test_values_go_to_disk_before_anybody_is_stopped(fresh, machine, gate):
    fresh.init(num_cpus=2, object_store_memory=200 * MB)

    @fresh.remote(max_retries=0)
    def waits():
        gate.read_bytes()

    ref = waits.remote()
    refs = [fresh.put(bytes([k]) * (10 * MB)) for k in range(10)]
    machine.use(0.97)
    with pytest.raises(fresh.exceptions.OutOfMemoryError):
        fresh.get(ref)
    machine.use(0.5)
    assert fresh.statistics().spilled_objects == 10  # all that could be given was
    assert fresh.statistics().used_bytes < 10 * MB
    assert [fresh.get(ref)[0] for ref in refs] == list(range(10))


@pytest.mark.parametrize("version", [1, 2])
def test_limit_of_the_cgroup_counts_and_page_cache_does_not(fresh, machine, gate, version):
    if version == 2:
        machine.write("proc/self/cgroup", "0::/a/b\n")
        place = "sys/fs/cgroup/a/"
        names = "memory.current", "memory.max", "inactive_file"
    else:
        machine.write("proc/self/cgroup", "4:memory:/a/b\n1:cpu:/\n")
        place = "sys/fs/cgroup/memory/a/"
        names = "memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"
    usage, limit, cache = names
    machine.write(place + limit, f"{4 * GB}\n")
    machine.write(place + "memory.stat", f"anon 1\n{cache} {3 * GB}\n")
    machine.write(place + usage, f"{4 * GB}\n")
    fresh.init(num_cpus=1)

    @fresh.remote(max_retries=0)
    def waits():
        gate.read_bytes()
        gate.with_name("never").read_bytes()

    os.mkfifo(gate.with_name("never"))
    ref = waits.remote()
    gate.write_bytes(b"")
    # Three quarters of it can be reclaimed: after a second of looks nobody has been stopped.
    assert fresh.wait([ref], timeout=1)[1] == [ref]
    machine.write(place + "memory.stat", f"anon 1\n{cache} 0\n")
    with pytest.raises(fresh.exceptions.OutOfMemoryError, match=r"the cgroup /a was 4\.00GB used"):
        fresh.get(ref)


def test_actor_that_is_stopped_says_why(fresh, machine):
    fresh.init(num_cpus=1)

    @fresh.remote
    class Eats:
        def eat(self):
            self.kept = eat(100)

        def wait(self):
            import time

            time.sleep(60)

    actor = Eats.remote()
    fresh.get(actor.eat.remote())
    ref = actor.wait.remote()
    machine.use(0.97)
    with pytest.raises(fresh.exceptions.RayActorError, match=r"97\.00GB used / 100\.00GB"):
        fresh.get(ref)


@pytest.mark.parametrize(
    ("name", "value"), [("memory_usage_threshold", 1.5), ("memory_monitor_refresh_ms", -1)]
)
def test_settings_out_of_range_are_refused(fresh, name, value):
    with pytest.raises(ValueError, match=name):
        fresh.init(_system_config={name: value})
