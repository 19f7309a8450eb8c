"""What it takes: memory of driver and worker, processes, threads, time while idle, disk.

Invariant: memory of a process is what is its own (anonymous pages): pages of the store count once,
for the machine, and not here.
"""

import importlib.metadata
import importlib.util
import os
import tempfile
import threading
import time
from pathlib import Path

from _workload import workload

from workloads.scale import QUEUED, gate

MB = 1e6
ARRAYS, ARRAY_BYTES = 10, 100_000_000


def own_bytes(pid="self"):
    """Anonymous memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return 1024 * int(status.partition("RssAnon:")[2].split(maxsplit=1)[0])


@workload(
    unit="B/task",
    question="Driver memory for each of 100,000 queued no-op tasks; kept when the refs are gone?",
    rows=("queued", "kept"),
    goal=(400, 40),
    fresh=True,
    repeat=3,
)
def task_memory(ray):
    @ray.remote
    def nothing():
        return None

    ray.get([nothing.remote() for _ in range(1_000)])

    def measure():
        before = own_bytes()
        with gate(ray):
            refs = [nothing.remote() for _ in range(QUEUED)]
            queued = own_bytes() - before
        ray.get(refs)
        del refs
        time.sleep(1)  # engines that free in the background get time to do so
        return queued / QUEUED, max(0, own_bytes() - before) / QUEUED

    return measure


def shared_bytes():
    """Shared memory and files in memory of the whole machine."""
    return 1024 * _field("", "meminfo", "Shmem")


@workload(
    unit="MB",
    question="Shared memory kept when the refs of 1 GB of arrays are gone: 1 s later, 10 s later?",
    rows=("1s", "10s"),
    goal=(None, 269),
    fresh=True,
    repeat=1,
    quick=False,
)
def shared_kept(ray):
    import numpy as np

    array = np.full(ARRAY_BYTES, 7, np.uint8)

    def measure():
        before = shared_bytes()
        refs = [ray.put(array) for _ in range(ARRAYS)]
        if shared_bytes() - before < ARRAYS * ARRAY_BYTES:
            raise AssertionError("the arrays are not in shared memory")
        del refs
        kept = []
        for pause_s in (1, 9):
            time.sleep(pause_s)
            kept.append((shared_bytes() - before) / MB)
        return tuple(kept)

    return measure


class PeakOfWorker(threading.Thread):
    """Watches the anonymous memory of the worker that wrote pid and starting value to a file."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self._path = path
        self._is_over = threading.Event()
        self._growth = 0

    def run(self):
        """Samples every millisecond."""
        while not self._is_over.wait(0.001):
            words = self._path.read_text(encoding="utf-8").split()
            if len(words) == 2:
                self._growth = max(self._growth, own_bytes(words[0]) - int(words[1]))

    def stop(self):
        """The peak, in MB above the start."""
        self._is_over.set()
        self.join()
        return self._growth / MB


def _makers(ray):
    """The same arrays from a plain function and from a generator."""

    def begin(path):
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        kilobytes = int(status.partition("RssAnon:")[2].split(maxsplit=1)[0])
        Path(path).write_text(f"{os.getpid()} {1024 * kilobytes}", encoding="utf-8")

    @ray.remote
    def as_list(path):
        import numpy as np

        begin(path)
        return [np.full(ARRAY_BYTES, 7, np.uint8) for _ in range(ARRAYS)]

    @ray.remote
    def as_generator(path):
        import numpy as np

        begin(path)
        for _ in range(ARRAYS):
            yield np.full(ARRAY_BYTES, 7, np.uint8)

    return as_list, as_generator


@workload(
    unit="MB",
    question="Growth of the worker's own memory when it makes 10 arrays of 100 MB?",
    rows=("list", "static", "dynamic", "streaming"),
    goal=(None, 110, 110, 110),
    fresh=True,
    repeat=1,
    quick=False,
)
def arrays_memory(ray):
    as_list, as_generator = _makers(ray)

    def consume(made):
        if isinstance(made, ray.ObjectRef):
            made = ray.get(made)
        for item in made:
            array = ray.get(item) if isinstance(item, ray.ObjectRef) else item
            if array[-1] != 7:
                raise AssertionError(array)

    def peak(function):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "worker")
            path.touch()
            watcher = PeakOfWorker(path)
            watcher.start()
            consume(function.remote(str(path)))
            return watcher.stop()

    def measure():
        return (
            peak(as_list),
            *(
                peak(as_generator.options(num_returns=returns))
                for returns in (ARRAYS, "dynamic", "streaming")
            ),
        )

    return measure


def descendants(pid):
    """Processes below that one."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def _field(pid, file, name):
    text = Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8")
    return int(text.partition(f"{name}:")[2].split(maxsplit=1)[0])


def _cpu_ticks(pids):
    stats = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return sum(int(words[11]) + int(words[12]) for words in stats)


@workload(
    unit=("processes", "threads", "MB", "%"),
    question="An idle engine beside the driver: processes, threads, PSS, CPU?",
    rows=("processes", "threads", "pss", "cpu"),
    goal=(3, None, 40, 0.05),
    fresh=True,
    repeat=1,
)
def idle(ray):
    @ray.remote
    def nothing():
        return None

    ray.get([nothing.remote() for _ in range(100)])

    def measure():
        time.sleep(2)
        pids = descendants(os.getpid())
        before = _cpu_ticks(pids)
        time.sleep(4)
        percent = 100 * (_cpu_ticks(pids) - before) / os.sysconf("SC_CLK_TCK") / 4
        threads = sum(_field(pid, "status", "Threads") for pid in pids)
        pss = sum(1024 * _field(pid, "smaps_rollup", "Pss") for pid in pids)
        return len(pids), threads, pss / MB, percent

    return measure


def _packages(name, known):
    """A distribution and what it needs, without extras and without numpy."""
    if name in known or name == "numpy":
        return known
    try:
        needed = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return known
    known.add(name)
    for line in needed:
        if "extra ==" not in line:
            head = line.partition(";")[0]
            bare = "".join(c if c.isalnum() or c in "-_." else " " for c in head).split()[0]
            _packages(bare, known)
    return known


def _installed_bytes(name):
    files = {Path(str(path.locate())) for path in importlib.metadata.files(name) or []}
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations:  # an editable install lies elsewhere
        for folder in spec.submodule_search_locations:
            files |= set(Path(folder).rglob("*"))
    kept = (path for path in files if "__pycache__" not in path.parts and path.is_file())
    return sum(path.stat().st_size for path in kept)


@workload(
    unit=("MB", "packages"),
    question="Installed size with dependencies, without numpy; number of packages?",
    rows=("size", "packages"),
    goal=(10, None),
    session=None,
    repeat=1,
)
def installed(name):
    def measure():
        names = _packages(name, set())
        return sum(_installed_bytes(each) for each in names) / MB, len(names)

    return measure
