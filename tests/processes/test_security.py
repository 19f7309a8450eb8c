"""The claims of SECURITY.md that can be checked, checked from outside of the session."""

import contextlib
import fcntl
import os
import socket
import stat
import subprocess
import uuid
from pathlib import Path

import pytest
from programs import descriptors, opened, wait_until

SESSION = """
import numpy
skate.init(num_cpus=2, object_store_memory=100 << 20)

@skate.remote
def double(array):
    return array * 2

@skate.remote
class Counter:
    def count(self, n):
        yield from range(n)

counter = Counter.remote()
kept = [skate.put(numpy.full(1 << 21, k, dtype=numpy.float64)) for k in range(9)]  # some spill
assert skate.get(double.remote(kept[0]))[0] == 0
assert skate.get(list(counter.count.remote(5))) == list(range(5))
print("ready", flush=True)
sys.stdin.read()
"""
F_GET_SEALS = 1034
SEAL_SEAL, SEAL_SHRINK, SEAL_GROW = 1, 2, 4
STRANGER = 65534
WORKERS = 3  # of two CPUs, and the actor's


STACKS = "memfd:skate-stacks"
"""A worker's own file, into which its faulthandler writes: nobody maps it."""


@pytest.fixture
def session(start):
    """A driver with tasks, an actor, values in memory and on disk."""
    program = start(SESSION, stdin=subprocess.PIPE, environment={"SECRET_TOKEN": uuid.uuid4().hex})
    assert program.line() == "ready"
    # One that is being forked still has what the zygote has, maps some of it, and closes it: after
    # that a number of a descriptor may stand for another file.
    wait_until(lambda: (pids := program.workers())[WORKERS - 1 :] and not any(map(memory, pids)))
    return program


def memory(pid):
    """The descriptors of a worker by which shared memory could be cut short."""
    held = descriptors(pid)
    # The spill file is open: they read it, and write their own values to it.
    shared = [link for link in held if "memfd:" in link and STACKS not in link]
    return [*shared, *(link for link in held if link.startswith("/#"))]


def test_nothing_has_a_port_or_a_name(session):
    assert len(session.check_no_names()) >= 4  # driver, zygote, workers


def test_workers_hold_no_descriptor_by_which_memory_could_be_cut_short(session):
    for pid in session.workers():
        assert not memory(pid), descriptors(pid)


def test_memfds_are_sealed_against_a_change_of_size(session):
    found = 0
    for pid in session.processes():
        for path, link in opened(pid):
            if "memfd:skate" in link and STACKS not in link:
                with path.open("rb") as file:
                    seals = fcntl.fcntl(file, F_GET_SEALS)
                assert seals & (SEAL_SEAL | SEAL_SHRINK | SEAL_GROW) == 7
                found += 1
    assert found > 0


def test_values_cannot_be_written_through_their_views(run):
    out, _ = run(
        """
        import ctypes, numpy
        skate.init(num_cpus=1)

        @skate.remote(max_retries=0)
        def overwrite(array):
            try:
                array.flags.writeable = True
            except ValueError:
                ctypes.memset(array.ctypes.data, 0xFF, 8)

        ref = skate.put(numpy.zeros(1 << 18))
        try:
            skate.get(overwrite.remote(ref))
        except skate.exceptions.WorkerCrashedError as error:
            assert "SIGSEGV" in str(error)
            print(skate.get(ref).any())
        """
    )
    assert out == "False\n"


def test_values_cannot_be_written_through_the_kernel(run):
    """`/proc/self/mem` writes to read-only memory of the process itself, as debuggers do."""
    out, _ = run(
        """
        import numpy
        skate.init(num_cpus=1)

        @skate.remote
        def overwrite(array):
            with open("/proc/self/mem", "r+b", buffering=0) as memory:
                memory.seek(array.ctypes.data)
                try:
                    return memory.write(b"\\xff" * 8)
                except OSError as error:
                    return error.strerror

        ref = skate.put(numpy.zeros(1 << 18))
        print(skate.get(overwrite.remote(ref)), skate.get(ref).any())
        """
    )
    assert out == "Input/output error False\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_other_users_cannot_attach(session):
    pids = session.processes()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(STRANGER, STRANGER, STRANGER)
        os.setresuid(STRANGER, STRANGER, STRANGER)
        os.write(write, "\n".join(reach(pids)).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as pipe:
        assert pipe.read() == ""


def reach(pids):
    """What this process can lay its hands on."""
    for pid in pids:
        for path in (f"/proc/{pid}/fd", f"/proc/{pid}/map_files"):
            with contextlib.suppress(OSError):
                yield from (f"{path}/{name}" for name in os.listdir(path))
        for path in (f"/proc/{pid}/mem", f"/proc/{pid}/environ", f"/proc/{pid}/maps"):
            with contextlib.suppress(OSError), Path(path).open("rb") as file:
                yield f"{path}: {file.read(1)}"
        with contextlib.suppress(OSError):
            os.kill(pid, 0)
            yield f"kill {pid}"
    for row in Path("/proc/net/unix").read_text().splitlines():
        name = row.split()[-1]
        if any(name.startswith(f"@skate-{pid}-") for pid in pids):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(5)
                peer.connect("\0" + name[1:])
                peer.sendall(b'{"table": "workers", "columns": ["pid"], "limit": 1}\n')
                if answer := peer.recv(1):
                    yield f"{name}: {answer}"


def test_environment_is_written_nowhere(session):
    [secret] = [
        row.split(b"=")[1]
        for row in Path(f"/proc/{session.pid}/environ").read_bytes().split(b"\0")
        if row.startswith(b"SECRET_TOKEN=")
    ]
    files = 0
    for pid in session.processes():
        assert secret not in Path(f"/proc/{pid}/cmdline").read_bytes()
        for path, link in opened(pid):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                about = path.stat()
                if stat.S_ISREG(about.st_mode) and about.st_blocks * 512 < 1 << 27:
                    files += 1
                    with path.open("rb") as file:
                        while chunk := file.read(1 << 24):
                            assert secret not in chunk, link
    assert files > 0
    assert secret.decode() not in session.stderr()
    assert not os.listdir(session.tmp)
