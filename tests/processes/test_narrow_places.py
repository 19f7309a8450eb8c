"""Machines with little room: right results, or an error that says what there was too little of.

Mounts and users are changed for the one driver alone, where this machine allows it.
"""

import os
import shutil
import subprocess
import sys

import pytest
from programs import PRELUDE

WORK = """
import numpy as np

@skate.remote
def double(array):
    return array * 2

@skate.remote
def items(n):
    for k in range(n):
        yield np.full(1 << 17, k)  # 1 MB

def work():
    assert skate.get([double.remote(k) for k in range(100)]) == [2 * k for k in range(100)]
    assert [skate.get(ref)[-1] for ref in items.remote(20)] == list(range(20))
    kept = [skate.put(np.full(1 << 20, k)) for k in range(16)]  # 128 MB
    assert [int(skate.get(double.remote(ref))[-1]) for ref in kept] == [2 * k for k in range(16)]
"""


def succeeds(command):
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def can_mount():
    """How a driver gets mounts of its own; None if it cannot."""
    for how in (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]):
        probe = [*how, "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"]
        if shutil.which("unshare") and succeeds(probe):
            return how
    return None


HOW_TO_MOUNT = can_mount()
mounts = pytest.mark.skipif(HOW_TO_MOUNT is None, reason="no mount namespaces here")

READ_ONLY = "mount --bind {0} {0} && mount -o remount,bind,ro {0}"
PLACES = {
    "shm_of_1_mb": "mount -t tmpfs -o size=1m tmpfs /dev/shm",
    "shm_read_only": READ_ONLY.format("/dev/shm"),
    "no_shm": "mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && "
    "mknod -m 666 /dev/urandom c 1 9",
    "tmp_of_1_mb": "mount -t tmpfs -o size=1m tmpfs {tmp}",
    "tmp_read_only": " && ".join(READ_ONLY.format(path) for path in ("{tmp}", "/var/tmp", "/tmp")),
}


def in_place(mount, source):
    """The command of a driver that finds this mounted."""
    script = f'{mount} && exec "$0" "$@"'
    return [*HOW_TO_MOUNT, "sh", "-c", script, sys.executable, "-c", PRELUDE + source]


@mounts
@pytest.mark.parametrize("place", PLACES)
def test_what_fits_the_store_needs_no_place_in_a_file_system(start, tmp_path, place):
    mount = PLACES[place].format(tmp=tmp_path / "tmp")
    if place == "no_shm" and "--user" in HOW_TO_MOUNT:
        pytest.skip("devices can be made by the machine's root alone")
    (tmp_path / "tmp").mkdir()
    source = WORK + "skate.init(num_cpus=2, object_store_memory=400 << 20)\nwork()\nprint('right')"
    assert start(argv=in_place(mount, source)).succeed(60)[0] == "right\n"


@mounts
@pytest.mark.parametrize(
    ("place", "directory"), [("tmp_of_1_mb", "os.environ['TMPDIR']"), ("tmp_read_only", "None")]
)
def test_what_does_not_fit_and_cannot_be_spilled_is_refused_by_name(
    start, tmp_path, place, directory
):
    (tmp_path / "tmp").mkdir()
    mount = PLACES[place].format(tmp=tmp_path / "tmp")
    source = (
        WORK
        + f"""
skate.init(num_cpus=2, object_store_memory=80 << 20, object_spilling_directory={directory})
try:
    work()
except (skate.exceptions.ObjectStoreFullError, skate.exceptions.OutOfDiskError) as error:
    print("full:", " ".join(str(error).split()))
assert skate.get(double.remote(np.ones(1 << 17)))[-1] == 2
print("usable")
"""
    )
    out, err = start(argv=in_place(mount, source)).succeed(60)
    first, last = out.splitlines()
    assert first.startswith("full: ")
    assert "object_spilling_directory" in first + err
    assert last == "usable"


STRANGER = 65533
"""A user of whom nobody else is a process."""
AS_STRANGER = [
    "setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups",
    # It may read this interpreter, wherever it lies, and is bound by limits, which root is not.
    "--inh-caps=-all,+dac_override", "--ambient-caps=+dac_override",
    "--bounding-set=-all,+dac_override",
]  # fmt: skip


def can_be_limited():
    is_possible = os.getuid() == 0 and shutil.which("setpriv") is not None
    return is_possible and succeeds([*AS_STRANGER, sys.executable, "-c", ""])


@pytest.mark.skipif(not can_be_limited(), reason="only root can be another user, by setpriv")
@pytest.mark.parametrize("log_to_driver", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 3, 4, 6, 7, 8, 12, 24])
def test_few_processes_are_enough_or_said_to_be_too_few(start, limit, log_to_driver):
    source = (
        WORK
        + f"""
import resource
resource.setrlimit(resource.RLIMIT_NPROC, ({limit}, 100))
try:
    skate.init(num_cpus=2, log_to_driver={log_to_driver})
    print(skate.get([skate.remote(lambda k=k: k).remote() for k in range(20)], timeout=40)[-1])
except (skate.exceptions.RayError, OSError) as error:
    print("refused:", " ".join(str(error).split()))
resource.setrlimit(resource.RLIMIT_NPROC, (100, 100))
skate.shutdown()
skate.init(num_cpus=2)
print(skate.get(skate.remote(lambda: "usable").remote(), timeout=20))
"""
    )
    argv = [*AS_STRANGER, sys.executable, "-c", PRELUDE + source]
    out, _ = start(argv=argv).succeed(60)
    first, last = out.splitlines()
    reasons = ("Resource temporarily unavailable", "os error 11", "can't start new thread")
    assert first == "19" or any(reason in first for reason in reasons)
    assert last == "usable"


SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile long *offset(void) {
    static volatile long *words;
    if (!words) {
        int file = open(getenv("CLOCK_OFFSET"), O_RDONLY);
        words = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
    }
    return words;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += *offset();
    return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    int result = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return result;
}
time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
"""


@pytest.fixture
def clock(tmp_path):
    """The environment of processes whose wall clock jumps by what a file says."""
    compiler = shutil.which("cc") or pytest.skip("no C compiler to make a clock of")
    library, words = tmp_path / "clock.so", tmp_path / "offset"
    (tmp_path / "clock.c").write_text(SHIM)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", library, tmp_path / "clock.c", "-ldl"], check=True
    )
    words.write_bytes(bytes(8))
    return {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(words)}


def test_wall_clock_that_jumps_changes_no_waiting_and_no_result(start, clock):
    program = start(
        """
        import asyncio, struct, time
        from concurrent.futures import TimeoutError as FutureTimeoutError

        def jump(seconds):
            with open(os.environ["CLOCK_OFFSET"], "r+b") as file:
                file.write(struct.pack("=q", seconds))

        began = time.time()
        jump(86_400)
        assert time.time() - began > 80_000, "the clock does not jump"
        skate.init(num_cpus=2)

        @skate.remote(num_cpus=0)
        def never():
            signal.pause()

        @skate.remote
        def items(n):
            for k in range(n):
                yield k

        @skate.remote
        class Counter:
            def __init__(self):
                self.total = 0
            def add(self, k):
                self.total += k
                return self.total

        async def awaited(ref):
            return await asyncio.wait_for(asyncio.wrap_future(ref.future()), 0.3)

        pending = never.remote()
        stream = skate.remote(lambda: (signal.pause(), (yield))).options(num_cpus=0).remote()
        waits = {
            "get": (lambda: skate.get(pending, timeout=0.3), skate.exceptions.GetTimeoutError),
            "wait": (lambda: skate.wait([pending], timeout=0.3), None),
            "next": (lambda: stream.next(timeout=0.3), skate.exceptions.GetTimeoutError),
            "await": (lambda: asyncio.run(awaited(pending)), TimeoutError),
            "future": (lambda: pending.future().result(timeout=0.3), FutureTimeoutError),
        }
        counter, sums = Counter.remote(), 0
        for place, seconds in enumerate([0, 10**8, -(10**8), 3600, -3600]):
            for name, (call, error) in waits.items():
                timer = threading.Timer(0.1, jump, [seconds])
                timer.start()
                began = time.monotonic()
                try:
                    call()
                    assert error is None, name
                except (error or ()):
                    pass
                took = time.monotonic() - began
                assert 0.25 < took < 10, (name, seconds, took)
                timer.join()
            assert [skate.get(ref) for ref in items.remote(50)] == list(range(50))
            sums += place
            assert skate.get(counter.add.remote(place)) == sums
        skate.cancel(pending, force=True)
        print("right")
        """,
        environment=clock,
    )
    assert program.succeed(50)[0] == "right\n"
